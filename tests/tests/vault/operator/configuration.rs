//! What a VaultCluster declares is found in a real Vault, and only that is touched.

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Client, Error};

use super::audit_receiver::AuditReceiver;
use super::stage::{DEADLINE, Stage, condition, reason, write_secret};

/// The fields at a path of a real server.
pub(super) async fn read(client: &Client, path: &str) -> anyhow::Result<Map<String, Value>> {
    let secret = client
        .read(path)
        .await
        .with_context(|| format!("cannot read {path}"))?;
    Ok(secret.data.decode()?)
}

/// Logs in by password; the client has the token.
pub(super) async fn log_in(
    member: &Client,
    mount: &str,
    user: &str,
    password: &str,
) -> anyhow::Result<Client> {
    let body = json!({"password": password});
    let answer = member.write(&format!("auth/{mount}/login/{user}"), &body).await?;
    let auth = answer.and_then(|a| a.auth).context("the login gave no token")?;
    Ok(member.with_token(&auth.client_token))
}

/// Writes a Secret with one key `password` beside the cluster.
pub(super) async fn password(stage: &Stage, name: &str, value: &str) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secret = json!({"metadata": {"name": name}, "stringData": {"password": value}});
    match secrets.get_opt(name).await.unwrap() {
        None => secrets
            .create(&PostParams::default(), &serde_json::from_value(secret).unwrap())
            .await
            .unwrap(),
        Some(_) => secrets
            .patch(name, &PatchParams::default(), &Patch::Merge(&secret))
            .await
            .unwrap(),
    };
}

