//! What roles that are in place have in Vault, for who would otherwise have to read it there. Pure.
//!
//! The sweep compares it with Vault and puts it right, so that what is known here is what is there, or soon will be.

use std::collections::BTreeMap;

use super::super::policy;
use super::super::validate::Validated;
use crate::cluster::readiness::{allows_everything, never_expires};

/// What the rules for production ask about one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its policy allows everything.
    pub(crate) wide: bool,
    /// Its secret-ids never expire.
    pub(crate) endless: bool,
}

/// By name in Vault.
pub(crate) type Kept = BTreeMap<String, Facts>;

/// The facts of a role that is in place as it is wanted.
pub(super) fn facts(owner: &str, validated: &Validated) -> Facts {
    let app_role = validated.app_role.as_ref();
    Facts {
        wide: allows_everything(&policy::render(owner, &validated.rules)),
        endless: app_role.is_some_and(|wish| never_expires(wish.bind_secret_id, wish.ttl, wish.num_uses)),
    }
}

#[cfg(test)]
mod tests {
    use vaultkeeper_crds::VaultRoleSpec;
    use vaultkeeper_crds::cluster::AccessGrant;

    use super::super::super::validate::validate;
    use super::*;

    fn of(app_role: &str) -> Facts {
        let spec = format!(
            "{{cluster: {{namespace: vault, name: main}}, policy: {{rules: [{{path: secret/data/shop/*, capabilities: [read]}}]}}, {app_role}}}"
        );
        let spec: VaultRoleSpec = serde_yaml::from_str(&spec).unwrap();
        let access: Vec<AccessGrant> =
            serde_yaml::from_str("[{namespaces: [shop], pathPrefixes: [secret/data/shop/]}]").unwrap();
        facts("shop/app", &validate(&spec, "shop", &access).unwrap())
    }

    #[test]
    fn a_role_is_endless_when_neither_time_nor_use_ends_its_secret_ids() {
        assert!(of("appRole: {secretName: s}").endless);
        for ends in [
            "appRole: {secretName: s, secretIdTtl: 24h}",
            "appRole: {secretName: s, secretIdNumUses: 1}",
            "appRole: {secretName: s, bindSecretId: false, secretIdBoundCidrs: [10.0.0.0/8]}",
            "kubernetes: {serviceAccounts: [app]}",
        ] {
            assert!(!of(ends).endless, "{ends}");
        }
        assert!(!of("appRole: {secretName: s}").wide, "it may read one folder");
    }
}
