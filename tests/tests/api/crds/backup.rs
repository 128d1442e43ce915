//! Backups that make no sense, and their neighbours one field apart.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::{Refused, Taken, check, cluster};

const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

fn backup(change: &Value) -> Value {
    let secret = json!({"name": "s", "key": "k"});
    let mut backup = json!({
        "schedule": "0 * * * *", "recipients": [KEY],
        "s3": {"endpoint": "https://s3:9000", "bucket": "b", "prefix": "eu/a/", "region": "eu-1",
            "credentials": {"accessKeyId": secret, "secretAccessKey": secret}, "ca": {"secret": secret}},
    });
    super::merge(&mut backup, change);
    json!({ "spec": { "backup": backup } })
}

#[tokio::test]
pub(super) async fn a_backup_that_cannot_work_is_refused_and_its_neighbour_is_taken() {
    let s3 = |field: &str, value: Value| backup(&json!({ "s3": { field: value } }));
    let in_profile = |profile: &str, replicas: i32, endpoint: &str| {
        let mut object = s3("endpoint", json!(endpoint));
        super::merge(
            &mut object,
            &json!({"spec": {"profile": profile, "replicas": replicas}}),
        );
        object
    };
    let stored_in = |storage: Value| {
        let mut object = backup(&json!({}));
        super::merge(
            &mut object,
            &json!({"spec": {"storage": storage, "replicas": 3, "profile": "Hardened"}}),
        );
        object
    };
    let cases = vec![
        (backup(&json!({})), Taken),
        (backup(&json!({"schedule": "* * * *"})), Refused("schedule")),
        (
            backup(&json!({"schedule": null})),
            Refused("schedule: Required value"),
        ),
        (
            backup(&json!({"rehearsalSchedule": "x"})),
            Refused("rehearsalSchedule"),
        ),
        (
            backup(&json!({"recipients": []})),
            Refused("should have at least 1 items"),
        ),
        (backup(&json!({"recipients": [KEY, KEY]})), Taken),
        (
            backup(&json!({"recipients": ["ssh-ed25519 AAAA"]})),
            Refused("recipients[0]"),
        ),
        (
            backup(&json!({"recipients": [KEY.replace("ql3", "qb3")]})),
            Refused("recipients[0]"),
        ),
        (
            backup(&json!({"retention": {"keep": 0}})),
            Refused("retention.keep"),
        ),
        (
            backup(&json!({"retention": {"days": 0}})),
            Refused("retention.days"),
        ),
        (backup(&json!({"retention": {"keep": 1, "days": 1}})), Taken),
        (s3("endpoint", json!("s3:9000")), Refused("s3.endpoint")),
        (s3("endpoint", json!("https://u:p@s3")), Refused("s3.endpoint")),
        (s3("endpoint", json!("https://s3/x?y")), Refused("s3.endpoint")),
        (s3("bucket", json!("a/b")), Refused("s3.bucket")),
        (s3("prefix", json!("eu")), Refused("s3.prefix")),
        (s3("prefix", json!("/")), Refused("s3.prefix")),
        (s3("prefix", json!("../")), Refused("s3.prefix")),
        (s3("prefix", json!("a.b/c/")), Taken),
        (s3("region", json!("eu 1")), Refused("s3.region")),
        (
            s3("ca", json!({"secret": null, "bundle": "x"})),
            Refused("s3.ca.bundle"),
        ),
        (
            s3("ca", json!({"bundle": "x"})),
            Refused("ca must hold exactly one of bundle, secret and configMap"),
        ),
        (
            s3(
                "credentials",
                json!({"accessKeyId": {"name": "vault-keys.v.main", "key": "k"}}),
            ),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (
            in_profile("Hardened", 3, "http://s3"),
            Refused("spec.backup.s3.endpoint must start with https:// in profile Hardened"),
        ),
        (in_profile("Development", 1, "http://s3"), Taken),
        (in_profile("Hardened", 3, "https://s3"), Taken),
        (stored_in(json!({"raft": {"size": "1Gi"}})), Taken),
        (
            stored_in(json!({"raft": null, "consul": {"address": "https://c:8501"}})),
            Refused("spec.backup needs spec.storage.raft"),
        ),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}
