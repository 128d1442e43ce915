//! Turns the spec of a VaultRole into checked values, or into a refusal that names field and remedy. Pure.
//!
//! What a VaultCluster grants is decided here and nowhere else. The API server has checked most of the forms
//! already; they are checked again because a CRD of another version may have let the object in.

use std::collections::BTreeMap;
use std::time::Duration;

use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::duration;
use vaultkeeper_crds::role::{
    AppRole, Capability, KubernetesLogin, Policy, PolicyRule, TokenSettings, VaultRoleSpec,
};

/// A spec that can work and that the cluster allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Capabilities by path, each path once.
    pub rules: BTreeMap<String, Vec<Capability>>,
    /// Further policies, lower-case as Vault keeps them, sorted.
    pub policies: Vec<String>,
    /// Name of the Secret for AppRole credentials.
    pub secret_name: Option<String>,
    /// ServiceAccounts that may log in; empty for none.
    pub service_accounts: Vec<String>,
    /// Life of a token.
    pub ttl: Duration,
    /// Longest life of a token with renewals.
    pub max_ttl: Duration,
}

/// Why a spec is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reason of the condition.
    pub reason: &'static str,
    /// The field, what is wrong with it, and the remedy.
    pub message: String,
    /// The cluster does not allow it, as opposed to a spec that contradicts itself. What was given before is
    /// taken away in this case only: a typo in a duration must not take a running application down.
    pub withdraws: bool,
}

fn not_allowed(message: String) -> Refusal {
    Refusal {
        reason: "NotAllowed",
        message,
        withdraws: true,
    }
}

fn invalid(message: String) -> Refusal {
    Refusal {
        reason: "InvalidSpec",
        message,
        withdraws: false,
    }
}

/// Checks the spec of a VaultRole in `namespace` against what its VaultCluster grants in `spec.access`.
pub fn validate(spec: &VaultRoleSpec, namespace: &str, access: &[AccessGrant]) -> Result<Validated, Refusal> {
    let VaultRoleSpec {
        cluster,
        policy,
        app_role,
        kubernetes,
        token,
    } = spec;
    let cluster = format!("VaultCluster {}/{}", cluster.namespace, cluster.name);
    let grants: Vec<&AccessGrant> = access
        .iter()
        .filter(|grant| grant.namespaces.iter().any(|name| name == namespace))
        .collect();
    if grants.is_empty() {
        return Err(not_allowed(format!(
            "spec.cluster: {cluster} does not allow VaultRoles of namespace {namespace}: its owner has to name \
             the namespace in spec.access[].namespaces"
        )));
    }
    // Grants first: whatever else is wrong, what is not allowed is taken away.
    let Policy { rules, names } = policy;
    let rules = checked_rules(rules, namespace, &grants, &cluster)?;
    let policies = checked_policies(names, &grants, &cluster)?;
    let secret_name = app_role.as_ref().map(checked_secret_name).transpose()?;
    let service_accounts = kubernetes
        .as_ref()
        .map(checked_accounts)
        .transpose()?
        .unwrap_or_default();
    if secret_name.is_none() && service_accounts.is_empty() {
        return Err(invalid(
            "spec: holds no way to log in: add appRole or kubernetes".to_owned(),
        ));
    }
    if rules.is_empty() && policies.is_empty() {
        return Err(invalid(
            "spec.policy: holds no rule and no name: add one".to_owned(),
        ));
    }
    let (ttl, max_ttl) = checked_ttl(token)?;
    Ok(Validated {
        rules,
        policies,
        secret_name,
        service_accounts,
        ttl,
        max_ttl,
    })
}

