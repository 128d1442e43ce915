//! What roles that are in place have in Vault, for who would otherwise have to read it there. Pure.
//!
//! The sweep compares it with Vault and puts it right, so that what is known here is what is there, or soon will be.

use std::collections::BTreeMap;

use super::super::policy;
use super::super::validate::Validated;
use crate::cluster::readiness::{allows_everything, never_expires};

/// What the rules for production ask about one role. None: it has no such part, so that one of its name is somebody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether its policy allows everything.
    pub(crate) wide: Option<bool>,
    /// Whether its secret-ids never expire.
    pub(crate) endless: Option<bool>,
}

/// By name in Vault.
pub(crate) type Kept = BTreeMap<String, Facts>;

/// The facts of a role that is in place as it is wanted.
pub(super) fn facts(owner: &str, validated: &Validated) -> Facts {
    let Validated { rules, app_role, .. } = validated;
    let app_role = app_role.as_ref();
    Facts {
        wide: (!rules.is_empty()).then(|| allows_everything(&policy::render(owner, rules))),
        endless: app_role.map(|wish| never_expires(wish.bind_secret_id, wish.ttl, wish.num_uses)),
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
        assert_eq!(of("appRole: {secretName: s}").endless, Some(true));
        for ends in [
            "appRole: {secretName: s, secretIdTtl: 24h}",
            "appRole: {secretName: s, secretIdNumUses: 1}",
            "appRole: {secretName: s, bindSecretId: false, secretIdBoundCidrs: [10.0.0.0/8]}",
        ] {
            assert_eq!(of(ends).endless, Some(false), "{ends}");
        }
        let without = of("kubernetes: {serviceAccounts: [app]}");
        assert_eq!(without.endless, None, "an AppRole of its name is somebody else's");
        assert_eq!(without.wide, Some(false), "it may read one folder");
    }
}
