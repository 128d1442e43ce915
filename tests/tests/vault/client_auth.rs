//! Tokens and login methods: each call against a real server that all these tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};
use vaultkeeper_vault::auth::tokens::TokenRequest;
use vaultkeeper_vault::auth::{approle, kubernetes};
use vaultkeeper_vault::sys::generate_root::decode_root_token;
use vaultkeeper_vault::sys::mounts::{MountRequest, MountTune};
use vaultkeeper_vault::{Error, ExposeSecret as _, SecretString};

use crate::client_support::solo;

fn method(kind: &str) -> MountRequest {
    MountRequest {
        kind: kind.to_owned(),
        description: "for a test".to_owned(),
        ..MountRequest::default()
    }
}

fn metadata(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
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
    root.enable_auth_method("team/approle", &method("approle"))
        .await
        .unwrap();
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
        std::slice::from_ref(accessor),
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
    root.enable_auth_method("k8s", &method("kubernetes"))
        .await
        .unwrap();
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
    let reviewer = SecretString::from("e30.e30.c2ln");
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
    let jwt = SecretString::from("e30.e30.s3cret");
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
