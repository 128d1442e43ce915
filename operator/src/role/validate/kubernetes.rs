//! Checks the login of ServiceAccounts.

use vaultkeeper_crds::role::KubernetesLogin;

use super::{Refusal, invalid, is_object_name};

pub(super) fn accounts(login: &KubernetesLogin) -> Result<Vec<String>, Refusal> {
    let KubernetesLogin { service_accounts } = login;
    if service_accounts.is_empty() {
        return Err(invalid(
            "spec.kubernetes.serviceAccounts: is empty: name a ServiceAccount".to_owned(),
        ));
    }
    if let Some(bad) = service_accounts.iter().find(|name| !is_object_name(name)) {
        return Err(invalid(format!(
            "spec.kubernetes.serviceAccounts: `{bad}` is no name of a ServiceAccount: name each one, without wildcards"
        )));
    }
    let mut accounts = service_accounts.clone();
    accounts.sort();
    accounts.dedup();
    Ok(accounts)
}
