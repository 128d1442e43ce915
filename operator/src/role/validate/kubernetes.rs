//! Checks the login of ServiceAccounts.

use std::collections::BTreeSet;

use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::role::{AliasNameSource, KubernetesLogin, NamespaceSelector};
use vaultkeeper_vault::auth::kubernetes;

use super::{Refusal, invalid, is_object_name, not_allowed};
use crate::namespaces::Namespaces;

/// Which ServiceAccounts may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// Their namespaces: that of the VaultRole and those that it names, sorted.
    pub namespaces: BTreeSet<String>,
    /// Further ones by their labels, and out of which: those that the cluster grants anything.
    pub selected: Option<(NamespaceSelector, BTreeSet<String>)>,
    /// The audience that tokens must be for; empty for any.
    pub audience: String,
    /// What Vault knows an account by.
    pub alias: kubernetes::AliasNameSource,
}

impl Accounts {
    /// Takes in the namespaces that the selector selects at present. False while those are not known.
    pub fn select(&mut self, known: &Namespaces) -> bool {
        let Some((selector, granted)) = &self.selected else {
            return true;
        };
        let Some(selected) = known.selected(selector, granted) else {
            return false;
        };
        self.namespaces.extend(selected);
        true
    }

    /// The namespaces for the status, where there is more than the VaultRole's own.
    pub fn told(&self) -> Vec<String> {
        if self.namespaces.len() > 1 || self.selected.is_some() {
            self.namespaces.iter().cloned().collect()
        } else {
            Vec::new()
        }
    }
}

pub(super) fn accounts(
    login: &KubernetesLogin,
    namespace: &str,
    access: &[AccessGrant],
    cluster: &str,
) -> Result<Accounts, Refusal> {
    let KubernetesLogin {
        service_accounts,
        namespaces,
        namespace_selector,
        audience,
        alias_name_source,
    } = login;
    let granted: BTreeSet<String> = access
        .iter()
        .flat_map(|grant| &grant.namespaces)
        .cloned()
        .collect();
    // Grants first: whatever else is wrong, what is not allowed is taken away.
    if let Some((index, stranger)) = namespaces
        .iter()
        .enumerate()
        .find(|(_, further)| *further != namespace && !granted.contains(*further))
    {
        return Err(not_allowed(format!(
            "spec.kubernetes.namespaces[{index}]: {cluster} gives nothing to namespace {stranger}: remove it, or have the \
             cluster's owner name it in spec.access[].namespaces"
        )));
    }
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
    // A grant is checked by the API server; what is none there must not become a pattern in Vault.
    if let Some(bad) = namespaces.iter().find(|name| !is_namespace_name(name)) {
        return Err(invalid(format!(
            "spec.kubernetes.namespaces: `{bad}` is no name of a namespace: name each one, without wildcards"
        )));
    }
    if let Some(selector) = namespace_selector
        && selector.match_labels.is_empty()
        && selector.match_expressions.is_empty()
    {
        return Err(invalid(
            "spec.kubernetes.namespaceSelector: is empty, and would select every namespace that may log in: add a \
             condition, or remove it"
                .to_owned(),
        ));
    }
    let audience = audience.clone().unwrap_or_default();
    if !audience.chars().all(|c| c.is_ascii_graphic()) {
        return Err(invalid(
            "spec.kubernetes.audience: holds a space or a letter that is not ASCII: choose one such as vault"
                .to_owned(),
        ));
    }
    let mut names = service_accounts.clone();
    names.sort();
    names.dedup();
    let mut all: BTreeSet<String> = namespaces.iter().cloned().collect();
    all.insert(namespace.to_owned());
    Ok(Accounts {
        names,
        namespaces: all,
        selected: namespace_selector.clone().map(|selector| {
            let granted = granted.into_iter().filter(|name| is_namespace_name(name));
            (selector, granted.collect())
        }),
        audience,
        alias: match alias_name_source {
            AliasNameSource::ServiceAccountUid => kubernetes::AliasNameSource::ServiceaccountUid,
            AliasNameSource::ServiceAccountName => kubernetes::AliasNameSource::ServiceaccountName,
        },
    })
}

fn is_namespace_name(name: &str) -> bool {
    is_object_name(name) && !name.contains('.') && name.len() <= 63
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Vec<AccessGrant> {
        let grants = serde_json::json!([{"namespaces": ["shop", "jobs"]}, {"namespaces": ["web", "*"]}]);
        serde_json::from_value(grants).unwrap()
    }

    fn checked(login: serde_json::Value) -> Result<Accounts, Refusal> {
        let mut whole = serde_json::json!({"serviceAccounts": ["app"]});
        whole
            .as_object_mut()
            .unwrap()
            .extend(login.as_object().unwrap().clone());
        accounts(
            &serde_json::from_value(whole).unwrap(),
            "shop",
            &access(),
            "VaultCluster vault/main",
        )
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_namespaces_that_the_cluster_names_are_let_in() {
        let found = checked(serde_json::json!({"namespaces": ["web", "jobs"]})).unwrap();
        assert_eq!(
            found.namespaces,
            set(&["jobs", "shop", "web"]),
            "and always its own"
        );
        let refusal = checked(serde_json::json!({"namespaces": ["web", "stranger"]})).unwrap_err();
        assert!(refusal.withdraws, "a grant may have been taken away: {refusal:?}");
        for part in ["spec.kubernetes.namespaces[1]", "stranger", "vault/main"] {
            assert!(refusal.message.contains(part), "{part}: {}", refusal.message);
        }
    }

    #[test]
    fn a_wildcard_is_refused_also_where_a_broken_grant_holds_it() {
        for login in [
            serde_json::json!({"namespaces": ["*"]}),
            serde_json::json!({"serviceAccounts": ["*"]}),
            serde_json::json!({"namespaceSelector": {}}),
            serde_json::json!({"audience": "a b"}),
        ] {
            let refusal = checked(login.clone()).expect_err("must be refused");
            assert!(!refusal.withdraws, "{login}: {refusal:?}");
        }
        let selector = serde_json::json!({"namespaceSelector": {"matchLabels": {"team": "a"}}});
        let (_, granted) = checked(selector).unwrap().selected.unwrap();
        assert_eq!(granted, set(&["jobs", "shop", "web"]), "never a pattern");
    }

    #[test]
    fn audience_and_alias_are_told_in_vaults_words() {
        let found =
            checked(serde_json::json!({"audience": "vault", "aliasNameSource": "ServiceAccountName"}))
                .unwrap();
        assert_eq!(found.audience, "vault");
        assert_eq!(found.alias, kubernetes::AliasNameSource::ServiceaccountName);
        let plain = checked(serde_json::json!({})).unwrap();
        assert_eq!(
            (plain.audience.as_str(), plain.alias),
            ("", kubernetes::AliasNameSource::ServiceaccountUid)
        );
    }
}
