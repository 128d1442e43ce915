//! The agent that runs a program itself: `exec` and `env_template` of Vault Agent's configuration.

use std::fs;

use anyhow::ensure;
use rustix::process::Signal;
use serde_json::{Value, json};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;

use crate::TESTBED;
use crate::agent_support::{DEADLINE, Rig, wait_for};
use crate::client_support::solo;

async fn rig(name: &str) -> (Rig, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), TokenParams::default()).await;
    rig.write_secret("one").await;
    (rig, run)
}

fn config(rig: &Rig, script: &str, restart: &str) -> Value {
    let out = rig.folder().join("out");
    let mut config = rig.config(&rig.template());
    let template = config["template"].take();
    config.as_object_mut().unwrap().remove("template");
    config["env_template"] = json!([
        {"APP": {"contents": template[0]["contents"]}},
        {"FIXED": {"contents": "fixed"}},
    ]);
    config["exec"] = json!({
        "command": ["/bin/sh", "-c", script, "sh", out.display().to_string()],
        "restart_on_secret_changes": restart,
    });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_with_rendered_variables_and_again_when_they_change() {
    let (rig, run) = rig("program").await;
    let script = "trap 'exit 9' TERM; echo \"$APP $FIXED\" >>\"$1\"; while :; do sleep 0.05; done";
    let agent = rig.start(&config(&rig, script, "always"), &run);
    let out = rig.folder().join("out");
    wait_for(&out, "app:one:5432 fixed\n");
    rig.write_secret("two").await;
    wait_for(&out, "app:one:5432 fixed\napp:two:5432 fixed\n");
    let log = agent.log();
    for secret in ["app:one", "app:two"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    agent.process.signal(Signal::TERM).unwrap();
    agent.wait_for_end("ends as its program has ended code=9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_to_be_restarted_is_left_alone_and_its_end_is_the_agents() {
    let (rig, run) = rig("program-never").await;
    let script = "echo \"$APP\" >>\"$1\"; while [ ! -e \"$1.end\" ]; do sleep 0.05; done; exit 3";
    let agent = rig.start(&config(&rig, script, "never"), &run);
    let out = rig.folder().join("out");
    wait_for(&out, "app:one:5432\n");
    rig.write_secret("two").await;
    wait::until("the agent to have read the change", DEADLINE, || {
        ensure!(agent.count("the variables have changed") > 0, "it has not");
        Ok(())
    })
    .unwrap();
    fs::write(rig.folder().join("out.end"), "").unwrap();
    agent.wait_for_end("ends as its program has ended code=3");
    wait_for(&out, "app:one:5432\n");
}
