//! Engines, policies, autopilot: each call against a real server that all these tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Error;
use vaultkeeper_vault::sys::mounts::{MountRequest, MountTune};

use crate::client_support::solo;

const DEADLINE: Duration = Duration::from_secs(60);

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
    // KV v2 is not ready for a moment after it was mounted.
    wait::until_async("the engine to be ready", DEADLINE, || async {
        let absent = root.read(&path).await.expect_err("nothing is there yet");
        ensure!(absent.is_not_found(), "nothing is there yet: {absent:?}");
        Ok(())
    })
    .await
    .unwrap();

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
