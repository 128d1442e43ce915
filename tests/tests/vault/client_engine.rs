//! Engines, policies, tokens, audit devices: each call against a real server that all these tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};
use vaultkeeper_vault::auth::tokens::TokenRequest;
use vaultkeeper_vault::auth::{approle, kubernetes};
use vaultkeeper_vault::sys::audit::AuditDevice;
use vaultkeeper_vault::sys::generate_root::decode_root_token;
use vaultkeeper_vault::sys::mounts::{MountRequest, MountTune};
use vaultkeeper_vault::{Error, ExposeSecret as _};

use crate::client_support::solo;

fn engine(kind: &str, version: Option<&str>) -> MountRequest {
    MountRequest {
        kind: kind.to_owned(),
        description: "for a test".to_owned(),
        options: version
            .map(|v| ("version".to_owned(), v.to_owned()))
            .into_iter()
            .collect(),
        config: MountTune {
            default_lease_ttl: Some(Duration::from_secs(60)),
            ..MountTune::default()
        },
    }
}

fn metadata(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

#[tokio::test]
async fn a_secret_is_written_read_listed_and_deleted_with_any_name() {
    let root = &solo().await.root;
    root.enable_mount("team/kv2", &engine("kv", Some("2")))
        .await
        .unwrap();
    let again = root
        .enable_mount("team/kv2", &engine("kv", Some("2")))
        .await
        .unwrap_err();
    assert!(
        again
            .server_errors()
            .iter()
            .any(|text| text.contains("path is already in use")),
        "a taken path should be refused with the server's words: {again:?}"
    );

    let mount = root.mount_of("team/kv2/a b").await.unwrap();
    assert!(
        mount.is_kv2() && mount.path == "team/kv2/",
        "the preflight should tell KV v2: {mount:?}"
    );
    let path = mount.data_path("team/kv2/a b/ü%2e?#");
    let absent = root.read(&path).await.unwrap_err();
    assert!(absent.is_not_found(), "nothing is there yet: {absent:?}");

    let written = root.write(&path, &json!({"data": {"n": 1}})).await.unwrap();
    assert!(written.is_some(), "KV v2 answers with the new version");
    root.write(&path, &json!({"data": {"n": 2}})).await.unwrap();
    let first = root.read_with(&path, &[("version", "1")]).await.unwrap();
    assert_eq!(
        first.data.decode::<Value>().unwrap()["data"]["n"],
        1,
        "the version that was asked for"
    );
    let latest = root.read(&path).await.unwrap();
    assert_eq!(
        latest.data.decode::<Value>().unwrap()["data"]["n"],
        2,
        "the latest version"
    );

    assert_eq!(
        root.list("team/kv2/metadata/a b").await.unwrap(),
        ["ü%2e?#"],
        "the name as written"
    );
    root.delete(&path).await.unwrap();
    assert!(
        root.read(&path).await.unwrap_err().is_not_found(),
        "a deleted version reads as not found"
    );

    let nowhere = root.list("no-such-mount/x").await.unwrap_err();
    assert!(
        nowhere.is_not_found(),
        "no mount is told apart from an empty list: {nowhere:?}"
    );
    assert!(
        root.list("team/kv2/metadata/nothing").await.unwrap().is_empty(),
        "an empty folder"
    );
    root.disable_mount("team/kv2").await.unwrap();
}

#[tokio::test]
async fn numbers_arrive_with_every_digit_that_was_sent() {
    let root = &solo().await.root;
    root.enable_mount("kv1", &engine("kv", Some("1"))).await.unwrap();
    let numbers = r#"{"big":12345678901234567890123,"cents":1.50,"exp":1e3}"#;
    let body: Box<RawValue> = serde_json::from_str(numbers).unwrap();
    root.write("kv1/numbers", &body).await.unwrap();
    let secret = root.read("kv1/numbers").await.unwrap();
    assert_eq!(secret.data.json(), numbers, "as Vault keeps them in KV v1");
    root.disable_mount("kv1").await.unwrap();
}

#[tokio::test]
async fn a_mount_is_listed_as_it_was_enabled_and_tuned() {
    let root = &solo().await.root;
    root.enable_mount("tuned", &engine("kv", None)).await.unwrap();
    let tune = MountTune {
        description: Some("changed".to_owned()),
        max_lease_ttl: Some(Duration::from_secs(7200)),
        options: metadata("version", "2"),
        ..MountTune::default()
    };
    root.tune_mount("tuned", &tune).await.unwrap();
    let mounts = root.mounts().await.unwrap();
    let mount = &mounts["tuned/"];
    assert_eq!(
        (mount.kind.as_str(), mount.description.as_str()),
        ("kv", "changed"),
        "the engine as enabled, the description as tuned: {mount:?}"
    );
    assert_eq!(mount.options["version"], "2", "upgraded: {mount:?}");
    assert_eq!(
        mount.config.default_lease_ttl,
        Duration::from_secs(60),
        "kept: {mount:?}"
    );
    assert_eq!(
        mount.config.max_lease_ttl,
        Duration::from_secs(7200),
        "tuned: {mount:?}"
    );
    assert!(
        !mount.accessor.is_empty() && !mount.uuid.is_empty(),
        "the server names it: {mount:?}"
    );
    root.disable_mount("tuned").await.unwrap();
    assert!(!root.mounts().await.unwrap().contains_key("tuned/"), "disabled");
    root.disable_mount("tuned").await.unwrap();
}

#[tokio::test]
async fn a_policy_is_written_read_and_deleted() {
    let root = &solo().await.root;
    let text = "path \"secret/x\" { capabilities = [\"read\"] }";
    root.write_policy("team.reader", text).await.unwrap();
    assert_eq!(root.read_policy("team.reader").await.unwrap(), text, "as written");
    assert!(
        root.list_policies()
            .await
            .unwrap()
            .contains(&"team.reader".to_owned()),
        "listed"
    );
    root.delete_policy("team.reader").await.unwrap();
    root.delete_policy("team.reader").await.unwrap();
    assert!(
        root.read_policy("team.reader").await.unwrap_err().is_not_found(),
        "gone"
    );
    let error = root.write_policy("broken", "path {").await.unwrap_err();
    assert!(
        matches!(error, Error::BadRequest { .. }),
        "HCL that does not parse: {error:?}"
    );
    let error = root.write_policy("a/b", text).await.unwrap_err();
    assert!(
        matches!(error, Error::InvalidRequest { .. }),
        "a name with a slash is not sent: {error:?}"
    );
}

#[tokio::test]
async fn a_missing_policy_is_told_apart_from_a_revoked_token() {
    let solo = solo().await;
    let root = &solo.root;
    root.write_policy("narrow", "path \"sys/mounts\" { capabilities = [\"read\"] }")
        .await
        .unwrap();
    let wanted = TokenRequest {
        policies: vec!["narrow".to_owned()],
        ttl: Some(Duration::from_secs(600)),
        meta: metadata("purpose", "test"),
        display_name: "narrow".to_owned(),
        ..TokenRequest::default()
    };
    let auth = root.create_orphan(&wanted).await.unwrap();
    let narrow = solo.client.with_token(&auth.client_token);

    narrow.mounts().await.unwrap();
    let denied = narrow.list_policies().await.unwrap_err();
    assert!(
        denied.is_denied() && !denied.is_invalid_token(),
        "the token is fine: {denied:?}"
    );
    let none = solo.client.mounts().await.unwrap_err();
    assert!(none.is_denied(), "no token at all: {none:?}");
    let can = narrow
        .capabilities_self(&["sys/mounts", "sys/policies/acl"])
        .await
        .unwrap();
    assert_eq!(can["sys/mounts"], ["read"], "as the policy says: {can:?}");
    assert_eq!(can["sys/policies/acl"], ["deny"], "nothing says so: {can:?}");
    let one = narrow.capabilities_self(&["sys/mounts"]).await.unwrap();
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        ["sys/mounts"],
        "only the paths that were asked for"
    );

    let info = narrow.lookup_self().await.unwrap();
    assert_eq!(info.policies, ["default", "narrow"], "its policies: {info:?}");
    assert!(
        info.orphan && info.renewable && !info.is_root() && info.kind == "service",
        "{info:?}"
    );
    assert_eq!(info.meta, wanted.meta, "its metadata");
    assert_eq!(info.creation_ttl, Duration::from_secs(600), "its life");
    let renewed = narrow.renew_self(Some(Duration::from_secs(300))).await.unwrap();
    assert_eq!(
        renewed.lease_duration,
        Duration::from_secs(300),
        "the increment that was wished for"
    );
    assert_eq!(
        root.lookup_accessor(&auth.accessor).await.unwrap().accessor,
        auth.accessor,
        "by accessor"
    );
    assert!(
        root.list_accessors().await.unwrap().contains(&auth.accessor),
        "listed"
    );

    root.revoke_accessor(&auth.accessor).await.unwrap();
    let revoked = narrow.mounts().await.unwrap_err();
    assert!(
        revoked.is_invalid_token(),
        "Vault says that the token is at fault: {revoked:?}"
    );
    assert!(
        !revoked.to_string().contains(auth.client_token.expose()),
        "never repeated: {revoked}"
    );
    assert!(
        narrow.lookup_self().await.unwrap_err().is_denied(),
        "the proof that a token is dead"
    );
    let gone = root.lookup_accessor(&auth.accessor).await.unwrap_err();
    assert!(gone.is_not_found(), "an accessor of a revoked token: {gone:?}");
    let again = root.revoke_accessor(&auth.accessor).await;
    assert!(
        again.as_ref().map_or_else(Error::is_not_found, |()| true),
        "it is gone: {again:?}"
    );
    root.delete_policy("narrow").await.unwrap();
}

