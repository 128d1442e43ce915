//! Checks the AppRole login.

use vaultkeeper_crds::role::AppRole;

use super::{Refusal, invalid, is_object_name};

pub(super) fn secret_name(app_role: &AppRole) -> Result<String, Refusal> {
    let AppRole { secret_name } = app_role;
    if !is_object_name(secret_name) {
        return Err(invalid(format!(
            "spec.appRole.secretName: `{secret_name}` is no name of a Secret: change it"
        )));
    }
    // In the operator's namespace these names belong to unseal shares and CA keys, also before those exist.
    if secret_name.starts_with("vault-keys.") || secret_name.starts_with("vault-ca.") {
        return Err(invalid(format!(
            "spec.appRole.secretName: `{secret_name}` is reserved for the operator: choose another name"
        )));
    }
    Ok(secret_name.clone())
}
