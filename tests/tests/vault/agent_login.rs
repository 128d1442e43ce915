//! The agent's login methods against a real Vault: what each proves itself with, and what becomes of its file.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::approle::SecretIdRequest;
use vaultkeeper_vault::auth::cert;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::auth::tokens::TokenRequest;
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::{Client, ExposeSecret as _, SecretString, Token};

use crate::TESTBED;
use crate::agent_support::{DEADLINE, Rig, wait_for};
use crate::client_support::solo;

async fn rig(name: &str) -> (Rig, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let token = TokenParams {
        ttl: Duration::from_secs(3600),
        ..TokenParams::default()
    };
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), token).await;
    rig.write_secret("first").await;
    (rig, run)
}

async fn enable(root: &Client, kind: &str, mount: &str) {
    let request = MountRequest {
        kind: kind.to_owned(),
        ..MountRequest::default()
    };
    root.enable_auth_method(mount, &request).await.unwrap();
}

/// The configuration of the rig's file with another method.
fn config(rig: &Rig, method: Value) -> Value {
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["method"] = method;
    config
}

fn wait_until_gone(file: &Path) {
    wait::until(&format!("{} to be removed", file.display()), DEADLINE, || {
        ensure!(!file.exists(), "it is there");
        Ok(())
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_logs_in_again_after_its_file_was_removed() {
    let (rig, run) = rig("userpass").await;
    enable(rig.root(), "userpass", "users").await;
    let user = json!({"password": "sesame-4711", "token_policies": ["userpass"], "token_ttl": "12s", "token_max_ttl": "12s"});
    rig.root().write("auth/users/users/bob", &user).await.unwrap();
    let file = rig.folder().join("password");
    fs::write(&file, "sesame-4711\n").unwrap();
    let method = json!({"type": "userpass", "mount_path": "auth/users",
        "config": {"username": "bob", "password_file_path": file}});
    let agent = rig.start(&config(&rig, method), &run);
    rig.wait_for("app:first:5432");
    wait_until_gone(&file);
    agent.wait_for("logged in", 2);
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert!(
        !agent.log().contains("sesame"),
        "no password may be in the log:\n{}",
        agent.log()
    );
}

/// A JSON web token for `subject`.
fn jwt(key: &KeyPair, subject: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let head = encode(json!({"alg": "ES256", "typ": "JWT"}));
    let claims =
        encode(json!({"iss": "tests", "sub": subject, "aud": "vault", "iat": now - 60, "exp": now + 3600}));
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
    let signed = format!("{head}.{claims}");
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_web_token_logs_in_and_a_new_one_is_followed_when_asked_to() {
    let (rig, run) = rig("jwt").await;
    enable(rig.root(), "jwt", "tokens").await;
    let key = KeyPair::generate().unwrap();
    let settings = json!({"jwt_validation_pubkeys": [key.public_key_pem()]});
    rig.root().write("auth/tokens/config", &settings).await.unwrap();
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
        "token_policies": ["jwt"], "token_ttl": "1h"});
    rig.root().write("auth/tokens/role/app", &role).await.unwrap();
    let file = rig.folder().join("jwt");
    let first = jwt(&key, "first");
    fs::write(&file, &first).unwrap();
    let method = json!({"type": "jwt", "mount_path": "auth/tokens",
        "config": {"role": "app", "path": file, "remove_jwt_after_reading": false, "jwt_read_period": "1s"}});
    let mut config = config(&rig, method);
    config["auto_auth"]["enable_reauth_on_new_credentials"] = true.into();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    let second = jwt(&key, "second");
    fs::write(&file, &second).unwrap();
    agent.wait_for("the credentials' file changed", 1);
    agent.wait_for("logged in", 2);
    assert!(file.exists(), "it was to stay");
    let log = agent.log();
    for hidden in [&first, &second] {
        assert!(!log.contains(hidden), "no credential may be in the log:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_logs_in_and_is_read_again_at_the_next_login() {
    let (rig, run) = rig("cert").await;
    enable(rig.root(), "cert", "certs").await;
    let clients = Ca::new("clients").unwrap();
    let role = cert::Role {
        certificate: clients.cert_pem(),
        allowed_common_names: vec!["app".to_owned(), "app-renewed".to_owned()],
        token: TokenParams {
            policies: vec!["cert".to_owned()],
            ttl: Duration::from_secs(12),
            max_ttl: Duration::from_secs(12),
            ..TokenParams::default()
        },
        ..cert::Role::default()
    };
    let method = rig.root().cert("certs");
    method.write_role("web", &role).await.unwrap();
    let files = clients
        .client("app", &[])
        .unwrap()
        .write(rig.folder(), "client")
        .unwrap();
    let settings = json!({"type": "cert", "mount_path": "auth/certs",
        "config": {"name": "web", "client_cert": files.cert, "client_key": files.key}});
    let agent = rig.start(&config(&rig, settings), &run);
    rig.wait_for("app:first:5432");
    clients
        .client("app-renewed", &[])
        .unwrap()
        .write(rig.folder(), "client")
        .unwrap();
    // From now on the first certificate logs nobody in.
    let narrower = cert::Role {
        allowed_common_names: vec!["app-renewed".to_owned()],
        ..role
    };
    method.write_role("web", &narrower).await.unwrap();
    let logins = agent.count("logged in");
    agent.wait_for("logged in", logins + 1);
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_a_file_is_kept_alive_and_another_one_taken_when_it_ends() {
    let (rig, run) = rig("file").await;
    // A child of another token: it ends with that.
    let parent = TokenRequest {
        policies: vec!["root".to_owned()],
        ..TokenRequest::default()
    };
    let parent = rig.root().create_token(&parent).await.unwrap();
    let wanted = TokenRequest {
        policies: vec!["file".to_owned()],
        ttl: Some(Duration::from_secs(15)),
        ..TokenRequest::default()
    };
    let as_parent = rig.root().with_token(&parent.client_token);
    let child = as_parent.create_token(&wanted).await.unwrap().client_token;
    let file = rig.folder().join("given-token");
    fs::write(&file, child.expose()).unwrap();
    let method = json!({"type": "token_file", "max_backoff": "2s", "config": {"token_file_path": file}});
    let agent = rig.start(&config(&rig, method), &run);
    rig.wait_for("app:first:5432");
    agent.wait_for("renewed the token", 2);

    as_parent.revoke_self().await.unwrap();
    agent.wait_for("no login", 1);
    wait_for(&rig.file(), "app:first:5432");
    let orphan = rig.root().create_orphan(&wanted).await.unwrap().client_token;
    fs::write(&file, orphan.expose()).unwrap();
    agent.wait_for("logged in", 2);
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert!(
        !agent.log().contains("hvs."),
        "no token may be in the log:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_token_from_a_file_the_last_use_is_left_and_another_token_is_asked_for() {
    let (rig, run) = rig("worn").await;
    let wanted = |num_uses| TokenRequest {
        policies: vec!["worn".to_owned()],
        ttl: Some(Duration::from_secs(600)),
        num_uses,
        ..TokenRequest::default()
    };
    let few = rig.root().create_orphan(&wanted(Some(3))).await.unwrap();
    let file = rig.folder().join("given-token");
    fs::write(&file, few.client_token.expose()).unwrap();
    let method = json!({"type": "token_file", "max_backoff": "2s", "config": {"token_file_path": file}});
    let agent = rig.start(&config(&rig, method), &run);
    rig.wait_for("app:first:5432");
    agent.wait_for("has no use to spare", 2);
    let info = rig.root().lookup_accessor(&few.accessor).await.unwrap();
    assert_eq!(info.num_uses, 1, "the last one is left:\n{}", agent.log());

    let many = rig.root().create_orphan(&wanted(None)).await.unwrap();
    fs::write(&file, many.client_token.expose()).unwrap();
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("denied"),
        0,
        "no read may be denied:\n{}",
        agent.log()
    );
}

/// The rig's configuration with a wrapped secret-id that must have been made at `path`.
fn wrapped(rig: &Rig, path: &str) -> Value {
    let mut config = rig.config(&rig.template());
    let method = &mut config["auto_auth"]["method"];
    method["max_backoff"] = "2s".into();
    method["config"]["secret_id_response_wrapping_path"] = path.into();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_secret_id_is_unwrapped_once_and_serves_for_many_logins() {
    let (rig, run) = rig("wrapped").await;
    let approle = rig.root().approle("approle-wrapped");
    let wrap = approle
        .create_wrapped_secret_id("wrapped", &SecretIdRequest::default(), Duration::from_secs(600))
        .await
        .unwrap();
    fs::write(rig.folder().join("secret-id"), wrap.token.expose()).unwrap();
    let agent = rig.start(
        &wrapped(&rig, "auth/approle-wrapped/role/wrapped/secret-id"),
        &run,
    );
    rig.wait_for("app:first:5432");
    let tokens = rig.tokens().await;
    rig.root().revoke_accessor(&tokens[0]).await.unwrap();
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("SECURITY"),
        0,
        "the wrapping token is not tried a second time:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapping_token_that_somebody_made_or_spent_is_refused_loudly_and_a_good_one_is_taken() {
    let (rig, run) = rig("forged").await;
    let file = rig.folder().join("secret-id");
    let forged = json!({"secret_id": rig.secret_id()});
    let forged = rig
        .root()
        .write_wrapped("sys/wrapping/wrap", &forged, Duration::from_secs(600))
        .await
        .unwrap();
    fs::write(&file, forged.token.expose()).unwrap();
    let agent = rig.start(&wrapped(&rig, "auth/approle-forged/role/forged/secret-id"), &run);
    agent.wait_for("SECURITY: the wrapping token in", 2);
    agent.wait_for("sys/wrapping/wrap", 2);
    rig.root()
        .unwrap_wrapped(&forged.token)
        .await
        .expect("a token that is not trusted must not be spent");

    let approle = rig.root().approle("approle-forged");
    let wrap = async || {
        approle
            .create_wrapped_secret_id("forged", &SecretIdRequest::default(), Duration::from_secs(600))
            .await
            .unwrap()
            .token
    };
    let spent = wrap().await;
    rig.root().unwrap_wrapped(&spent).await.unwrap();
    fs::write(&file, spent.expose()).unwrap();
    agent.wait_for("somebody unwrapped the secret-id before", 1);
    assert_eq!(
        agent.count("logged in"),
        0,
        "nothing logs in so far:\n{}",
        agent.log()
    );
    fs::write(&file, wrap().await.expose()).unwrap();
    rig.wait_for("app:first:5432");
    for hidden in ["hvs.", rig.secret_id()] {
        assert!(
            !agent.log().contains(hidden),
            "no secret may be in the log:\n{}",
            agent.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_may_hold_the_token_wrapped() {
    let (rig, run) = rig("sink").await;
    let sink = rig.folder().join("wrapped-token");
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["sink"] = json!([{"type": "file", "wrap_ttl": "5m", "config": {"path": sink}}]);
    let _agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    let written: Value = wait::until("the wrapped token", DEADLINE, || {
        Ok(serde_json::from_str(&fs::read_to_string(&sink)?)?)
    })
    .unwrap();
    assert_eq!(written["ttl"], 300, "as Vault Agent writes it");
    let wrapping = Token::new(written["token"].as_str().unwrap()).unwrap();
    let held: Value = rig
        .root()
        .unwrap_wrapped(&wrapping)
        .await
        .unwrap()
        .data
        .decode()
        .unwrap();
    let token = SecretString::from(held["token"].as_str().unwrap());
    let info = rig
        .root()
        .with_token(&Token::new(token.expose_secret().to_owned()).unwrap())
        .lookup_self()
        .await
        .unwrap();
    assert_eq!(
        info.path, "auth/approle-sink/login",
        "it is the agent's own token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_end_before_the_token_is_in_its_file() {
    let (rig, run) = rig("onlysink").await;
    let sink = rig.folder().join("token");
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["sink"] = json!([{"type": "file", "config": {"path": sink}}]);
    config["exit_after_auth"] = true.into();
    // A folder in the place of the temporary file: that stops root, too.
    let obstacle = rig.folder().join(".token.vaultkeeper");
    fs::create_dir(&obstacle).unwrap();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    agent.wait_for("the token is not written", 2);
    fs::remove_dir(&obstacle).unwrap();
    wait::until("the agent to end", DEADLINE, || {
        ensure!(!agent.process.is_running(), "it still runs");
        Ok(())
    })
    .unwrap();
    assert!(
        fs::read_to_string(&sink).unwrap().starts_with("hvs."),
        "the token"
    );
    assert_eq!(agent.count("everything is rendered"), 1, "{}", agent.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_after_the_first_failed_login_when_asked_to() {
    let (rig, run) = rig("giveup").await;
    fs::write(rig.folder().join("secret-id"), "not-a-secret-id").unwrap();
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["method"]["exit_on_err"] = true.into();
    let agent = rig.start(&config, &run);
    wait::until("the agent to end", DEADLINE, || {
        ensure!(!agent.process.is_running(), "it still runs");
        Ok(())
    })
    .unwrap();
    assert_eq!(agent.count("gave up"), 1, "it says why:\n{}", agent.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_hcl_is_a_configuration() {
    let (rig, run) = rig("hcl").await;
    let folder = rig.folder().join("config");
    fs::create_dir(&folder).unwrap();
    let path = |name: &str| rig.folder().join(name).display().to_string();
    let address = rig.root().node();
    fs::write(
        folder.join("10-auth.hcl"),
        format!(
            "vault {{\n  address = \"{address}\"\n  ca_cert = \"{}\"\n}}\n\
             auto_auth {{\n  method \"approle\" {{\n    mount_path = \"auth/approle-hcl\"\n    config = {{\n\
             role_id_file_path = \"{}\"\n secret_id_file_path = \"{}\"\n }}\n  }}\n}}\n",
            path("ca.crt"),
            path("role-id"),
            path("secret-id"),
        ),
    )
    .unwrap();
    fs::write(
        folder.join("20-template.hcl"),
        format!(
            "template {{\n  destination = \"{}\"\n  contents = <<-END\n    {}\n    END\n}}\n",
            rig.file().display(),
            rig.template()
        ),
    )
    .unwrap();
    let agent = rig.start_with(&[format!("-config={}", folder.display())], &run);
    rig.wait_for("app:first:5432\n");
    wait_until_gone(&rig.folder().join("secret-id"));
    assert_eq!(
        agent.count("unknown key"),
        0,
        "all of it is known:\n{}",
        agent.log()
    );
}