#[tokio::test]
async fn a_batch_token_shows_what_it_is() {
    let solo = solo().await;
    let wanted = TokenRequest {
        policies: vec!["default".to_owned()],
        ttl: Some(Duration::from_secs(60)),
        kind: Some(TokenKind::Batch),
        ..TokenRequest::default()
    };
    let auth = solo.root.create_token(&wanted).await.unwrap();
    assert_eq!(
        (auth.token_type.as_str(), auth.accessor.as_str()),
        ("batch", ""),
        "no accessor"
    );
    let batch = solo.client.with_token(&auth.client_token);
    assert_eq!(batch.lookup_self().await.unwrap().kind, "batch", "by look-up");
    let error = batch.renew_self(None).await.unwrap_err();
    assert!(
        matches!(error, Error::BadRequest { .. }),
        "a batch token cannot be renewed: {error:?}"
    );
}

#[tokio::test]
async fn an_application_logs_in_with_approle_until_its_secret_id_is_destroyed() {
    let solo = solo().await;
    let root = &solo.root;
    let method = MountRequest {
        config: MountTune::default(),
        ..engine("approle", None)
    };
    root.enable_auth_method("team/approle", &method).await.unwrap();
    assert_eq!(
        root.auth_methods().await.unwrap()["team/approle/"].kind,
        "approle",
        "listed"
    );
    let tune = MountTune {
        max_lease_ttl: Some(Duration::from_secs(7200)),
        ..MountTune::default()
    };
    root.tune_auth_method("team/approle", &tune).await.unwrap();

    let approle = root.approle("team/approle");
    assert!(approle.list_roles().await.unwrap().is_empty(), "none yet");
    let settings = approle::Role {
        secret_id_ttl: Duration::from_secs(3600),
        secret_id_num_uses: 10,
        secret_id_bound_cidrs: vec!["127.0.0.0/8".to_owned()],
        token: TokenParams {
            ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(120),
            policies: vec!["default".to_owned()],
            bound_cidrs: vec!["127.0.0.0/8".to_owned()],
            no_default_policy: true,
            kind: TokenKind::Service,
            ..TokenParams::default()
        },
        ..approle::Role::default()
    };
    approle.write_role("app", &settings).await.unwrap();
    assert_eq!(
        approle.read_role("app").await.unwrap(),
        settings,
        "read back as written"
    );
    assert_eq!(approle.list_roles().await.unwrap(), ["app"], "listed");

    let role_id = approle.role_id("app").await.unwrap();
    let wanted = approle::SecretIdRequest {
        metadata: metadata("owner", "team \"a\""),
        ttl: Some(Duration::from_secs(600)),
        num_uses: Some(5),
        ..approle::SecretIdRequest::default()
    };
    let secret_id = approle.create_secret_id("app", &wanted).await.unwrap();
    assert_eq!(
        (secret_id.ttl, secret_id.num_uses),
        (Duration::from_secs(600), 5),
        "as asked for"
    );
    let accessor = &secret_id.secret_id_accessor;
    assert_eq!(
        approle.list_secret_id_accessors("app").await.unwrap(),
        [accessor.clone()],
        "listed"
    );
    let info = approle.lookup_secret_id_accessor("app", accessor).await.unwrap();
    assert_eq!(
        (&info.metadata, info.num_uses),
        (&wanted.metadata, 5),
        "by its accessor: {info:?}"
    );

    let login = solo.client.approle("team/approle");
    let auth = login.login(&role_id, &secret_id.secret_id).await.unwrap();
    assert_eq!(
        auth.metadata["owner"], "team \"a\"",
        "the metadata arrives: {auth:?}"
    );
    assert_eq!(
        auth.lease_duration,
        Duration::from_secs(60),
        "the role's ttl: {auth:?}"
    );
    solo.client
        .with_token(&auth.client_token)
        .lookup_self()
        .await
        .unwrap();

    let ttl = Duration::from_secs(120);
    let wrapped = approle
        .create_wrapped_secret_id("app", &wanted, ttl)
        .await
        .unwrap();
    assert_eq!(wrapped.ttl, ttl, "as asked for: {wrapped:?}");
    let look = solo.client.lookup_wrapping(&wrapped.token).await.unwrap();
    assert_eq!(
        look.creation_path, "auth/team/approle/role/app/secret-id",
        "not forged: {look:?}"
    );
    let inside = solo.client.unwrap_wrapped(&wrapped.token).await.unwrap();
    let inside: approle::SecretId = inside.data.decode().unwrap();
    assert_eq!(
        inside.secret_id_accessor, wrapped.wrapped_accessor,
        "what was inside"
    );
    let twice = solo.client.unwrap_wrapped(&wrapped.token).await.unwrap_err();
    assert!(
        matches!(twice, Error::BadRequest { .. }),
        "a wrapping token is good for once: {twice:?}"
    );

    approle.destroy_secret_id_accessor("app", accessor).await.unwrap();
    let refused = login.login(&role_id, &secret_id.secret_id).await.unwrap_err();
    assert!(
        matches!(refused, Error::BadRequest { .. }),
        "the login ends at once: {refused:?}"
    );
    assert!(
        !format!("{refused:?}").contains(secret_id.secret_id.expose_secret()),
        "the secret-id may not be repeated: {refused:?}"
    );
    let again = approle
        .destroy_secret_id_accessor("app", accessor)
        .await
        .unwrap_err();
    assert!(
        again.is_not_found(),
        "Vault says 500 where it means that it is gone: {again:?}"
    );
    let look = approle
        .lookup_secret_id_accessor("app", accessor)
        .await
        .unwrap_err();
    assert!(look.is_not_found(), "gone: {look:?}");

    root.revoke_lease_prefix("auth/team/approle/login").await.unwrap();
    let token = solo.client.with_token(&auth.client_token);
    assert!(
        token.lookup_self().await.unwrap_err().is_denied(),
        "revoked by its prefix"
    );
    approle.delete_role("app").await.unwrap();
    assert!(approle.read_role("app").await.unwrap_err().is_not_found(), "gone");
    assert!(
        approle.role_id("app").await.unwrap_err().is_not_found(),
        "gone with the role"
    );
    root.disable_auth_method("team/approle").await.unwrap();
}

