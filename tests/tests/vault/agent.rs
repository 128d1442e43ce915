//! The agent against a real Vault: login, files, change, outage, revocation, signals.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};

use crate::TESTBED;
use crate::agent_support::{DEADLINE, Rig, program};
use crate::client_support::{PATIENCE, solo, unseal, unsealed};

pub(crate) fn ttl(seconds: u64) -> TokenParams {
    TokenParams {
        ttl: Duration::from_secs(seconds),
        ..TokenParams::default()
    }
}

async fn rig(name: &str, token: TokenParams) -> (Rig, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    (
        Rig::new(name, &solo.root, &solo.ca_pem, run.path(), token).await,
        run,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rendered_and_rendered_again_after_it_changed() {
    let (rig, run) = rig("change", ttl(3600)).await;
    rig.write_secret("hunter-one").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    rig.wait_for("app:hunter-one:5432");
    let mode = fs::metadata(rig.file()).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o440, "the mode asked for");

    rig.write_secret("hunter-two").await;
    rig.wait_for("app:hunter-two:5432");
    assert_eq!(
        agent.count("logged in"),
        1,
        "one login is enough:\n{}",
        agent.log()
    );
    let log = agent.log();
    for hidden in ["hunter-one", "hunter-two", rig.secret_id(), "hvs."] {
        assert!(!log.contains(hidden), "{hidden:?} must not be in the log:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_may_ask_for_what_an_earlier_answer_names() {
    let (rig, run) = rig("nested", ttl(3600)).await;
    rig.write_secret("other").await;
    let body = serde_json::json!({"data": {"value": "deep"}});
    rig.root().write("kv-nested/data/dir/other", &body).await.unwrap();
    let policy = "path \"kv-nested/data/*\" { capabilities = [\"read\", \"update\", \"create\"] }
        path \"kv-nested/metadata/dir\" { capabilities = [\"list\"] }";
    rig.root().write_policy("nested", policy).await.unwrap();
    let template = "{{ with secret \"kv-nested/app\" }}{{ range secrets \"kv-nested/dir\" }}{{ . }}{{ end }}:\
        {{ with secret (printf \"kv-nested/dir/%s\" .Data.data.password) }}{{ .Data.data.value }}{{ end }}:\
        {{ with secret \"kv-nested/written\" \"by=template\" }}{{ .Data.version }}{{ end }}{{ end }}";
    let mut config = rig.config(template);
    config["template_config"]["static_secret_render_interval"] = "1h".into();
    let _agent = rig.start(&config, &run);
    rig.wait_for("other:deep:1");
    let written = rig.root().read("kv-nested/data/written").await.unwrap();
    let data: serde_json::Value = written.data.decode().unwrap();
    assert_eq!(data["data"]["by"], "template", "the write went through");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_is_rolled_over_is_followed_without_a_restart() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let old = Ca::new("old-ca").unwrap();
    let (server, client, keys) = unsealed("rollover", &old, &run).await;
    let root = client.with_token(&keys.root_token);
    let mut rig = Rig::new("rollover", &root, server.ca_pem(), run.path(), ttl(3600)).await;
    rig.write_secret("first").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    rig.wait_for("app:first:5432");

    let new = Ca::new("new-ca").unwrap();
    let address = server.addresses().api.ip().to_string();
    let pair = new
        .server("rollover", &["vault.test", "localhost", &address])
        .unwrap();
    pair.write(server.certificate().cert.parent().unwrap(), "server")
        .unwrap();
    server.signal(rustix::process::Signal::HUP).unwrap();
    fs::write(rig.folder().join("ca.crt"), new.cert_pem()).unwrap();
    agent.wait_for("a certificate file changed", 1);
    let client = Client::builder(server.url())
        .ca_pem(new.cert_pem())
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .build()
        .unwrap();
    rig.call_through(&client.with_token(&keys.root_token));
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("logged in"),
        1,
        "a new CA needs no new login:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_replaced_by_one_login() {
    let (rig, run) = rig("revoked", ttl(3600)).await;
    rig.write_secret("first").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    rig.wait_for("app:first:5432");
    let tokens = rig.tokens().await;
    assert_eq!(tokens.len(), 1, "one login makes one token");

    rig.root().revoke_accessor(&tokens[0]).await.unwrap();
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("logged in"),
        2,
        "exactly one more login:\n{}",
        agent.log()
    );
    assert_eq!(rig.tokens().await.len(), 1, "exactly one living token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_policy_makes_no_storm_of_logins() {
    let (rig, run) = rig("policy", ttl(3600)).await;
    rig.write_secret("first").await;
    let template = "{{ with secret \"kv-policy/data/other\" }}{{ .Data.data.x }}{{ end }}";
    let agent = rig.start(&rig.config(template), &run);
    agent.wait_for("denied", 5);
    agent.wait_for("a policy is missing", 2);
    assert_eq!(
        agent.count("logged in"),
        1,
        "the token is good, so no other is needed:\n{}",
        agent.log()
    );
    assert!(!rig.file().exists(), "nothing may be written without an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_lived_token_is_renewed_and_replaced_before_its_maximum() {
    // Servers count in whole seconds, and other tests share the machine: the margins are seconds, not fractions.
    let token = TokenParams {
        max_ttl: Duration::from_secs(45),
        ..ttl(18)
    };
    let (rig, run) = rig("short", token).await;
    rig.write_secret("first").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    agent.wait_for("renewed the token", 2);
    agent.wait_for("logged in", 2);
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("denied"),
        0,
        "the token must never be left to die:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_token_is_replaced_and_never_renewed() {
    let token = TokenParams {
        kind: TokenKind::Batch,
        ..ttl(18)
    };
    let (rig, run) = rig("batch", token).await;
    rig.write_secret("first").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    agent.wait_for("logged in", 3);
    rig.wait_for("app:first:5432");
    assert_eq!(
        agent.count("renew"),
        agent.count("renewable=false"),
        "nothing to renew:\n{}",
        agent.log()
    );
    assert_eq!(
        agent.count("denied"),
        0,
        "the token must never be left to die:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_renew_itself_never_ends_before_the_next_login() {
    let token = TokenParams {
        no_default_policy: true,
        ..ttl(15)
    };
    let (rig, run) = rig("stingy", token).await;
    rig.write_secret("first").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    // Waits that grew from cycle to cycle would outlast the lease by now.
    agent.wait_for("logged in", 7);
    rig.wait_for("app:first:5432");
    assert!(
        agent.count("the token is not renewed") > 0,
        "the server must have refused, else nothing was shown:\n{}",
        agent.log()
    );
    assert_eq!(
        agent.count("no answer"),
        0,
        "no read may meet a dead token:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_stays_while_vault_is_away_and_follows_again_afterwards() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let ca = Ca::new("vault-ca").unwrap();
    let (mut server, client, keys) = unsealed("outage", &ca, &run).await;
    let root = client.with_token(&keys.root_token);
    let rig = Rig::new("outage", &root, server.ca_pem(), run.path(), ttl(3600)).await;
    rig.write_secret("first").await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    rig.wait_for("app:first:5432");

    server.stop().unwrap();
    agent.wait_for("no connection", 2);
    rig.wait_for("app:first:5432");
    server.start_again().await.unwrap();
    agent.wait_for("sealed", 1);
    rig.wait_for("app:first:5432");
    unseal(&client, &keys.keys).await;
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("logged in"),
        1,
        "the token outlived the outage:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_destination_is_shown_and_retried() {
    let (rig, run) = rig("blocked", ttl(3600)).await;
    rig.write_secret("first").await;
    // A folder in the place of the temporary file: that stops root, too.
    let obstacle = rig.file().with_file_name(".app.conf.vaultkeeper");
    fs::create_dir(&obstacle).unwrap();
    let agent = rig.start(&rig.config(&rig.template()), &run);
    agent.wait_for("not written", 2);
    fs::remove_dir(&obstacle).unwrap();
    rig.wait_for("app:first:5432");
}

/// A child that does not outlive its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_with_success_and_ready_tells_whether_files_exist() {
    let (rig, _run) = rig("signal", ttl(3600)).await;
    rig.write_secret("first").await;
    let mut config = rig.config(&rig.template());
    let sink = rig.folder().join("token");
    config["auto_auth"]["sink"] = serde_json::json!([{"type": "file", "config": {"path": sink}}]);
    let config = STANDARD.encode(config.to_string());
    let agent = |verb: &str| {
        let mut command = Command::new(program());
        command
            .arg(verb)
            .env_clear()
            .env("VAULT_CONFIG", &config)
            .stderr(Stdio::null());
        command
    };
    assert_eq!(
        agent("ready").status().unwrap().code(),
        Some(1),
        "no file is there yet"
    );
    let mut child = Child(agent("run").spawn().unwrap());
    rig.wait_for("app:first:5432");
    wait::until("the token's file", DEADLINE, || {
        let token = fs::read_to_string(&sink)?;
        ensure!(token.starts_with("hvs."), "it holds no token");
        Ok(())
    })
    .unwrap();
    assert_eq!(
        agent("ready").status().unwrap().code(),
        Some(0),
        "every file is there"
    );

    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait::until("the agent to end", DEADLINE, || {
        let status = child.0.try_wait()?;
        ensure!(status.is_some(), "it still runs");
        Ok(status)
    });
    assert_eq!(
        status.unwrap().and_then(|status| status.code()),
        Some(0),
        "a stop that was asked for is a success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_success_once_everything_is_rendered_when_asked_to() {
    let (rig, run) = rig("once", ttl(3600)).await;
    rig.write_secret("first").await;
    let mut config = rig.config(&rig.template());
    config["exit_after_auth"] = true.into();
    let file = run.join("config.json");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(program());
    command
        .env_clear()
        .arg(format!("-config={}", file.display()))
        .stderr(Stdio::null());
    let mut child = Child(command.spawn().unwrap());
    let status = wait::until("the agent to end", DEADLINE, || {
        let status = child.0.try_wait()?;
        ensure!(status.is_some(), "it still runs");
        Ok(status)
    });
    assert_eq!(
        status.unwrap().and_then(|status| status.code()),
        Some(0),
        "everything is rendered"
    );
    rig.wait_for("app:first:5432");
}
