//! Vault's own objects: at bootstrap with the root token, later with the operator's own login.

pub(crate) mod audit;
mod auth;
mod autopilot;
pub(crate) mod check;
mod devices;
mod findings;
mod ledger;
mod mfa;
mod mode;
mod mounts;
mod namespaces;
mod object;
mod own;
mod policies;
mod secrets;
mod work;

use k8s_openapi::api::core::v1::ObjectReference;
use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::cluster::configuration::Configuration;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::sys::rekey::RekeyPaths;

use super::error::Error;
use super::execute::Scope;
use super::validate::Invalid;
use super::{custody, hand_over};
use crate::context::Context;
use crate::report::Reason;
use crate::sessions::Target;
use ledger::Ledger;
use work::{Done, Work};

pub(crate) use findings::{Findings, Looks};
pub(crate) use own::{grant_rekey, needed_paths, policy as operator_policy};
pub(crate) use policies::declared as declared_policies;
#[cfg(test)]
pub(crate) use policies::persona as ready_policy;

/// What the operator needs to log in by itself, with the root token, and nothing that a typing error in the spec could
/// stop: the declared configuration comes later. Audit first, so that all that follows is in the log.
pub(crate) async fn as_root(
    scope: &Scope<'_>,
    root: &Client,
    member: &str,
    identity: &str,
) -> Result<(), Error> {
    devices::at_bootstrap(scope.cluster, root, member).await?;
    own::auth_methods(root, member).await?;
    // The policy is made of names in the spec: never of one that is refused.
    let configuration = scope.cluster.configuration.clone().unwrap_or_default();
    own::write_policy(root, &configuration, None, member).await?;
    own_login(scope, root, member, identity).await
}

async fn own_login(scope: &Scope<'_>, client: &Client, member: &str, identity: &str) -> Result<(), Error> {
    let role = own::role(&scope.ctx.service_account, &scope.ctx.namespace, identity);
    own::login(client, &scope.ctx.auth_environment, &role, member).await
}

/// What is remembered of the looks at the configuration.
fn looks_of<'a>(scope: &Scope<'a>) -> Looks<'a> {
    let cluster = scope.cluster;
    Looks::recall(
        &scope.ctx.recent,
        &cluster.uid,
        &cluster.configuration,
        store_of(scope),
    )
}

/// Whether the next upkeep looks at the configuration.
pub(crate) fn is_due(scope: &Scope<'_>) -> bool {
    scope.cluster.configuration.is_ok() && !looks_of(scope).are_fresh()
}

/// Keeps the declared configuration with the operator's own login, at most once a minute and after each change. What is
/// wrong with declared objects is no error here: it stands in the findings.
pub(crate) async fn upkeep(scope: &Scope<'_>) -> Result<(), Error> {
    let looks = looks_of(scope);
    let before = looks.findings(scope.applied);
    let configuration = match &scope.cluster.configuration {
        Ok(configuration) => configuration,
        Err(invalid) => {
            let _ = scope.findings.set(refused(before, invalid));
            return Ok(());
        }
    };
    if looks.are_fresh() {
        let _ = scope.findings.set(before);
        return Ok(());
    }
    let target = Target::from(scope.cluster);
    let session = scope.ctx.sessions.active(scope.ctx, &target).await;
    let client = session.map_err(Box::new)?;
    let (findings, result) = Box::pin(keep(scope, configuration, &client, before)).await;
    scope.forget_a_spoilt_session(&result).await;
    looks.keep(findings.clone(), &result);
    let _ = scope.findings.set(findings);
    result
}

/// Nothing of a configuration that is refused is looked at, and what was applied of the one before it stays.
fn refused(before: Findings, invalid: &Invalid) -> Findings {
    before.with_problem("InvalidSpec", invalid.to_string())
}

/// Tells one initialisation of this cluster from the next: a Vault in memory is made anew with each restart.
fn store_of<'a>(scope: &Scope<'a>) -> &'a str {
    scope
        .record
        .map(|record| record.attempt.as_str())
        .unwrap_or_default()
}

/// What is declared, for which object, and where.
pub(crate) struct Declaration<'a> {
    /// Shared.
    pub ctx: &'a Context,
    /// The VaultCluster in events.
    pub reference: &'a ObjectReference,
    /// Its namespace, with the Secrets that are referred to.
    pub namespace: &'a str,
    /// Product.
    pub distribution: Distribution,
    /// What is declared.
    pub configuration: &'a Configuration,
    /// Tells one Vault from another that holds nothing of it yet.
    pub store: &'a str,
}

/// The operator's own needs in any case, then what the spec declares.
async fn keep(
    scope: &Scope<'_>,
    configuration: &Configuration,
    client: &Client,
    before: Findings,
) -> (Findings, Result<(), Error>) {
    if let Err(error) = own_needs(scope, configuration, client).await {
        return (before, Err(error));
    }
    let declaration = Declaration {
        ctx: scope.ctx,
        reference: scope.reference,
        namespace: &scope.cluster.namespace,
        distribution: scope.cluster.distribution,
        configuration,
        store: store_of(scope),
    };
    look(&declaration, client, before).await
}