#[tokio::test]
async fn the_kubernetes_method_is_configured_and_read_back() {
    let solo = solo().await;
    let root = &solo.root;
    let method = MountRequest {
        config: MountTune::default(),
        ..engine("kubernetes", None)
    };
    root.enable_auth_method("k8s", &method).await.unwrap();
    let method = root.kubernetes("k8s");
    assert!(
        method.read_config().await.unwrap_err().is_not_found(),
        "not configured yet"
    );
    let config = kubernetes::Config {
        kubernetes_host: "https://127.0.0.1:1".to_owned(),
        kubernetes_ca_cert: solo.ca_pem.clone(),
        disable_local_ca_jwt: true,
        ..kubernetes::Config::default()
    };
    let reviewer = vaultkeeper_vault::SecretString::from("e30.e30.c2ln");
    method.write_config(&config, Some(&reviewer)).await.unwrap();
    assert_eq!(
        method.read_config().await.unwrap(),
        config,
        "read back as written"
    );

    let settings = kubernetes::Role {
        bound_service_account_names: vec!["app".to_owned()],
        bound_service_account_namespaces: vec!["team".to_owned()],
        audience: "vault".to_owned(),
        token: TokenParams {
            ttl: Duration::from_secs(60),
            policies: vec!["team.app".to_owned()],
            ..TokenParams::default()
        },
        ..kubernetes::Role::default()
    };
    method.write_role("team.app", &settings).await.unwrap();
    assert_eq!(
        method.read_role("team.app").await.unwrap(),
        settings,
        "read back as written"
    );
    assert_eq!(method.list_roles().await.unwrap(), ["team.app"], "listed");
    let jwt = vaultkeeper_vault::SecretString::from("e30.e30.s3cret");
    let refused = solo
        .client
        .kubernetes("k8s")
        .login("team.app", &jwt)
        .await
        .unwrap_err();
    assert!(
        refused.call().operation.ends_with("auth/k8s/login"),
        "the call is named: {refused:?}"
    );
    assert!(
        !format!("{refused:?}").contains("s3cret"),
        "the token may not be repeated: {refused:?}"
    );
    method.delete_role("team.app").await.unwrap();
    assert!(
        method.read_role("team.app").await.unwrap_err().is_not_found(),
        "gone"
    );
    root.disable_auth_method("k8s").await.unwrap();
}

