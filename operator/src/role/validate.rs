//! Turns the spec of a VaultRole into checked values, or into a refusal that names field and remedy. Pure.
//!
//! What a VaultCluster grants is decided here and nowhere else. The API server has checked most of the forms
//! already; they are checked again because a CRD of another version may have let the object in.

mod app_role;
mod certificate;
mod deliver;
mod kubernetes;
mod limits;
mod people;
mod policy;
mod token;

use std::collections::BTreeMap;
use std::time::Duration;

use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::cluster::configuration::AuthMethod;
use vaultkeeper_crds::names;
use vaultkeeper_crds::role::{Capability, Policy, RoleDeletionPolicy, VaultRoleSpec};
use vaultkeeper_vault::auth::params::TokenParams;

use super::token::Delivery;
pub use kubernetes::Accounts;
pub use people::{Person, Provider};

pub use app_role::{AppRoleWish, Period, RotationWish};
pub use certificate::Certificate;

/// A spec that can work and that the cluster allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Rules by path.
    pub rules: BTreeMap<String, Rule>,
    /// Further policies, lower-case as Vault keeps them, sorted.
    pub policies: Vec<String>,
    /// The AppRole login.
    pub app_role: Option<AppRoleWish>,
    /// ServiceAccounts that may log in.
    pub kubernetes: Option<Accounts>,
    /// What the tokens of all logins are like, but for their policies.
    pub token: TokenParams,
    /// Where a token is to be delivered.
    pub delivery: Option<Delivery>,
    /// The client certificate.
    pub certificate: Option<Certificate>,
    /// A person's login, once [`people`] has checked it.
    pub person: Option<Person>,
    /// A login by a token of another provider, once [`people`] has checked it.
    pub provider: Option<Provider>,
}

/// What a policy says of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What is allowed, sorted, each once; deny stands alone.
    pub capabilities: Vec<Capability>,
    /// What a request must be like besides.
    pub limits: Limits,
}

/// What a request must be like to be allowed. Names of parameters are in lower case, as Vault compares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Parameters that it must have, sorted.
    pub required: Vec<String>,
    /// The only parameters that it may have, with their only values; without values any will do. Empty: all parameters.
    pub allowed: BTreeMap<String, Vec<String>>,
    /// Parameters that it may not have, or not with these values.
    pub denied: BTreeMap<String, Vec<String>>,
    /// Least life of the token that wraps the answer.
    pub min_wrapping: Option<Duration>,
    /// Longest life of the token that wraps the answer.
    pub max_wrapping: Option<Duration>,
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
        userpass,
        jwt,
        certificate,
        token,
        deletion_policy,
        revoke_tokens,
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
    let rules = policy::rules(rules, namespace, &grants, &cluster)?;
    let policies = policy::names(names, &grants, &cluster)?;
    if let Some(certificate) = certificate {
        certificate::is_granted(certificate, namespace, &grants, &cluster)?;
    }
    let app_role = app_role.as_ref().map(app_role::wish).transpose()?;
    let kubernetes = kubernetes
        .as_ref()
        .map(|login| kubernetes::accounts(login, namespace, access, &cluster))
        .transpose()?;
    let certificate = certificate.as_ref().map(certificate::check).transpose()?;
    let is_without = userpass.is_none() && jwt.is_none() && certificate.is_none() && token.deliver.is_none();
    if app_role.is_none() && kubernetes.is_none() && is_without {
        return Err(invalid(
            "spec: holds no way to log in: add appRole, kubernetes, userpass, jwt, certificate or token.deliver"
                .to_owned(),
        ));
    }
    if rules.is_empty() && policies.is_empty() {
        return Err(invalid(
            "spec.policy: holds no rule and no name: add one".to_owned(),
        ));
    }
    let delivery = token.deliver.as_ref();
    let delivery = delivery
        .map(|delivery| deliver::delivery(delivery, app_role.as_ref().map(|wish| wish.secret_name.as_str())))
        .transpose()?;
    if *revoke_tokens && *deletion_policy == RoleDeletionPolicy::Retain {
        return Err(invalid(
            "spec.revokeTokens: ends what spec.deletionPolicy Retain is to keep: remove one of them"
                .to_owned(),
        ));
    }
    if let Some(certificate) = &certificate {
        let of_app_role = app_role.as_ref().map(|wish| wish.secret_name.as_str());
        certificate::is_alone(certificate, of_app_role, delivery.as_ref())?;
    }
    Ok(Validated {
        rules,
        policies,
        app_role,
        kubernetes,
        token: token::params(token)?,
        delivery,
        certificate,
        person: None,
        provider: None,
    })
}

/// Checks the logins for people and CI of VaultRole `namespace`/`name` against what its VaultCluster declares and grants.
pub fn people(
    spec: &VaultRoleSpec,
    (namespace, name): (&str, &str),
    access: &[AccessGrant],
    methods: &[AuthMethod],
) -> Result<(Option<Person>, Option<Provider>), Refusal> {
    let cluster = format!("VaultCluster {}/{}", spec.cluster.namespace, spec.cluster.name);
    let name = names::vault_name(namespace, name);
    let grants: Vec<&AccessGrant> = access
        .iter()
        .filter(|grant| grant.namespaces.iter().any(|granted| granted == namespace))
        .collect();
    let person = spec.userpass.as_ref();
    let person = person.map(|login| people::person(login, &name, &grants, methods, &cluster));
    let provider = spec.jwt.as_ref();
    let provider = provider.map(|login| people::provider(login, &name, &grants, methods, &cluster));
    Ok((person.transpose()?, provider.transpose()?))
}

/// Checks what cannot be at a Vault that runs elsewhere.
pub fn elsewhere(validated: &Validated) -> Result<(), Refusal> {
    match &validated.kubernetes {
        Some(accounts) if !accounts.audience.is_empty() => Err(invalid(
            "spec.kubernetes.audience: the VaultCluster is one that runs elsewhere, where the audience is chosen already \
             (status.external.audience): remove it"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

fn is_object_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && name.chars().all(inner)
        && edge(name.chars().next())
        && edge(name.chars().next_back())
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
