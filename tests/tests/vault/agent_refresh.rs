//! What the agent asks Vault for over time, seen in Vault's own audit log: no more than is needed.

use std::fs;
use std::path::PathBuf;

use anyhow::ensure;
use serde_json::{Value, json};
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::vault_server::VaultServer;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::audit::AuditDevice;

use crate::TESTBED;
use crate::agent::ttl;
use crate::agent_support::{DEADLINE, Rig};
use crate::client_support::unsealed;

/// A rig at a server of its own whose audit log is read.
struct Audited {
    rig: Rig,
    log: PathBuf,
    _server: VaultServer,
    run: OwnedRun,
}

impl Audited {
    async fn new(name: &str) -> Self {
        let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
        let ca = Ca::new("vault-ca").unwrap();
        let (server, client, keys) = unsealed(name, &ca, &run).await;
        let root = client.with_token(&keys.root_token);
        let rig = Rig::new(name, &root, server.ca_pem(), run.path(), ttl(3600)).await;
        rig.write_secret("first").await;
        root.write(&format!("kv-{name}/data/other"), &json!({"data": {"x": "y"}}))
            .await
            .unwrap();
        let log = run.join("audit.log");
        let device = AuditDevice {
            kind: "file".to_owned(),
            options: [("file_path".to_owned(), log.display().to_string())].into(),
            ..AuditDevice::default()
        };
        root.enable_audit_device("file", &device).await.unwrap();
        Self {
            rig,
            log,
            _server: server,
            run,
        }
    }

    async fn allow(&self, name: &str, capabilities: &[(&str, &str)]) {
        let rules = capabilities.iter().map(|(path, capability)| {
            format!("path \"kv-{name}/{path}\" {{ capabilities = [\"{capability}\"] }}\n")
        });
        self.rig
            .root()
            .write_policy(name, &rules.collect::<String>())
            .await
            .unwrap();
    }

    /// How often this path was read.
    fn reads(&self, path: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let reads = lines.filter(|line| {
            line["type"] == "request"
                && line["request"]["operation"] == "read"
                && line["request"]["path"] == path
        });
        reads.count()
    }

    fn wait_for_reads(&self, path: &str, times: usize) {
        wait::until(&format!("{times} reads of {path}"), DEADLINE, || {
            let reads = self.reads(path);
            ensure!(reads >= times, "{reads} so far");
            Ok(())
        })
        .unwrap();
    }
}

/// Both secrets in one file.
const TEMPLATE: &str = "{{ with secret \"kv-NAME/app\" }}{{ .Data.data.password }}{{ end }} \
    {{ with secret \"kv-NAME/other\" }}{{ .Data.data.x }}{{ end }}";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_again_only_when_its_metadata_says_that_it_changed() {
    let audited = Audited::new("meta").await;
    audited
        .allow("meta", &[("data/*", "read"), ("metadata/*", "read")])
        .await;
    let config = audited.rig.config(&TEMPLATE.replace("NAME", "meta"));
    let agent = audited.rig.start(&config, &audited.run);
    audited.rig.wait_for("first y");
    for path in ["kv-meta/metadata/app", "kv-meta/metadata/other"] {
        audited.wait_for_reads(path, 4);
    }
    for path in ["kv-meta/data/app", "kv-meta/data/other"] {
        assert_eq!(audited.reads(path), 1, "{path} did not change:\n{}", agent.log());
    }

    audited.rig.write_secret("second").await;
    audited.rig.wait_for("second y");
    assert_eq!(audited.reads("kv-meta/data/app"), 2, "this one changed");
    assert_eq!(
        audited.reads("kv-meta/data/other"),
        1,
        "a change of one secret reads no other"
    );
    audited.rig.root().delete("kv-meta/data/app").await.unwrap();
    agent.wait_for("no secret exists there", 1);
    audited.rig.wait_for("second y");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_of_the_metadata_is_remembered_until_there_is_a_new_token_which_reads_nothing_again() {
    let audited = Audited::new("nometa").await;
    audited.allow("nometa", &[("data/*", "read")]).await;
    let config = audited.rig.config(&TEMPLATE.replace("NAME", "nometa"));
    let agent = audited.rig.start(&config, &audited.run);
    audited.rig.wait_for("first y");
    audited.wait_for_reads("kv-nometa/data/app", 5);
    assert_eq!(
        audited.reads("kv-nometa/metadata/app"),
        1,
        "one question is enough:\n{}",
        agent.log()
    );
    audited.rig.write_secret("second").await;
    audited.rig.wait_for("second y");
    assert_eq!(
        agent.count("logged in"),
        1,
        "a denial of the metadata is no doubt of the token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_reads_nothing_that_outlives_the_old_one() {
    let audited = Audited::new("anew").await;
    audited.allow("anew", &[("data/*", "read")]).await;
    let mut config = audited.rig.config(&TEMPLATE.replace("NAME", "anew"));
    config["template_config"]["static_secret_render_interval"] = "1h".into();
    // A second template with an interval of its own meets the denial that shows the token to be dead.
    let probe = audited.rig.folder().join("secrets/probe");
    config["template"].as_array_mut().unwrap().push(json!({
        "contents": "{{ with secret \"kv-anew/other?version=1\" }}{{ .Data.data.x }}{{ end }}",
        "destination": probe, "static_secret_render_interval": "1s",
    }));
    let agent = audited.rig.start(&config, &audited.run);
    audited.rig.wait_for("first y");
    let tokens = audited.rig.tokens().await;
    audited.rig.root().revoke_accessor(&tokens[0]).await.unwrap();
    agent.wait_for("logged in", 2);
    audited.wait_for_reads("kv-anew/data/other", 6);
    assert_eq!(
        audited.reads("kv-anew/data/app"),
        1,
        "it is not due for an hour:\n{}",
        agent.log()
    );
}
