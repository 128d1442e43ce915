//! Vault's own objects: at bootstrap with the root token, later with the operator's own login.

pub(crate) mod audit;
mod auth;
pub(crate) mod check;
mod devices;
mod findings;
mod mfa;
mod mode;
mod mounts;
mod namespaces;
mod object;
mod own;
mod policies;
mod secrets;
mod work;

use std::time::Duration;

use tokio::time::Instant;
use vaultkeeper_crds::cluster::configuration::Configuration;
use vaultkeeper_vault::Client;

use super::error::Error;
use super::execute::Scope;
use crate::controllers::hash;
use crate::sessions::{self, Target};
use mode::Mode;
use work::Work;

pub(crate) use findings::Findings;
pub(crate) use own::needed_paths;

/// How often the configuration is read back.
const REPEAT: Duration = Duration::from_secs(60);

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
    own::write_policy(root, &scope.cluster.configuration, member).await?;
    own_login(scope, root, member, identity).await
}

async fn own_login(scope: &Scope<'_>, client: &Client, member: &str, identity: &str) -> Result<(), Error> {
    let role = own::role(&scope.ctx.service_account, &scope.ctx.namespace, identity);
    own::login(client, &scope.ctx.auth_environment, &role, member).await
}

/// Keeps the declared configuration with the operator's own login, at most once a minute and after each change.
pub(crate) async fn upkeep(scope: &Scope<'_>) -> Result<(), Error> {
    let key = format!("{}/configure", scope.cluster.uid);
    let configuration = format!("{:?}", scope.cluster.configuration);
    let fingerprint = hash(&(configuration, store_of(scope)));
    let (recent, now) = (&scope.ctx.recent, Instant::now());
    if recent.is_fresh(&key, fingerprint, REPEAT, now) {
        return Ok(());
    }
    let target = Target::from(scope.cluster);
    let session = scope.ctx.sessions.active(scope.ctx, &target).await;
    let client = session.map_err(Box::new)?;
    let result = Box::pin(keep(scope, &client)).await;
    if let Err(error) = &result
        && error.vault_cause().is_some_and(sessions::is_spoilt_by)
    {
        scope.ctx.sessions.forget(&target.uid).await;
    }
    let findings = result?;
    recent.mark(key, fingerprint, Instant::now());
    let _ = scope.findings.set(findings);
    Ok(())
}

/// Tells one initialisation of this cluster from the next: a Vault in memory is made anew with each restart.
fn store_of<'a>(scope: &Scope<'a>) -> &'a str {
    scope
        .record
        .map(|record| record.attempt.as_str())
        .unwrap_or_default()
}

/// The operator's own needs in any case, then what the spec declares as `drift` says.
async fn keep(scope: &Scope<'_>, client: &Client) -> Result<Findings, Error> {
    let member = client.node();
    let cluster = scope.cluster;
    let configuration: &Configuration = &cluster.configuration;
    own::write_policy(client, configuration, member).await?;
    devices::standard(cluster, client, member).await?;
    own::auth_methods(client, member).await?;
    if let Some(record) = scope.record {
        own_login(scope, client, member, &record.identity).await?;
    }
    let secrets = secrets::read(scope.ctx, cluster).await?;
    let fingerprint = mode::fingerprint(configuration, &secrets.versions(), store_of(scope));
    let mode = Mode::of(configuration.drift, scope.applied, &fingerprint);
    let mut work = Work::new(client, mode);
    let result = declared(&mut work, scope, &secrets).await;
    let (differences, errors) = work.end();
    findings::publish(scope, mode, &differences).await;
    result?;
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    Ok(Findings::new(mode, fingerprint, &differences))
}

/// In this order: what is named by others comes before them.
async fn declared(work: &mut Work<'_>, scope: &Scope<'_>, secrets: &secrets::Secrets) -> Result<(), Error> {
    if !work.looks() {
        return Ok(());
    }
    let Configuration {
        drift: _,
        secrets_engines,
        auth_methods,
        policies,
        password_policies,
        audit: _,
        mfa,
        namespaces,
    } = &scope.cluster.configuration;
    devices::declared(scope.cluster, work).await?;
    for (n, namespace) in namespaces.iter().enumerate() {
        work.object(&namespaces::namespace(n, namespace)).await?;
    }
    let engines = secrets_engines.iter().enumerate();
    let engines: Vec<_> = engines.map(|(n, engine)| mounts::engine(n, engine)).collect();
    work.mounts("sys/mounts", &engines).await?;
    let methods = auth_methods.iter().enumerate();
    let methods: Vec<_> = methods.map(|(n, method)| mounts::method(n, method)).collect();
    work.mounts("sys/auth", &methods).await?;
    for (n, policy) in password_policies.iter().enumerate() {
        work.object(&policies::password(n, policy)).await?;
    }
    // Policies and MFA name the accessors of auth methods.
    let accessors = if policies.is_empty() && mfa.enforcements.is_empty() {
        std::collections::BTreeMap::new()
    } else {
        work.accessors().await?
    };
    for (n, policy) in policies.iter().enumerate() {
        work.object_or_error(policies::acl(n, policy, &accessors)).await?;
    }
    for (n, method) in auth_methods.iter().enumerate() {
        for wanted in auth::below(n, method, secrets) {
            work.object_or_error(wanted).await?;
        }
    }
    if mfa.totp.is_empty() && mfa.enforcements.is_empty() {
        return Ok(());
    }
    let methods = work.totp(&mfa.totp).await?;
    for (n, rule) in mfa.enforcements.iter().enumerate() {
        let wanted = mfa::enforcement(n, rule, &methods, &accessors);
        work.object_or_error(wanted).await?;
    }
    Ok(())
}
