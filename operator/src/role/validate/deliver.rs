//! Checks where a token is to be delivered.

use vaultkeeper_crds::role::TokenDelivery;

use super::super::token::Delivery;
use super::{Refusal, invalid, is_object_name};

pub(super) fn delivery(
    delivery: &TokenDelivery,
    secret_of_app_role: Option<&str>,
) -> Result<Delivery, Refusal> {
    let TokenDelivery {
        secret_name,
        key,
        labels,
    } = delivery;
    let field = "spec.token.deliver";
    // In the operator's namespace these names belong to unseal shares and CA keys, also before those exist.
    if !is_object_name(secret_name)
        || secret_name.starts_with("vault-keys.")
        || secret_name.starts_with("vault-ca.")
    {
        return Err(invalid(format!(
            "{field}.secretName: `{secret_name}` is no name of a Secret of yours: change it"
        )));
    }
    if secret_of_app_role == Some(secret_name.as_str()) {
        return Err(invalid(format!(
            "{field}.secretName: `{secret_name}` is that of spec.appRole: choose another name"
        )));
    }
    if !is_key(key) {
        return Err(invalid(format!(
            "{field}.key: `{key}` is no key of a Secret: use letters, digits and - _ ."
        )));
    }
    let is_ours = |key: &String| key.starts_with("vaultkeeper.dev/") || key == "app.kubernetes.io/managed-by";
    if let Some(ours) = labels.keys().find(|key| is_ours(key)) {
        return Err(invalid(format!(
            "{field}.labels: `{ours}` is the operator's own: remove it"
        )));
    }
    Ok(Delivery {
        secret_name: secret_name.clone(),
        key: key.clone(),
        labels: labels.clone(),
    })
}

/// Whether this can be a key of a Secret.
pub(super) fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !key.is_empty() && key.len() <= 253 && key != "." && !key.starts_with("..") && key.chars().all(plain)
}