/// Changes the declared configuration.
pub(super) async fn declare(stage: &Stage, configuration: Value) {
    let body = json!({"spec": {"configuration": configuration}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
}

/// Waits until the status speaks of the present spec and the configuration is in place.
pub(super) async fn until_configured(stage: &Stage) -> VaultCluster {
    let generation = stage.clusters().get("main").await.unwrap().metadata.generation;
    stage
        .until("the declared configuration to be in place", |c| {
            let observed = condition(c, "Configured");
            observed.is_some_and(|c| c.status == "True" && c.observed_generation == generation)
                && c.status.as_ref().is_some_and(|s| s.configuration.is_some())
        })
        .await
        .unwrap()
}

/// Waits for an event whose note holds all these words.
pub(super) async fn event(stage: &Stage, reason: &str, words: &[&str]) {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async(
        &format!("an event {reason} with {words:?}"),
        DEADLINE,
        async || {
            let events = events.list(&ListParams::default()).await?;
            let notes: Vec<&str> = events
                .iter()
                .filter(|e| e.reason.as_deref() == Some(reason))
                .filter_map(|e| e.note.as_deref())
                .collect();
            ensure!(
                notes
                    .iter()
                    .any(|note| words.iter().all(|word| note.contains(word))),
                "the notes are {notes:?}"
            );
            Ok(())
        },
    )
    .await
    .unwrap();
}

fn everything(stage: &Stage, ca: &Ca, receiver: &AuditReceiver) -> Value {
    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let user = |name: &str| json!({"name": name, "password": {"name": "ana", "key": "password"}, "token": {"policies": ["app", "auditor"], "ttl": "1h", "maxTtl": "4h"}});
    json!({
        "secretsEngines": [
            {"path": "secret", "type": "kv", "description": "apps", "options": {"version": "2"}, "tune": {"maxLeaseTtl": "2h", "listingVisibility": "Hidden"}},
            {"path": "team/transit", "type": "transit", "tune": {"defaultLeaseTtl": "30m", "auditNonHmacRequestKeys": ["context"]}},
        ],
        "authMethods": [
            {"path": "people", "type": "userpass", "description": "people", "tune": {"listingVisibility": "Unauth", "maxLeaseTtl": "8h", "tokenType": "DefaultService"}, "userpass": {"users": [user("ana")]}},
            {"path": "admins", "type": "userpass", "userpass": {"users": [user("ana")]}},
            {"path": "ci", "type": "jwt", "jwt": {"publicKeys": [key], "boundIssuer": "https://ci", "roles": [
                {"name": "build", "roleType": "Jwt", "userClaim": "sub", "boundAudiences": ["vault"], "boundClaims": {"ref": ["main", "release"]}, "token": {"policies": ["app"]}},
            ]}},
            {"path": "devices", "type": "cert", "cert": {"disableBinding": true, "roles": [
                {"name": "web", "certificate": ca.cert_pem(), "allowedCommonNames": ["web.*"], "token": {"policies": ["app"], "ttl": "10m"}},
            ]}},
            {"path": "other-cluster", "type": "kubernetes", "kubernetes": {"host": "https://other:6443", "caCert": ca.cert_pem(), "tokenReviewer": {"name": "ana", "key": "password"}}},
            {"path": "approle", "type": "approle", "tune": {"maxLeaseTtl": "24h"}},
        ],
        "policies": [
            {"name": "app", "hcl": "path \"secret/data/{{identity.entity.aliases.<accessor:people>.name}}/*\" { capabilities = [\"create\", \"read\"] }"},
            {"name": "auditor", "persona": "Auditor"},
            {"name": "operator", "persona": "Operator"},
            {"name": "responder", "persona": "Responder"},
            {"name": "application", "persona": "Application"},
        ],
        "passwordPolicies": [{"name": "long", "hcl": "length = 30\nrule \"charset\" { charset = \"abcdefghij\" }"}],
        "audit": [
            {"path": "stdout", "stdout": {}},
            {"path": "siem", "description": "second", "socket": {"address": receiver.address(), "type": "Udp"}},
        ],
        "mfa": {
            "totp": [{"name": "app", "issuer": stage.namespace, "digits": 8}],
            "enforcements": [{"name": "admins", "methods": ["app"], "authMethods": ["admins"]}],
        },
    })
}

#[tokio::test]
async fn everything_that_is_declared_is_found_in_vault() {
    let stage = Stage::new().await.unwrap();
    let ca = Ca::new("clients").unwrap();
    let receiver = AuditReceiver::start().await.unwrap();
    password(&stage, "ana", "correct horse").await;
    let fields = json!({"configuration": everything(&stage, &ca, &receiver)});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    event(
        &stage,
        "Configured",
        &["the configuration is applied", "secretsEngines[0]"],
    )
    .await;
    let root = stage.root(0).await.unwrap();

    mounts_are_tuned(&root).await.unwrap();
    auth_methods_have_their_settings(&root, &ca).await.unwrap();
    // The accessor of the method stands in the policy: who logs in there reaches the own folder and no other.
    let ana = log_in(&stage.member(0).await.unwrap(), "people", "ana", "correct horse")
        .await
        .unwrap();
    write_secret(&ana, "secret/data/ana/note", &json!({"data": {"a": "b"}})).await;
    let other = ana
        .write("secret/data/bob/note", &json!({"data": {"a": "b"}}))
        .await;
    assert!(
        matches!(other, Err(Error::Denied { .. })),
        "another's folder: {other:?}"
    );
    personas_do_their_work_and_no_more(&root, &ana).await.unwrap();

    let generated = read(&root, "sys/policies/password/long/generate").await.unwrap();
    assert_eq!(
        generated["password"].as_str().map(str::len),
        Some(30),
        "by the password policy"
    );
    let devices = root.audit_devices().await.unwrap();
    assert_eq!(
        devices.keys().collect::<Vec<_>>(),
        ["siem/", "stdout/"],
        "as declared and no other"
    );
    wait::until_async("the write in the log of the receiver", DEADLINE, async || {
        ensure!(receiver.text().contains("secret/data/ana/note"), "not there yet");
        Ok(())
    })
    .await
    .unwrap();
    assert!(
        !receiver.text().contains("correct horse"),
        "what is secret is hashed"
    );

    // A second look by another operator finds nothing to do: what is read back equals what was declared.
    operator.stop().await;
    let operator = stage.start_operator(&Points::record());
    operator.until_passes(2).await.unwrap();
    until_configured(&stage).await;
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await.unwrap();
    let drift: Vec<_> = events
        .iter()
        .filter(|e| e.reason.as_deref() == Some("ConfigurationDrift"))
        .collect();
    assert!(drift.is_empty(), "nobody changed anything: {drift:?}");

    // The login at the method with MFA is not done with the password, and without the rule it is.
    operator.stop().await;
    let member = stage.member(0).await.unwrap();
    let admin = log_in(&member, "admins", "ana", "correct horse").await;
    assert!(admin.is_err(), "a password alone must not do");
    let rule = "identity/mfa/login-enforcement/admins";
    let methods = read(&root, rule).await.unwrap();
    assert_eq!(
        methods["mfa_method_ids"].as_array().map(Vec::len),
        Some(1),
        "{methods:?}"
    );
    root.delete(rule).await.unwrap();
    log_in(&member, "admins", "ana", "correct horse").await.unwrap();
    root.revoke_self().await.unwrap();
    stage.end().await.unwrap();
}

async fn mounts_are_tuned(root: &Client) -> anyhow::Result<()> {
    let secret = read(root, "sys/mounts/secret/tune").await?;
    ensure!(secret["max_lease_ttl"] == json!(7200), "{secret:?}");
    ensure!(secret["listing_visibility"] == json!("hidden"), "{secret:?}");
    ensure!(
        secret["description"] == json!("apps") && secret["options"]["version"] == json!("2"),
        "{secret:?}"
    );
    let transit = read(root, "sys/mounts/team/transit/tune").await?;
    ensure!(transit["default_lease_ttl"] == json!(1800), "{transit:?}");
    ensure!(
        transit["audit_non_hmac_request_keys"] == json!(["context"]),
        "{transit:?}"
    );
    let people = read(root, "sys/auth/people/tune").await?;
    ensure!(
        people["max_lease_ttl"] == json!(28800) && people["listing_visibility"] == json!("unauth"),
        "{people:?}"
    );
    let approle = read(root, "sys/auth/approle/tune").await?;
    ensure!(
        approle["max_lease_ttl"] == json!(86400),
        "the operator's own method can be tuned: {approle:?}"
    );
    Ok(())
}

async fn auth_methods_have_their_settings(root: &Client, ca: &Ca) -> anyhow::Result<()> {
    let ci = read(root, "auth/ci/config").await?;
    ensure!(ci["bound_issuer"] == json!("https://ci"), "{ci:?}");
    let build = read(root, "auth/ci/role/build").await?;
    ensure!(
        build["bound_claims"] == json!({"ref": ["main", "release"]}),
        "{build:?}"
    );
    let devices = read(root, "auth/devices/config").await?;
    ensure!(devices["disable_binding"] == json!(true), "{devices:?}");
    let web = read(root, "auth/devices/certs/web").await?;
    ensure!(
        web["certificate"].as_str().map(str::trim) == Some(ca.cert_pem().trim()),
        "{web:?}"
    );
    ensure!(
        web["token_ttl"] == json!(600) && web["allowed_common_names"] == json!(["web.*"]),
        "{web:?}"
    );
    let other = read(root, "auth/other-cluster/config").await?;
    ensure!(
        other["kubernetes_host"] == json!("https://other:6443"),
        "{other:?}"
    );
    ensure!(
        other["token_reviewer_jwt_set"] == json!(true),
        "the reviewer comes from the Secret: {other:?}"
    );
    Ok(())
}

/// A token with each ready policy may do what its persona is for, and neither read secrets nor give rights.
async fn personas_do_their_work_and_no_more(root: &Client, ana: &Client) -> anyhow::Result<()> {
    for (persona, allowed, refused) in [
        (
            "auditor",
            vec![
                ("sys/policies/acl/app", "read"),
                ("sys/audit", "read"),
                ("auth/people/users/ana", "read"),
                ("auth/token/accessors", "list"),
            ],
            vec![
                ("sys/policies/acl/app", "update"),
                ("auth/people/users/ana", "update"),
            ],
        ),
        (
            "operator",
            vec![
                ("sys/storage/raft/snapshot", "read"),
                ("sys/step-down", "update"),
                ("sys/rotate", "update"),
            ],
            vec![("sys/seal", "update"), ("sys/storage/raft/remove-peer", "update")],
        ),
        (
            "responder",
            vec![
                ("sys/seal", "update"),
                ("auth/token/revoke-accessor", "update"),
                ("sys/leases/revoke-prefix/secret", "update"),
            ],
            vec![
                ("sys/storage/raft/snapshot", "read"),
                ("auth/token/create", "update"),
            ],
        ),
        (
            "application",
            vec![("auth/token/renew-self", "update")],
            vec![("sys/policies/acl/app", "read")],
        ),
    ] {
        let body = json!({"policies": [persona], "no_default_policy": true, "ttl": "5m"});
        let token = root
            .write("auth/token/create", &body)
            .await?
            .and_then(|s| s.auth)
            .context("no token")?;
        for (path, capability, wanted) in allowed.iter().map(|(p, c)| (p, c, true)).chain(
            refused
                .iter()
                .chain([
                    &("secret/data/ana/note", "read"),
                    &("sys/policies/acl/x", "update"),
                    &("sys/auth/x", "update"),
                    &("sys/generate-root/attempt", "update"),
                ])
                .map(|(p, c)| (p, c, false)),
        ) {
            let held = root
                .write(
                    "sys/capabilities",
                    &json!({"token": token.client_token.expose(), "paths": [path]}),
                )
                .await?;
            let held: Map<String, Value> = held.context("no answer")?.data.decode()?;
            let has = held[*path]
                .as_array()
                .is_some_and(|c| c.iter().any(|c| c == capability));
            ensure!(has == wanted, "{persona} and {capability} on {path}: {held:?}");
        }
    }
    // One of them with a login of a person, not only on paper.
    ana.list_policies().await.context("an auditor lists policies")?;
    match ana.write_policy("app", "").await {
        Err(Error::Denied { .. }) => Ok(()),
        other => bail!("an auditor must not write policies: {other:?}"),
    }
}

#[tokio::test]
async fn one_bad_object_is_named_and_does_not_keep_the_others_from_theirs() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let ana = |secret: &str| json!({"name": "ana", "password": {"name": secret, "key": "password"}, "token": {"policies": ["app"]}});
    let good = "length = 30\nrule \"charset\" { charset = \"abc\" }";
    let configuration = |hcl: &str, password_policy: &str| {
        json!({
            "passwordPolicies": [{"name": "bad", "hcl": password_policy}],
            "policies": [{"name": "bad", "hcl": hcl}, {"name": "app", "hcl": "path \"a\" { capabilities = [\"read\"] }"}],
            "authMethods": [{"path": "people", "type": "userpass", "userpass": {"users": [ana("late")]}}],
        })
    };
    declare(&stage, configuration("path \"a\" {", "length = 1")).await;
    stage
        .until(
            "the bad password policy to be named by a cluster that serves all the same",
            |c| {
                condition(c, "Configured").is_some_and(|c| {
                    c.status == "False" && c.message.contains("spec.configuration.passwordPolicies[0]")
                }) && reason(c, "Available") == "AllMembersServe"
            },
        )
        .await
        .unwrap();
    let root = stage.root(0).await.unwrap();
    wait::until_async("the good policy", DEADLINE, async || {
        Ok(root.read_policy("app").await?)
    })
    .await
    .unwrap();

    declare(&stage, configuration("path \"a\" {", good)).await;
    stage
        .until("the bad policy to be named", |c| {
            condition(c, "Configured").is_some_and(|c| c.message.contains("spec.configuration.policies[0]"))
        })
        .await
        .unwrap();
    declare(&stage, configuration("path \"b/<accessor:nowhere>\" {}", good)).await;
    stage
        .until("the unknown auth method to be named", |c| {
            reason(c, "Configured") == "UnknownAuthMethod"
        })
        .await
        .unwrap();
    declare(
        &stage,
        configuration("path \"b\" { capabilities = [\"read\"] }", good),
    )
    .await;
    let cluster = stage
        .until("the missing Secret to be named", |c| {
            reason(c, "Configured") == "SecretUnusable"
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Configured").unwrap().message;
    assert!(
        said.contains("users[0].password") && said.contains("late"),
        "{said}"
    );
    password(&stage, "late", "s3cret").await;
    until_configured(&stage).await;
    log_in(&stage.member(0).await.unwrap(), "people", "ana", "s3cret")
        .await
        .unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
