//! What the operator itself needs in Vault: its policy, its auth methods, its role. Kept whatever the spec says of drift.

use std::fmt::Write as _;
use std::time::Duration;

use vaultkeeper_crds::cluster::configuration::{AuthMethod, Configuration};
use vaultkeeper_crds::names;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::kubernetes;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::sys::rekey::RekeyPaths;

use super::mfa;
use crate::cluster::error::Error;
use crate::context::KubernetesAuthEnvironment;
use crate::role::desired::same_kubernetes;
use crate::sessions::OPERATOR_ROLE;

/// Life of the operator's own token; it logs in again at half of it.
const TOKEN_TTL: Duration = Duration::from_secs(1800);

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
path "sys/key-status" { capabilities = ["read"] }
path "sys/storage/raft/configuration" { capabilities = ["read"] }
path "sys/storage/raft/autopilot/*"   { capabilities = ["read", "update"] }
path "sys/storage/raft/remove-peer"   { capabilities = ["update"] }
path "sys/storage/raft/snapshot"      { capabilities = ["read"] }
path "sys/step-down" { capabilities = ["update", "sudo"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "auth/approle/role"   { capabilities = ["list"] }
path "auth/approle/role/+" { capabilities = ["create", "read", "update", "delete"] }
path "auth/approle/role/+/role-id"   { capabilities = ["read"] }
path "auth/approle/role/+/secret-id" { capabilities = ["update", "list"] }
path "auth/approle/role/+/secret-id/lookup" { capabilities = ["update"] }
path "auth/approle/role/+/secret-id-accessor/+" { capabilities = ["update"] }
path "auth/kubernetes/config"  { capabilities = ["read", "update"] }
path "auth/kubernetes/role"    { capabilities = ["list"] }
path "auth/kubernetes/role/+"  { capabilities = ["create", "read", "update", "delete"] }
path "auth/cert/certs"    { capabilities = ["list"] }
path "auth/cert/certs/+"  { capabilities = ["create", "read", "update", "delete"] }
path "auth/cert/crls/+"   { capabilities = ["create", "read", "update"] }
path "auth/token/lookup-self"  { capabilities = ["read"] }
path "auth/token/renew-self"   { capabilities = ["update"] }
path "auth/token/revoke-self"  { capabilities = ["update"] }
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/roles/+"         { capabilities = ["create", "read", "update", "delete"] }
path "auth/token/create/+"        { capabilities = ["update"] }
path "auth/token/renew-accessor"  { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "identity/mfa/login-enforcement"   { capabilities = ["list"] }
path "identity/mfa/login-enforcement/+" { capabilities = ["read"] }
"#;

/// The policy for a configuration: what every cluster needs, and each object that this one declares, by its own path.
/// `rekey`: while the shares are handed over to custodians.
pub(crate) fn policy(configuration: &Configuration, rekey: Option<RekeyPaths>) -> String {
    let Configuration {
        drift: _,
        secrets_engines,
        auth_methods,
        policies: _,
        password_policies,
        audit,
        mfa,
        namespaces,
    } = configuration;
    let mut text = OPERATOR_POLICY.to_owned();
    let mut allow = |path: &str, capabilities: &str| {
        let _ = writeln!(text, "path \"{path}\" {{ capabilities = [{capabilities}] }}");
    };
    // Client certificates of VaultRoles.
    for engine in secrets_engines.iter().filter(|engine| engine.type_ == "pki") {
        allow(&format!("{}/sign/+", engine.path), r#""create", "update""#);
        allow(&format!("{}/revoke", engine.path), r#""create", "update""#);
    }
    for method in auth_methods {
        allow_method(method, &mut allow);
    }
    for policy in password_policies {
        allow(
            &format!("sys/policies/password/{}", policy.name),
            r#""create", "read", "update""#,
        );
    }
    // To replace a device means to disable it first.
    for device in audit.iter().flatten() {
        allow(
            &format!("sys/audit/{}", device.path),
            r#""update", "delete", "sudo""#,
        );
    }
    if !mfa.totp.is_empty() || !mfa.enforcements.is_empty() {
        allow(mfa::TOTP, r#""list", "update""#);
    }
    for rule in &mfa.enforcements {
        allow(
            &format!("identity/mfa/login-enforcement/{}", rule.name),
            r#""create", "read", "update""#,
        );
    }
    for namespace in namespaces {
        allow(
            &format!("sys/namespaces/{}", namespace.path),
            r#""create", "read", "update""#,
        );
    }
    if let Some(paths) = rekey {
        text.push_str(&rekey_rights(paths));
    }
    text
}

/// What handing the shares over takes.
fn rekey_rights(paths: RekeyPaths) -> String {
    let root = paths.root();
    format!(
        r#"path "{root}/init" {{ capabilities = ["read", "update", "delete", "sudo"] }}
path "{root}/update" {{ capabilities = ["update", "sudo"] }}
path "{root}/backup" {{ capabilities = ["read", "delete", "sudo"] }}
"#
    )
}

/// A policy with the right to rekey, or without it. The rest stays as it is: the spec may be refused at present.
fn with_rekey(policy: &str, paths: RekeyPaths, granted: bool) -> String {
    let rights = rekey_rights(paths);
    let mut text = String::new();
    for line in policy.lines() {
        if !rights.lines().any(|right| right == line) {
            text.push_str(line);
            text.push('\n');
        }
    }
    if granted {
        text.push_str(&rights);
    }
    text
}

/// Gives the operator the right to rekey, or takes it back.
pub(crate) async fn grant_rekey(
    client: &Client,
    paths: RekeyPaths,
    granted: bool,
    member: &str,
) -> Result<(), Error> {
    let step = |e| Error::vault("write the operator's policy", member, e);
    let found = client.read_policy(OPERATOR_ROLE).await.map_err(step)?;
    let wanted = with_rekey(&found, paths, granted);
    if found.trim() != wanted.trim() {
        client.write_policy(OPERATOR_ROLE, &wanted).await.map_err(step)?;
    }
    Ok(())
}

fn allow_method(method: &AuthMethod, allow: &mut impl FnMut(&str, &str)) {
    const WRITE: &str = r#""create", "read", "update""#;
    const KEEP: &str = r#""create", "read", "update", "delete""#;
    let AuthMethod {
        path,
        type_,
        description: _,
        tune: _,
        kubernetes,
        jwt,
        cert,
        userpass,
    } = method;
    if kubernetes.is_some() || jwt.is_some() || cert.is_some() {
        allow(&format!("auth/{path}/config"), WRITE);
    }
    for role in jwt.iter().flat_map(|jwt| &jwt.roles) {
        allow(&format!("auth/{path}/role/{}", role.name), WRITE);
    }
    for role in cert.iter().flat_map(|cert| &cert.roles) {
        allow(&format!("auth/{path}/certs/{}", role.name), WRITE);
    }
    // Those of VaultRoles, where spec.access gives them the method.
    match type_.as_str() {
        "jwt" | "oidc" => allow(&format!("auth/{path}/role/+"), KEEP),
        "userpass" => allow(&format!("auth/{path}/users/+"), KEEP),
        _ => {}
    }
    for user in userpass.iter().flat_map(|userpass| &userpass.users) {
        allow(&format!("auth/{path}/users/{}", user.name), WRITE);
    }
}

/// Paths that the operator's own login must be able to update before the root token goes.
pub(crate) fn needed_paths() -> Vec<String> {
    [
        "sys/policies/acl/probe".to_owned(),
        "sys/mounts/probe".to_owned(),
        "sys/auth/probe".to_owned(),
        format!("auth/{}/role/probe", names::APPROLE_AUTH_PATH),
        format!("auth/{}/role/probe/secret-id", names::APPROLE_AUTH_PATH),
        format!("auth/{}/role/probe/secret-id/lookup", names::APPROLE_AUTH_PATH),
        format!("auth/{}/role/probe", names::KUBERNETES_AUTH_PATH),
        "auth/token/roles/probe".to_owned(),
        "auth/token/create/probe".to_owned(),
        format!("auth/{}/certs/probe", names::CERT_AUTH_PATH),
    ]
    .into()
}

/// Writes the operator's policy unless it is there. So does an upgraded operator: a policy may write itself.
pub(crate) async fn write_policy(
    client: &Client,
    configuration: &Configuration,
    rekey: Option<RekeyPaths>,
    member: &str,
) -> Result<(), Error> {
    let step = |e| Error::vault("write the operator's policy", member, e);
    let wanted = policy(configuration, rekey);
    let found = there(client.read_policy(OPERATOR_ROLE).await).map_err(step)?;
    if found.as_deref().map(str::trim) != Some(wanted.trim()) {
        client.write_policy(OPERATOR_ROLE, &wanted).await.map_err(step)?;
    }
    Ok(())
}

/// Enables the auth methods that the operator and VaultRoles use.
pub(crate) async fn auth_methods(client: &Client, member: &str) -> Result<(), Error> {
    let listed = client.auth_methods().await;
    let found = listed.map_err(|e| Error::vault("read the auth methods", member, e))?;
    for (path, kind, description) in [
        (
            names::KUBERNETES_AUTH_PATH,
            "kubernetes",
            "ServiceAccounts of this Kubernetes cluster",
        ),
        (names::APPROLE_AUTH_PATH, "approle", "VaultRoles"),
        (
            names::CERT_AUTH_PATH,
            "cert",
            "VaultRoles, by client certificates",
        ),
    ] {
        match found.get(&format!("{path}/")) {
            Some(mount) if mount.kind == kind => {}
            Some(mount) => {
                return Err(Error::MountDiffers {
                    field: "the operator's own needs".to_owned(),
                    path: path.to_owned(),
                    found: mount.kind.clone(),
                    wanted: kind.to_owned(),
                });
            }
            None => {
                let request = MountRequest {
                    kind: kind.to_owned(),
                    description: description.to_owned(),
                    ..MountRequest::default()
                };
                let enabled = client.enable_auth_method(path, &request).await;
                enabled.map_err(|source| Error::Mount {
                    field: "the operator's own needs".to_owned(),
                    path: path.to_owned(),
                    kind: kind.to_owned(),
                    source: Box::new(source),
                })?;
            }
        }
    }
    Ok(())
}

/// How Vault reaches the API server, and the operator's own role.
pub(crate) async fn login(
    client: &Client,
    environment: &KubernetesAuthEnvironment,
    role: &kubernetes::Role,
    member: &str,
) -> Result<(), Error> {
    let step = |e| Error::vault("configure the Kubernetes auth method", member, e);
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
    let auth = client.kubernetes(names::KUBERNETES_AUTH_PATH);
    let found = there(auth.read_config().await).map_err(step)?;
    if !found.is_some_and(|found| same_config(&found, &config)) {
        auth.write_config(&config, token_reviewer_jwt.as_ref())
            .await
            .map_err(step)?;
    }
    let found = there(auth.read_role(OPERATOR_ROLE).await).map_err(step)?;
    if !found.is_some_and(|found| same_kubernetes(&found, role)) {
        auth.write_role(OPERATOR_ROLE, role).await.map_err(step)?;
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

/// The operator's role: bound to its account and to the audience of this one cluster.
pub(crate) fn role(service_account: &str, namespace: &str, identity: &str) -> kubernetes::Role {
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
        let role = role("operator", "vaultkeeper", "uid-1");
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
        for path in ["secret/", "path \"*\"", "sys/raw", "auth/token/create\""] {
            assert!(!OPERATOR_POLICY.contains(path), "the policy must not name {path}");
        }
    }

    #[test]
    fn the_policy_grows_by_exactly_the_declared_objects() {
        assert_eq!(
            policy(&Configuration::default(), None),
            OPERATOR_POLICY,
            "nothing declared"
        );
        let handing_over = policy(&Configuration::default(), Some(RekeyPaths::Rekey));
        let added = handing_over.strip_prefix(OPERATOR_POLICY).unwrap();
        assert_eq!(
            added.lines().count(),
            3,
            "no rekey but while it is needed: {added}"
        );
        let text = "{secretsEngines: [{path: team/pki, type: pki}, {path: secret, type: kv}], authMethods: [{path: oidc, type: oidc, jwt: {discoveryUrl: https://idp, roles: [{name: staff, roleType: Oidc, userClaim: email}]}}, {path: team/people, type: userpass, userpass: {users: [{name: ana, password: {name: a, key: b}}]}}], passwordPolicies: [{name: long, hcl: x}], audit: [{path: out, stdout: {}}], mfa: {enforcements: [{name: people, methods: [app], authMethods: [team/people]}]}, namespaces: [{path: team}]}";
        let configuration: Configuration = serde_yaml::from_str(text).unwrap();
        let policy = policy(&configuration, None);
        let added: Vec<&str> = policy.strip_prefix(OPERATOR_POLICY).unwrap().lines().collect();
        let wanted = [
            r#"path "team/pki/sign/+" { capabilities = ["create", "update"] }"#,
            r#"path "team/pki/revoke" { capabilities = ["create", "update"] }"#,
            r#"path "auth/oidc/config" { capabilities = ["create", "read", "update"] }"#,
            r#"path "auth/oidc/role/staff" { capabilities = ["create", "read", "update"] }"#,
            r#"path "auth/oidc/role/+" { capabilities = ["create", "read", "update", "delete"] }"#,
            r#"path "auth/team/people/users/+" { capabilities = ["create", "read", "update", "delete"] }"#,
            r#"path "auth/team/people/users/ana" { capabilities = ["create", "read", "update"] }"#,
            r#"path "sys/policies/password/long" { capabilities = ["create", "read", "update"] }"#,
            r#"path "sys/audit/out" { capabilities = ["update", "delete", "sudo"] }"#,
            r#"path "identity/mfa/method/totp" { capabilities = ["list", "update"] }"#,
            r#"path "identity/mfa/login-enforcement/people" { capabilities = ["create", "read", "update"] }"#,
            r#"path "sys/namespaces/team" { capabilities = ["create", "read", "update"] }"#,
        ];
        assert_eq!(added, wanted);
    }
}
