//! Checks what an application may do against what its VaultCluster grants.

use std::collections::BTreeMap;

use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::role::{Capability, PolicyRule};

use super::{Refusal, Rule, invalid, limits, not_allowed};

pub(super) fn rules(
    rules: &[PolicyRule],
    namespace: &str,
    grants: &[&AccessGrant],
    cluster: &str,
) -> Result<BTreeMap<String, Rule>, Refusal> {
    // One that is not what the CRD asks for grants nothing.
    let (prefixes, broken): (Vec<String>, Vec<String>) = grants
        .iter()
        .flat_map(|grant| &grant.path_prefixes)
        .map(|prefix| prefix.replace("{{namespace}}", namespace))
        .partition(|prefix| {
            prefix.ends_with('/') && ill_formed(prefix).is_none() && !prefix.contains(['*', '+'])
        });
    let mut checked: BTreeMap<String, (usize, Rule)> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let PolicyRule {
            path, capabilities, ..
        } = rule;
        let field = format!("spec.policy.rules[{index}]");
        // Deny wins over all else that stands beside it: such a rule only takes away, and may do so anywhere.
        let denies = capabilities.contains(&Capability::Deny);
        // A prefix holds no wildcard, so that whatever wildcards there are come after it.
        if !denies && !prefixes.iter().any(|prefix| path.starts_with(prefix)) {
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
        let limits = limits::limits(rule, &field)?;
        let (first, there) = checked.entry(path.clone()).or_insert_with(|| {
            let capabilities = Vec::new();
            let limits = limits.clone();
            (index, Rule { capabilities, limits })
        });
        // Vault would add the limits of one to the capabilities of the other, which neither says.
        let one_denies = denies || there.capabilities.contains(&Capability::Deny);
        if there.limits != limits && !one_denies {
            return Err(invalid(format!(
                "{field}.path: `{path}` is that of spec.policy.rules[{first}] too, with other parameters or wrapping TTLs: \
                 make one rule of them"
            )));
        }
        there.capabilities.extend(capabilities);
    }
    Ok(checked
        .into_iter()
        .map(|(path, (_, rule))| (path, settled(rule)))
        .collect())
}

/// Capabilities sorted, and nothing beside deny, which wins over all else in Vault.
fn settled(rule: Rule) -> Rule {
    let Rule {
        mut capabilities,
        limits,
    } = rule;
    if capabilities.contains(&Capability::Deny) {
        return Rule {
            capabilities: vec![Capability::Deny],
            ..Rule::default()
        };
    }
    capabilities.sort();
    capabilities.dedup();
    Rule { capabilities, limits }
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

pub(super) fn names(
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

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
