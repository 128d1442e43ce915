//! The kinds of token that an agent may live with, against a real Vault.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::ExposeSecret as _;
use vaultkeeper_vault::auth::approle::{Role, SecretIdRequest};
use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};

use crate::TESTBED;
use crate::agent_support::{Agent, DEADLINE, Rig};
use crate::client_support::solo;

fn ttl(seconds: u64) -> TokenParams {
    TokenParams {
        ttl: Duration::from_secs(seconds),
        ..TokenParams::default()
    }
}

async fn rig(name: &str, token: TokenParams) -> (Rig, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), token).await;
    rig.write_secret("first").await;
    (rig, run)
}

fn wait_until_ended(agent: &Agent) {
    wait::until("the agent to end", DEADLINE, || {
        ensure!(!agent.process.is_running(), "it still runs");
        Ok(())
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_periodic_token_is_renewed_beyond_any_maximum_with_one_login() {
    let token = TokenParams {
        period: Duration::from_secs(9),
        max_ttl: Duration::from_secs(20),
        ..TokenParams::default()
    };
    let (rig, run) = rig("periodic", token).await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    // Four times six seconds: more than max_ttl, which does not hold for a period.
    agent.wait_for("renewed the token", 5);
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    assert_eq!(
        agent.count("logged in"),
        1,
        "one login is enough:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_periodic_token_with_a_hard_end_is_replaced_before_it() {
    let token = TokenParams {
        period: Duration::from_secs(15),
        explicit_max_ttl: Duration::from_secs(36),
        ..TokenParams::default()
    };
    let (rig, run) = rig("explicit", token).await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    agent.wait_for("renewed the token", 1);
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
async fn a_token_with_few_uses_is_replaced_before_its_last_one_and_no_read_fails() {
    let token = TokenParams {
        num_uses: 4,
        ..ttl(3600)
    };
    let (rig, run) = rig("uses", token).await;
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["method"]["min_backoff"] = "2s".into();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    agent.wait_for("logged in", 4);
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
    for failure in ["denied", "no answer", "not renewed"] {
        assert_eq!(agent.count(failure), 0, "{failure:?} is in\n{}", agent.log());
    }
    // The last use of each is left: what was made with a token does not end before it has to.
    let tokens = rig.tokens().await;
    assert!(
        tokens.len() >= 3,
        "replaced tokens live on, there are {}",
        tokens.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_secrets_are_read_with_tokens_of_few_uses() {
    let token = TokenParams {
        num_uses: 4,
        ..ttl(3600)
    };
    let (rig, run) = rig("many", token).await;
    let policy = "path \"kv-many/data/*\" { capabilities = [\"read\"] }";
    rig.root().write_policy("many", policy).await.unwrap();
    let mut templates = Vec::new();
    let mut expected = Vec::new();
    for number in 0..12 {
        let body = json!({"data": {"number": number}});
        let path = format!("kv-many/data/n{number}");
        rig.root().write(&path, &body).await.unwrap();
        let action =
            format!("{{{{ with secret \"kv-many/n{number}\" }}}}{{{{ .Data.data.number }}}}{{{{ end }}}}");
        templates.push(action);
        expected.push(number.to_string());
    }
    let (template, expected) = (templates.join(","), expected.join(","));
    let mut config = rig.config(&template);
    config["template_config"]["static_secret_render_interval"] = "1h".into();
    let agent = rig.start(&config, &run);
    rig.wait_for(&expected);
    for failure in ["denied", "no answer"] {
        assert_eq!(agent.count(failure), 0, "{failure:?} is in\n{}", agent.log());
    }
    let logins = agent.count("logged in");
    assert!(
        (5..=10).contains(&logins),
        "12 reads with three uses each, there were {logins} logins:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_deleted_keeps_the_file_and_one_made_anew_is_followed() {
    let (rig, run) = rig("deleted", ttl(18)).await;
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["method"]["max_backoff"] = "3s".into();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    let approle = rig.root().approle("approle-deleted");
    approle.delete_role("deleted").await.unwrap();
    agent.wait_for("the token is not renewed", 1);
    agent.wait_for("no login", 4);
    rig.wait_for("app:first:5432");
    assert_eq!(
        agent.count("logged in"),
        1,
        "failures make no tokens:\n{}",
        agent.log()
    );

    let token = TokenParams {
        policies: vec!["deleted".to_owned()],
        ..ttl(18)
    };
    let role = Role {
        token,
        ..Role::default()
    };
    approle.write_role("deleted", &role).await.unwrap();
    let secret_id = approle
        .create_secret_id("deleted", &SecretIdRequest::default())
        .await
        .unwrap()
        .secret_id;
    fs::write(
        rig.folder().join("role-id"),
        approle.role_id("deleted").await.unwrap(),
    )
    .unwrap();
    fs::write(rig.folder().join("secret-id"), secret_id.expose_secret()).unwrap();
    rig.write_secret("second").await;
    rig.wait_for("app:second:5432");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_revoked_at_the_end_when_asked_to() {
    let (rig, run) = rig("revoke", ttl(3600)).await;
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["revoke_on_shutdown"] = true.into();
    config["auto_auth"]["revoke_grace"] = "1s".into();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    assert_eq!(rig.tokens().await.len(), 1, "one token");
    agent.process.signal(rustix::process::Signal::TERM).unwrap();
    wait_until_ended(&agent);
    assert_eq!(
        agent.count("revoked the token"),
        1,
        "it says so:\n{}",
        agent.log()
    );
    assert!(rig.tokens().await.is_empty(), "no token may be left");
    rig.wait_for("app:first:5432");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_token_that_cannot_be_revoked_does_not_hold_the_end_up() {
    let token = TokenParams {
        kind: TokenKind::Batch,
        ..ttl(600)
    };
    let (rig, run) = rig("revokebatch", token).await;
    let mut config = rig.config(&rig.template());
    config["auto_auth"]["revoke_on_shutdown"] = true.into();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:first:5432");
    agent.process.signal(rustix::process::Signal::TERM).unwrap();
    wait_until_ended(&agent);
    assert_eq!(
        agent.count("the token cannot be revoked"),
        1,
        "it says why:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_asked_to_it_leaves_its_token_alone() {
    let (rig, run) = rig("leave", ttl(3600)).await;
    let agent = rig.start(&rig.config(&rig.template()), &run);
    rig.wait_for("app:first:5432");
    agent.process.signal(rustix::process::Signal::TERM).unwrap();
    wait_until_ended(&agent);
    assert_eq!(rig.tokens().await.len(), 1, "an app may have it from a sink");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_end_it_only_where_the_configuration_asks_for_that() {
    let (rig, run) = rig("retries", ttl(3600)).await;
    let denied = "{{ with secret \"kv-retries/data/other\" }}{{ .Data.data.x }}{{ end }}";
    let mut config = rig.config(denied);
    config["template_config"]["exit_on_retry_failure"] = true.into();
    config["vault"]["retry"] = json!({"num_retries": 2});
    let agent = rig.start(&config, &run);
    wait_until_ended(&agent);
    assert_eq!(
        agent.count("gave up, as template_config.exit_on_retry_failure asks for"),
        1,
        "it says why:\n{}",
        agent.log()
    );
    assert_eq!(
        agent.count("no answer"),
        3,
        "one try and two more:\n{}",
        agent.log()
    );

    let unfit = "{{ with secret \"kv-retries/app\" }}{{ .Data.data.password.deep }}{{ end }}";
    let mut config = rig.config(unfit);
    config["template_config"]["exit_on_retry_failure"] = true.into();
    let agent = rig.start(&config, &run);
    wait_until_ended(&agent);
    assert_eq!(
        agent.count("cannot be rendered"),
        1,
        "it says why:\n{}",
        agent.log()
    );

    config["template"][0]["error_fatal"] = false.into();
    let agent = rig.start(&config, &run);
    agent.wait_for("not rendered", 1);
    rig.write_secret("second").await;
    // Rendered anew with the new answer, and not fit again: it goes on.
    agent.wait_for("not rendered", 2);
}
