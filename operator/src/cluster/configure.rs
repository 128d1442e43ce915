//! Vault's own objects: at bootstrap with the root token, later with the operator's own login.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;
use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::names;
use vaultkeeper_vault::auth::kubernetes;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::sys::audit::AuditDevice;
use vaultkeeper_vault::{Client, SecretString};

use super::error::Error;
use super::execute::Scope;
use super::mounts;
use super::validate::Validated;
use crate::context::KubernetesAuthEnvironment;
use crate::role::desired::same_kubernetes;
use crate::sessions::{self, OPERATOR_ROLE, Target};

/// How often the configuration is read back.
const REPEAT: Duration = Duration::from_secs(60);
/// Life of the operator's own token; it logs in again at half of it.
const TOKEN_TTL: Duration = Duration::from_secs(1800);
/// Path of the audit device.
const AUDIT_PATH: &str = "stdout";

/// The operator's policy: what it does and no more. It can write policies and is therefore as strong as root;
/// what is gained over a root token is expiry, audit and revocation.
pub(crate) const OPERATOR_POLICY: &str = r#"path "sys/mounts"   { capabilities = ["read"] }
path "sys/mounts/*" { capabilities = ["read", "update"] }
path "sys/auth"     { capabilities = ["read"] }
path "sys/auth/*"   { capabilities = ["read", "update", "sudo"] }
path "sys/policies/acl"   { capabilities = ["list"] }
path "sys/policies/acl/*" { capabilities = ["read", "update", "delete"] }
path "sys/audit"    { capabilities = ["read", "sudo"] }
path "sys/audit/*"  { capabilities = ["update", "sudo"] }
path "sys/storage/raft/configuration" { capabilities = ["read"] }
path "sys/storage/raft/autopilot/*"   { capabilities = ["read", "update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "auth/approle/role"   { capabilities = ["list"] }
path "auth/approle/role/+" { capabilities = ["create", "read", "update", "delete"] }
path "auth/approle/role/+/role-id"   { capabilities = ["read"] }
path "auth/approle/role/+/secret-id" { capabilities = ["update", "list"] }
path "auth/approle/role/+/secret-id-accessor/+" { capabilities = ["update"] }
path "auth/kubernetes/config"  { capabilities = ["read", "update"] }
path "auth/kubernetes/role"    { capabilities = ["list"] }
path "auth/kubernetes/role/+"  { capabilities = ["create", "read", "update", "delete"] }
path "auth/token/lookup-self"  { capabilities = ["read"] }
path "auth/token/renew-self"   { capabilities = ["update"] }
path "auth/token/revoke-self"  { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
"#;

/// Paths that the operator's own login must be able to update before the root token goes.
pub(crate) fn needed_paths() -> Vec<String> {
    [
        "sys/policies/acl/probe".to_owned(),
        "sys/mounts/probe".to_owned(),
        "sys/auth/probe".to_owned(),
        format!("auth/{}/role/probe", names::APPROLE_AUTH_PATH),
        format!("auth/{}/role/probe/secret-id", names::APPROLE_AUTH_PATH),
        format!("auth/{}/role/probe", names::KUBERNETES_AUTH_PATH),
    ]
    .into()
}

/// What the operator needs to log in by itself, with the root token, and nothing that a typing error in the spec could
/// stop: the declared configuration comes later. Audit first, so that all that follows is in the log.
pub(crate) async fn as_root(
    scope: &Scope<'_>,
    root: &Client,
    member: &str,
    identity: &str,
) -> Result<(), Error> {
    audit(scope.cluster, root, member).await?;
    mounts::own(root, member).await?;
    own_policy(root, member).await?;
    own_login(scope, root, member, identity).await
}

/// How Vault checks ServiceAccounts, and to which one the operator's login is bound.
async fn own_login(scope: &Scope<'_>, client: &Client, member: &str, identity: &str) -> Result<(), Error> {
    let step = |e| Error::vault("configure the Kubernetes auth method", member, e);
    let auth = client.kubernetes(names::KUBERNETES_AUTH_PATH);
    let (config, reviewer) = auth_config(&scope.ctx.auth_environment);
    let found = there(auth.read_config().await).map_err(step)?;
    if !found.is_some_and(|found| same_config(&found, &config)) {
        auth.write_config(&config, reviewer).await.map_err(step)?;
    }
    let role = operator_role(&scope.ctx.service_account, &scope.ctx.namespace, identity);
    let found = there(auth.read_role(OPERATOR_ROLE).await).map_err(step)?;
    if !found.is_some_and(|found| same_kubernetes(&found, &role)) {
        auth.write_role(OPERATOR_ROLE, &role).await.map_err(step)?;
    }
    Ok(())
}

/// None where there is nothing.
fn there<T>(result: Result<T, vaultkeeper_vault::Error>) -> Result<Option<T>, vaultkeeper_vault::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The reviewer's token cannot be read back; it changes with none of ours.
fn same_config(found: &kubernetes::Config, wanted: &kubernetes::Config) -> bool {
    let kubernetes::Config {
        kubernetes_host,
        kubernetes_ca_cert,
        disable_local_ca_jwt,
        pem_keys,
    } = wanted;
    found.kubernetes_host == *kubernetes_host
        && found.kubernetes_ca_cert.trim() == kubernetes_ca_cert.trim()
        && found.disable_local_ca_jwt == *disable_local_ca_jwt
        && found.pem_keys == *pem_keys
}

/// Keeps the declared configuration with the operator's own login, at most once a minute and after each change.
pub(crate) async fn upkeep(scope: &Scope<'_>) -> Result<(), Error> {
    let key = format!("{}/configure", scope.cluster.uid);
    let mut hasher = DefaultHasher::new();
    format!("{:?}", scope.cluster.configuration).hash(&mut hasher);
    if scope
        .ctx
        .recent
        .is_fresh(&key, hasher.finish(), REPEAT, Instant::now())
    {
        return Ok(());
    }
    let target = Target::from(scope.cluster);
    let client = scope
        .ctx
        .sessions
        .active(scope.ctx, &target)
        .await
        .map_err(Box::new)?;
    let result = async {
        own_policy(&client, client.node()).await?;
        audit(scope.cluster, &client, client.node()).await?;
        mounts::own(&client, client.node()).await?;
        if let Some(record) = scope.record {
            own_login(scope, &client, client.node(), &record.identity).await?;
        }
        mounts::declared(&scope.cluster.configuration, &client, client.node()).await
    }
    .await;
    if let Err(Error::Vault { source, .. } | Error::Mount { source, .. }) = &result
        && sessions::is_spoilt_by(source)
    {
        scope.ctx.sessions.forget(&target.uid).await;
    }
    result?;
    scope.ctx.recent.mark(key, hasher.finish(), Instant::now());
    Ok(())
}

async fn own_policy(client: &Client, member: &str) -> Result<(), Error> {
    let step = |e| Error::vault("write the operator's policy", member, e);
    let found = there(client.read_policy(OPERATOR_ROLE).await).map_err(step)?;
    if found.as_deref().map(str::trim) != Some(OPERATOR_POLICY.trim()) {
        client
            .write_policy(OPERATOR_ROLE, OPERATOR_POLICY)
            .await
            .map_err(step)?;
    }
    Ok(())
}

/// OpenBao has its device in the configuration file and refuses this call.
async fn audit(cluster: &Validated, client: &Client, member: &str) -> Result<(), Error> {
    if cluster.distribution == Distribution::OpenBao {
        return Ok(());
    }
    let step = |e| Error::vault("enable the audit device", member, e);
    if client
        .audit_devices()
        .await
        .map_err(step)?
        .keys()
        .any(|path| path.trim_end_matches('/') == AUDIT_PATH)
    {
        return Ok(());
    }
    let device = AuditDevice {
        kind: "file".to_owned(),
        description: "standard output of the active member".to_owned(),
        options: BTreeMap::from([("file_path".to_owned(), "stdout".to_owned())]),
        ..AuditDevice::default()
    };
    client
        .enable_audit_device(AUDIT_PATH, &device)
        .await
        .map_err(step)
}

fn auth_config(environment: &KubernetesAuthEnvironment) -> (kubernetes::Config, Option<&SecretString>) {
    let KubernetesAuthEnvironment {
        host,
        ca_cert,
        token_reviewer_jwt,
    } = environment;
    let config = kubernetes::Config {
        kubernetes_host: host.clone(),
        kubernetes_ca_cert: ca_cert.clone().unwrap_or_default(),
        // In a pod Vault reads its own token and CA, which Kubernetes keeps fresh.
        disable_local_ca_jwt: token_reviewer_jwt.is_some(),
        ..kubernetes::Config::default()
    };
    (config, token_reviewer_jwt.as_ref())
}

fn operator_role(service_account: &str, namespace: &str, identity: &str) -> kubernetes::Role {
    kubernetes::Role {
        bound_service_account_names: vec![service_account.to_owned()],
        bound_service_account_namespaces: vec![namespace.to_owned()],
        audience: names::operator_audience(identity),
        token: TokenParams {
            ttl: TOKEN_TTL,
            max_ttl: TOKEN_TTL,
            policies: vec![OPERATOR_ROLE.to_owned()],
            no_default_policy: true,
            ..TokenParams::default()
        },
        ..kubernetes::Role::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_role_is_bound_to_one_account_and_the_audience_of_one_cluster() {
        let role = operator_role("operator", "vaultkeeper", "uid-1");
        assert_eq!(role.audience, "vaultkeeper.dev/cluster/uid-1");
        assert_eq!(role.bound_service_account_names, ["operator"]);
        assert_eq!(role.token.policies, [OPERATOR_ROLE]);
        assert!(role.token.no_default_policy);
    }

    #[test]
    fn the_auth_configuration_is_written_again_only_when_it_differs() {
        let wanted = kubernetes::Config {
            kubernetes_host: "https://kubernetes.default.svc".to_owned(),
            kubernetes_ca_cert: "ca\n".to_owned(),
            ..kubernetes::Config::default()
        };
        let found = kubernetes::Config {
            kubernetes_ca_cert: "ca".to_owned(),
            ..wanted.clone()
        };
        assert!(same_config(&found, &wanted), "Vault trims what it stores");
        let other = kubernetes::Config {
            kubernetes_host: "https://other".to_owned(),
            ..wanted.clone()
        };
        assert!(!same_config(&other, &wanted));
    }

    #[test]
    fn the_operators_policy_never_reads_secrets() {
        for path in ["secret/", "path \"*\"", "sys/raw", "auth/token/create"] {
            assert!(!OPERATOR_POLICY.contains(path), "the policy must not name {path}");
        }
    }
}