#[tokio::test]
async fn an_audit_device_is_enabled_listed_and_disabled() {
    let solo = solo().await;
    let file = solo.folder.join("audit.log");
    let device = AuditDevice {
        kind: "file".to_owned(),
        description: "for a test".to_owned(),
        options: metadata("file_path", file.to_str().unwrap()),
        local: false,
    };
    solo.root.enable_audit_device("file", &device).await.unwrap();
    assert_eq!(
        solo.root.audit_devices().await.unwrap()["file/"],
        device,
        "listed as enabled"
    );
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.contains("sys/audit"), "it writes: {log}");
    solo.root.disable_audit_device("file").await.unwrap();
    assert!(solo.root.audit_devices().await.unwrap().is_empty(), "disabled");
}

#[tokio::test]
async fn autopilots_settings_are_read_and_written() {
    let root = &solo().await.root;
    let mut config = root.autopilot_configuration().await.unwrap();
    assert_eq!(
        config.last_contact_threshold,
        Duration::from_secs(10),
        "the server's default"
    );
    config.cleanup_dead_servers = true;
    config.min_quorum = 3;
    config.dead_server_last_contact_threshold = Duration::from_secs(300);
    root.set_autopilot_configuration(&config).await.unwrap();
    assert_eq!(
        root.autopilot_configuration().await.unwrap(),
        config,
        "read back as written"
    );
}

