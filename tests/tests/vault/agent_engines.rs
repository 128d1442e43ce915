//! The agent with real engines: KV version 1, PKI, transit, and what each asks for afterwards.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::mounts::{MountRequest, MountTune};

use crate::TESTBED;
use crate::agent::ttl;
use crate::agent_support::{Agent, DEADLINE, Rig};
use crate::client_support::solo;

/// A rig whose role may do everything at the mount `<kind>-<name>` of this engine.
async fn rig(name: &str, kind: &str) -> (Rig, String, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), ttl(3600)).await;
    let mount = format!("{kind}-{name}");
    let engine = MountRequest {
        kind: kind.to_owned(),
        config: MountTune {
            max_lease_ttl: Some(Duration::from_secs(87_600 * 3600)),
            ..MountTune::default()
        },
        ..MountRequest::default()
    };
    // The rig's own engine is version 2 at this path.
    let mount = if kind == "kv" {
        format!("old-{mount}")
    } else {
        mount
    };
    rig.root().enable_mount(&mount, &engine).await.unwrap();
    let policy = format!(
        "path \"{mount}/*\" {{ capabilities = [\"read\", \"list\", \"create\", \"update\"] }}
        path \"kv-{name}/*\" {{ capabilities = [\"read\", \"list\", \"create\", \"update\"] }}"
    );
    rig.root().write_policy(name, &policy).await.unwrap();
    (rig, mount, run)
}