/// Looks at what is declared, and writes as `drift` says. What was found is known also of a look that was cut short.
pub(crate) async fn look(
    declaration: &Declaration<'_>,
    client: &Client,
    before: Findings,
) -> (Findings, Result<(), Error>) {
    let Declaration {
        ctx,
        reference: _,
        namespace,
        distribution: _,
        configuration,
        store,
    } = *declaration;
    let secrets = match secrets::read(ctx, namespace, configuration).await {
        Ok(secrets) => secrets,
        Err(error) => return (before, Err(error)),
    };
    let fingerprint = mode::fingerprint(configuration, &secrets.versions(), store);
    let Findings { applied, left, .. } = before;
    let ledger = Ledger::new(configuration.drift, applied.clone(), fingerprint);
    if !ledger.looks() {
        return (
            Findings {
                applied,
                ..Findings::default()
            },
            Ok(()),
        );
    }
    let mut work = Work::new(client, store, ledger);
    let result = declared(&mut work, declaration, &secrets).await;
    let Done {
        applied,
        differences,
        errors,
    } = work.end();
    findings::publish(declaration, &differences).await;
    let left = match &result {
        Ok(()) => findings::left(&differences),
        Err(_) => left,
    };
    let problem = findings::problem(&errors);
    (
        Findings {
            applied,
            left,
            problem,
        },
        result,
    )
}

/// The right to rekey, while the shares are to be handed over.
pub(crate) fn rekey_of(scope: &Scope<'_>) -> Option<RekeyPaths> {
    let cluster = scope.cluster;
    let hands_over = scope
        .record
        .is_some_and(|record| custody::is_due(&cluster.seal, record));
    hands_over.then(|| hand_over::paths(cluster.distribution))
}

async fn own_needs(scope: &Scope<'_>, configuration: &Configuration, client: &Client) -> Result<(), Error> {
    let member = client.node();
    own::write_policy(client, configuration, rekey_of(scope), member).await?;
    for device in devices::standard(scope.cluster, configuration, client, member).await? {
        let note = format!("the default audit device {device} was not there and is enabled again");
        scope.event(Reason::ConfigurationDrift, &device, &note).await;
    }
    autopilot::keep(scope.cluster, client, member).await?;
    own::auth_methods(client, member).await?;
    match scope.record {
        Some(record) => own_login(scope, client, member, &record.identity).await,
        None => Ok(()),
    }
}

/// In this order: what is named by others comes before them.
async fn declared(
    work: &mut Work<'_>,
    declaration: &Declaration<'_>,
    secrets: &secrets::Secrets,
) -> Result<(), Error> {
    let Configuration {
        drift: _,
        secrets_engines,
        auth_methods,
        policies,
        password_policies,
        audit: _,
        mfa,
        namespaces,
    } = declaration.configuration;
    devices::declared(declaration.distribution, declaration.configuration, work).await?;
    work.finished("audit");
    for (n, namespace) in namespaces.iter().enumerate() {
        work.object(&namespaces::namespace(n, namespace)).await?;
    }
    work.finished("namespaces");
    let engines = secrets_engines.iter().enumerate();
    let engines: Vec<_> = engines.map(|(n, engine)| mounts::engine(n, engine)).collect();
    work.mounts("sys/mounts", &engines).await?;
    work.finished("secretsEngines");
    let methods = auth_methods.iter().enumerate();
    let methods: Vec<_> = methods.map(|(n, method)| mounts::method(n, method)).collect();
    work.mounts("sys/auth", &methods).await?;
    for (n, policy) in password_policies.iter().enumerate() {
        work.object(&policies::password(n, policy)).await?;
    }
    work.finished("passwordPolicies");
    // Policies and MFA name the accessors of auth methods.
    let name_accessors = !policies.is_empty() && work.looks_at("policies")
        || !mfa.enforcements.is_empty() && work.looks_at("mfa");
    let accessors = if name_accessors {
        work.accessors().await?
    } else {
        std::collections::BTreeMap::new()
    };
    for (n, policy) in policies.iter().enumerate() {
        let field = format!("spec.configuration.policies[{n}]");
        let wanted = policies::acl(n, policy, &accessors);
        work.object_or_error(&field, wanted).await?;
    }
    work.finished("policies");
    for (n, method) in auth_methods.iter().enumerate() {
        for (field, wanted) in auth::below(n, method, secrets) {
            work.object_or_error(&field, wanted).await?;
        }
    }
    work.finished("authMethods");
    if !(mfa.totp.is_empty() && mfa.enforcements.is_empty()) && work.looks_at("mfa") {
        let methods = work.totp(&mfa.totp).await?;
        for (n, rule) in mfa.enforcements.iter().enumerate() {
            let field = format!("spec.configuration.mfa.enforcements[{n}]");
            let wanted = mfa::enforcement(n, rule, &methods, &accessors);
            work.object_or_error(&field, wanted).await?;
        }
    }
    work.finished("mfa");
    Ok(())
}