#[tokio::test]
async fn a_root_token_made_from_the_shares_works_and_is_revoked_again() {
    let solo = solo().await;
    let client = &solo.client;
    assert!(
        !client.generate_root_status().await.unwrap().started,
        "none under way"
    );
    let attempt = client.start_generate_root().await.unwrap();
    let second = client.start_generate_root().await.unwrap_err();
    assert!(
        matches!(second, Error::BadRequest { .. }),
        "one at a time: {second:?}"
    );
    let wrong = client
        .update_generate_root("no-such-nonce", &solo.shares[0])
        .await
        .unwrap_err();
    assert!(
        matches!(wrong, Error::BadRequest { .. }),
        "another attempt's nonce: {wrong:?}"
    );
    client.cancel_generate_root().await.unwrap();
    assert!(!client.generate_root_status().await.unwrap().started, "cancelled");

    let attempt_nonce = attempt.nonce.clone();
    let attempt = client.start_generate_root().await.unwrap();
    assert_ne!(attempt.nonce, attempt_nonce, "a new attempt");
    let first = client
        .update_generate_root(&attempt.nonce, &solo.shares[0])
        .await
        .unwrap();
    assert_eq!(
        (first.progress, first.required, first.complete),
        (1, 2, false),
        "one of two: {first:?}"
    );
    let last = client
        .update_generate_root(&attempt.nonce, &solo.shares[2])
        .await
        .unwrap();
    assert!(last.complete, "two of two: {last:?}");
    let token = decode_root_token(last.encoded_token().unwrap(), attempt.otp().unwrap()).unwrap();

    let root = client.with_token(&token);
    let info = root.lookup_self().await.unwrap();
    assert!(
        info.is_root() && info.orphan && info.expire_time.is_none(),
        "a root token: {info:?}"
    );
    root.revoke_self().await.unwrap();
    let dead = root.lookup_self().await.unwrap_err();
    assert!(dead.is_invalid_token(), "a revoked token is denied: {dead:?}");
}