fn with_interval(mut config: Value, interval: &str) -> Value {
    config["template_config"]["static_secret_render_interval"] = interval.into();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_version_1_is_read_at_the_interval_and_listed_and_written() {
    let (rig, mount, run) = rig("one", "kv").await;
    let write = async |value: &str| {
        let path = format!("{mount}/app");
        rig.root().write(&path, &json!({"value": value})).await.unwrap();
    };
    write("first").await;
    let template = format!(
        "{{{{ with secret \"{mount}/app\" }}}}{{{{ .Data.value }}}}{{{{ end }}}} \
        {{{{ range secrets \"{mount}\" }}}}{{{{ . }}}} {{{{ end }}}}\
        {{{{ with secret \"{mount}/made\" \"by=template\" }}}}{{{{ len .Data }}}}{{{{ end }}}}"
    );
    let _agent = rig.start(&rig.config(&template), &run);
    // The list is read again after the write, at the interval.
    rig.wait_for("first app made 0");
    write("second").await;
    rig.wait_for("second app made 0");
    let written = rig.root().read(&format!("{mount}/made")).await.unwrap();
    let data: Value = written.data.decode().unwrap();
    assert_eq!(data["by"], "template", "the write went through");
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_version_1_is_read_as_often_as_the_secret_itself_asks_for() {
    let (rig, mount, run) = rig("own", "kv").await;
    let write = async |value: &str| {
        let path = format!("{mount}/app");
        let body = json!({"value": value, "ttl": "2s"});
        rig.root().write(&path, &body).await.unwrap();
    };
    write("first").await;
    let template = format!("{{{{ with secret \"{mount}/app\" }}}}{{{{ .Data.value }}}}{{{{ end }}}}");
    let _agent = rig.start(&with_interval(rig.config(&template), "10h"), &run);
    rig.wait_for("first");
    write("second").await;
    rig.wait_for("second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_escapes_is_read_as_a_url() {
    let (rig, mount, run) = rig("escapes", "kv").await;
    let path = format!("{mount}/with space/ü");
    rig.root().write(&path, &json!({"value": "found"})).await.unwrap();
    let template =
        format!("{{{{ with secret \"{mount}/with%20space/%C3%BC\" }}}}{{{{ .Data.value }}}}{{{{ end }}}}");
    let _agent = rig.start(&rig.config(&template), &run);
    rig.wait_for("found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_secret_keeps_the_file_and_a_pinned_version_is_served_although_there_is_a_newer_one() {
    let (rig, _, run) = rig("versions", "transit").await;
    rig.write_secret("one").await;
    rig.write_secret("two").await;
    let template = "{{ with secret \"kv-versions/app?version=1\" }}{{ .Data.data.password }}{{ end }}:\
        {{ with secret \"kv-versions/data/app\" }}{{ .Data.data.password }}{{ end }}";
    let agent = rig.start(&rig.config(template), &run);
    rig.wait_for("one:two");
    rig.root().delete("kv-versions/data/app").await.unwrap();
    agent.wait_for("no secret exists there", 1);
    rig.wait_for("one:two");
    rig.write_secret("three").await;
    rig.wait_for("one:three");
}

#[tokio::test(flavor = "multi_thread")]
async fn transit_decrypts_what_a_template_holds() {
    let (rig, mount, run) = rig("cipher", "transit").await;
    let root = rig.root();
    root.write(&format!("{mount}/keys/k"), &json!({})).await.unwrap();
    let body = json!({"plaintext": "aHVudGVy"});
    let answer = root.write(&format!("{mount}/encrypt/k"), &body).await.unwrap();
    let answer: Value = answer.expect("an answer").data.decode().unwrap();
    let cipher = answer["ciphertext"].as_str().unwrap();
    let template = format!(
        "{{{{ with secret \"{mount}/decrypt/k\" \"ciphertext={cipher}\" }}}}{{{{ base64Decode .Data.plaintext }}}}{{{{ end }}}}"
    );
    let agent = rig.start(&rig.config(&template), &run);
    rig.wait_for("hunter");
    root.write_policy("cipher", "path \"sys/none\" { capabilities = [\"read\"] }")
        .await
        .unwrap();
    agent.wait_for("denied", 1);
    let log = agent.log();
    for hidden in [cipher, "aHVudGVy", "hunter"] {
        assert!(!log.contains(hidden), "{hidden:?} must not be in the log:\n{log}");
    }
    rig.wait_for("hunter");
}

/// A PKI with the role `app`.
async fn authority(rig: &Rig, mount: &str, ttl: &str) {
    let root = rig.root();
    let body = json!({"common_name": "Test CA", "ttl": "87600h"});
    root.write(&format!("{mount}/root/generate/internal"), &body)
        .await
        .unwrap();
    let role = json!({"allow_any_name": true, "ttl": ttl, "max_ttl": ttl, "key_type": "ec", "key_bits": 256});
    root.write(&format!("{mount}/roles/app"), &role).await.unwrap();
}

/// How many certificates the CA signed, its own included.
async fn issued(rig: &Rig, mount: &str) -> usize {
    rig.root().list(&format!("{mount}/certs")).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_its_file_serves_the_next_agent_until_it_is_due() {
    let (rig, mount, run) = rig("pki", "pki").await;
    authority(&rig, &mount, "72h").await;
    let template = format!(
        "{{{{ with pkiCert \"{mount}/issue/app\" \"common_name=app.example\" }}}}{{{{ .Key }}}}{{{{ .Cert }}}}{{{{ .CA }}}}{{{{ end }}}}"
    );
    let config = with_interval(rig.config(&template), "1s");
    let agent = rig.start(&config, &run);
    let first = certificate(&rig, None);
    assert!(
        first.contains("PRIVATE KEY") && first.matches("BEGIN CERTIFICATE").count() == 2,
        "{first:?}"
    );
    agent.process.stop(Duration::from_secs(30)).unwrap();

    let agent = Agent::start("pki-again", &config, &run);
    agent.wait_for("still good", 1);
    assert_eq!(
        fs::read_to_string(rig.file()).unwrap(),
        first,
        "the same certificate"
    );
    assert_eq!(issued(&rig, &mount).await, 2, "the CA's own and one other");
    agent.process.stop(Duration::from_secs(30)).unwrap();

    // A file without its key serves nobody.
    let (_, rest) = first.split_once("-----BEGIN CERTIFICATE").unwrap();
    fs::remove_file(rig.file()).unwrap();
    fs::write(rig.file(), format!("-----BEGIN CERTIFICATE{rest}")).unwrap();
    let _agent = Agent::start("pki-keyless", &config, &run);
    let second = certificate(&rig, Some(&first));
    assert!(second.contains("PRIVATE KEY"), "a new pair");
    assert_eq!(issued(&rig, &mount).await, 3, "one more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_before_it_ends_whichever_way_it_was_asked_for() {
    let (rig, mount, run) = rig("renewal", "pki").await;
    // The server dates certificates back by 30 seconds: nine tenths of 60 are over 24 seconds after the issue.
    authority(&rig, &mount, "30s").await;
    let issue = format!("\"{mount}/issue/app\" \"common_name=app.example\"");
    let template = format!("{{{{ with pkiCert {issue} }}}}{{{{ .Key }}}}{{{{ .Cert }}}}{{{{ end }}}}");
    let mut config = with_interval(rig.config(&template), "1h");
    let other = rig.folder().join("secrets/other.pem");
    let by_secret = format!(
        "{{{{ with secret {issue} }}}}{{{{ .Data.private_key }}}}{{{{ .Data.certificate }}}}{{{{ end }}}}"
    );
    config["template"]
        .as_array_mut()
        .unwrap()
        .push(json!({"contents": by_secret, "destination": other}));
    let _agent = rig.start(&config, &run);
    for file in [rig.file(), other] {
        let first = wait_for_other(&file, None);
        let second = wait_for_other(&file, Some(&first));
        assert!(second.contains("BEGIN CERTIFICATE"), "a whole one: {second:?}");
    }
}

fn certificate(rig: &Rig, before: Option<&str>) -> String {
    wait_for_other(&rig.file(), before)
}

fn wait_for_other(file: &std::path::Path, before: Option<&str>) -> String {
    wait::until(
        &format!("another certificate in {}", file.display()),
        DEADLINE,
        || {
            let text = fs::read_to_string(file)?;
            ensure!(text.contains("PRIVATE KEY"), "no key yet");
            ensure!(Some(text.as_str()) != before, "still the old one");
            Ok(text)
        },
    )
    .unwrap()
}

/// Waits until the file holds something, and then something else, twice.
fn wait_for_three(rig: &Rig) -> [String; 3] {
    let mut seen = Vec::new();
    wait::until("three different contents", DEADLINE, || {
        let text = fs::read_to_string(rig.file())?;
        ensure!(!text.is_empty(), "it is empty");
        if !seen.contains(&text) {
            seen.push(text);
        }
        let seen: [String; 3] = seen
            .clone()
            .try_into()
            .map_err(|seen: Vec<_>| anyhow::anyhow!("{} so far", seen.len()))?;
        Ok(seen)
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_is_replaced_before_its_end() {
    let (rig, mount, run) = rig("leased", "pki").await;
    authority(&rig, &mount, "10s").await;
    let role = json!({"allow_any_name": true, "ttl": "10s", "max_ttl": "10s", "key_type": "ec", "key_bits": 256,
        "generate_lease": true});
    rig.root()
        .write(&format!("{mount}/roles/app"), &role)
        .await
        .unwrap();
    let template = format!(
        "{{{{ with secret \"{mount}/issue/app\" \"common_name=app.example\" }}}}{{{{ .LeaseID }}}} {{{{ .Renewable }}}}{{{{ end }}}}"
    );
    let agent = rig.start(&with_interval(rig.config(&template), "1h"), &run);
    for text in wait_for_three(&rig) {
        assert!(
            text.ends_with(" false") && text.starts_with(&mount),
            "a lease, not renewable: {text}"
        );
    }
    assert_eq!(
        agent.count("renewed the lease"),
        0,
        "nothing to renew:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_id_is_made_again_before_it_ends_and_each_one_serves() {
    let (rig, _, run) = rig("secretid", "transit").await;
    let path = "auth/approle-secretid/role/short";
    let root = rig.root();
    root.write(path, &json!({"secret_id_ttl": "12s", "token_ttl": "60s"}))
        .await
        .unwrap();
    let policy = format!("path \"{path}/secret-id\" {{ capabilities = [\"update\"] }}");
    root.write_policy("secretid", &policy).await.unwrap();
    let template = format!(
        "{{{{ with secret \"{path}/secret-id\" \"num_uses=0\" }}}}{{{{ .Data.secret_id }}}}{{{{ end }}}}"
    );
    let _agent = rig.start(&with_interval(rig.config(&template), "1h"), &run);
    let [_, _, last] = wait_for_three(&rig);
    let approle = root.approle("approle-secretid");
    let role_id = approle.role_id("short").await.unwrap();
    approle
        .login(&role_id, &last.into())
        .await
        .expect("what is in the file serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_replaced_before_it_ends() {
    let (rig, _, run) = rig("oidc", "transit").await;
    let root = rig.root();
    let key = json!({"allowed_client_ids": ["*"], "rotation_period": "1h", "verification_ttl": "1h"});
    root.write("identity/oidc/key/agent", &key).await.unwrap();
    root.write("identity/oidc/role/agent", &json!({"key": "agent", "ttl": "10s"}))
        .await
        .unwrap();
    let policy = "path \"identity/oidc/token/agent\" { capabilities = [\"read\"] }";
    root.write_policy("oidc", policy).await.unwrap();
    let template = "{{ with secret \"identity/oidc/token/agent\" }}{{ .Data.token }}{{ end }}";
    let _agent = rig.start(&with_interval(rig.config(template), "1h"), &run);
    wait_for_three(&rig);
}