fn checked_rules(
    rules: &[PolicyRule],
    namespace: &str,
    grants: &[&AccessGrant],
    cluster: &str,
) -> Result<BTreeMap<String, Vec<Capability>>, Refusal> {
    // One that is not what the CRD asks for grants nothing.
    let (prefixes, broken): (Vec<String>, Vec<String>) = grants
        .iter()
        .flat_map(|grant| &grant.path_prefixes)
        .map(|prefix| prefix.replace("{{namespace}}", namespace))
        .partition(|prefix| {
            prefix.ends_with('/') && ill_formed(prefix).is_none() && !prefix.contains(['*', '+'])
        });
    let mut checked: BTreeMap<String, Vec<Capability>> = BTreeMap::new();
    for (index, PolicyRule { path, capabilities }) in rules.iter().enumerate() {
        let field = format!("spec.policy.rules[{index}]");
        // A prefix holds no wildcard, so that whatever wildcards there are come after it.
        if !prefixes.iter().any(|prefix| path.starts_with(prefix)) {
            let allowed = if prefixes.is_empty() {
                "none".to_owned()
            } else {
                prefixes.join(", ")
            };
            let refusal = not_allowed(format!(
                "{field}.path: `{path}` is outside of what {cluster} allows namespace {namespace} (path prefixes: \
                 {allowed}): use one of these, or have its owner add one to spec.access[].pathPrefixes"
            ));
            return Err(match broken.first() {
                None => refusal,
                // A slip of the cluster's owner takes nothing away from those who rely on that grant.
                Some(prefix) => Refusal {
                    message: format!(
                        "{}. `{prefix}` there is no path prefix and grants nothing: its owner has to correct it",
                        refusal.message
                    ),
                    withdraws: false,
                    ..refusal
                },
            });
        }
        // After the grants: an ill-formed path does not keep what is not allowed any more.
        if let Some(problem) = ill_formed(path) {
            return Err(invalid(format!("{field}.path: `{path}` {problem}")));
        }
        if capabilities.is_empty() {
            return Err(invalid(format!(
                "{field}.capabilities: is empty: add one, such as read"
            )));
        }
        checked.entry(path.clone()).or_default().extend(capabilities);
    }
    for capabilities in checked.values_mut() {
        capabilities.sort();
        capabilities.dedup();
        // Vault: deny wins over all others.
        if capabilities.contains(&Capability::Deny) {
            *capabilities = vec![Capability::Deny];
        }
    }
    Ok(checked)
}

/// What is wrong with the form of a path, whose text goes into a quoted string of a policy.
fn ill_formed(path: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@ /+*".contains(c);
    if path.is_empty() {
        return Some("is empty");
    }
    if let Some(star) = path.find('*')
        && star + 1 != path.len()
    {
        return Some("may hold * only as its last character");
    }
    let segments = || path.split('/');
    if path.starts_with('/') {
        Some("must not start with a slash")
    } else if path.contains("//") {
        Some("must not hold //")
    } else if path.contains("..") || segments().any(|segment| segment == ".") {
        Some("must not hold . or .. as a step")
    } else if !path.chars().all(plain) {
        Some("may hold only letters, digits and - _ . @ space / + *")
    } else if segments().any(|segment| segment.contains('+') && segment != "+") {
        Some("may hold + only as a whole step between slashes")
    } else {
        None
    }
}

fn checked_policies(
    names: &[String],
    grants: &[&AccessGrant],
    cluster: &str,
) -> Result<Vec<String>, Refusal> {
    let mut checked = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let field = format!("spec.policy.names[{index}]");
        // Vault trims names, splits them at commas and folds them to lower case before it looks them up.
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./:@".contains(c))
        {
            return Err(invalid(format!(
                "{field}: `{name}` is no name of a policy: use letters, digits and - _ . / : @"
            )));
        }
        let folded = name.to_ascii_lowercase();
        if folded == "root" || folded.starts_with("vaultkeeper") {
            return Err(not_allowed(format!(
                "{field}: the policy `{name}` is never given to a VaultRole: remove it"
            )));
        }
        let allowed = |policy: &String| policy.eq_ignore_ascii_case(&folded);
        if !grants.iter().flat_map(|grant| &grant.policies).any(allowed) {
            return Err(not_allowed(format!(
                "{field}: {cluster} does not allow the policy `{name}`: remove it, or have its owner add it to \
                 spec.access[].policies"
            )));
        }
        checked.push(folded);
    }
    checked.sort();
    checked.dedup();
    Ok(checked)
}

fn is_object_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && name.chars().all(inner)
        && edge(name.chars().next())
        && edge(name.chars().next_back())
}

fn checked_secret_name(app_role: &AppRole) -> Result<String, Refusal> {
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

fn checked_accounts(login: &KubernetesLogin) -> Result<Vec<String>, Refusal> {
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

fn checked_ttl(token: &TokenSettings) -> Result<(Duration, Duration), Refusal> {
    let TokenSettings { ttl, max_ttl } = token;
    let parse = |field: &str, text: &str| match duration::parse(text) {
        Err(error) => Err(invalid(format!("spec.token.{field}: {error}"))),
        // Vault reads zero as its own default of 32 days.
        Ok(Duration::ZERO) => Err(invalid(format!(
            "spec.token.{field}: is zero: write how long a token lives"
        ))),
        Ok(duration) => Ok(duration),
    };
    let (short, long) = (parse("ttl", ttl)?, parse("maxTtl", max_ttl)?);
    if short > long {
        return Err(invalid(format!(
            "spec.token.ttl: {ttl} is longer than spec.token.maxTtl, {max_ttl}: shorten it, or lengthen maxTtl"
        )));
    }
    Ok((short, long))
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
