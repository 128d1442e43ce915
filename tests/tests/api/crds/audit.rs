//! Audit logs on a volume and in the host's syslog: what cannot work is refused, and its neighbour one field apart taken.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::{Refused, Taken, check, check_updates, cluster, merge};

fn audited(volume: &Value, devices: &Value) -> Value {
    json!({ "spec": { "auditVolume": volume, "configuration": { "audit": devices } } })
}

#[tokio::test]
pub(super) async fn files_need_a_volume_that_holds_them_and_syslog_its_socket() {
    let device = |file: &Value| json!([{ "path": "log", "file": file }]);
    let named = |path: &str| audited(&json!({}), &device(&json!({ "path": path })));
    let log = "/vault/audit/audit.log";
    let rotated = |change: &str, value: Value| {
        let mut rotate = json!({ "maxSize": "128Mi", "keep": 6 });
        rotate[change] = value;
        audited(
            &json!({ "size": "1Gi" }),
            &device(&json!({ "path": log, "rotate": rotate })),
        )
    };
    let two = |size: &str| {
        let file = |name: &str| json!({ "path": name, "file": { "path": format!("/vault/audit/{name}") } });
        audited(&json!({ "size": size }), &json!([file("a"), file("b")]))
    };
    let syslog = |pod: Value| json!({ "spec": { "pod": pod, "configuration": { "audit": [{ "path": "a", "syslog": {} }] } } });
    let socket = |path: &str| json!({ "spec": { "pod": { "syslogSocket": path } } });
    let plain = "file.path must be a plain name below /vault/audit/";
    let room = "spec.auditVolume.size must hold each file of spec.configuration.audit rotate.keep + 2 times";
    let other_socket = "spec.pod.syslogSocket must be the path of a socket named log, dev-log or syslog";
    let cases = vec![
        (named(log), Taken),
        (
            audited(&json!(null), &device(&json!({ "path": log }))),
            Refused("holds a file below /vault/audit/, which needs spec.auditVolume"),
        ),
        (
            audited(&json!(null), &device(&json!({ "path": "/dev/stderr" }))),
            Taken,
        ),
        (named("/vault/audit/a-b_1"), Taken),
        (named("/vault/audit/../data/a"), Refused(plain)),
        (named("/vault/audit/a/b"), Refused(plain)),
        (named("/vault/audit/.a"), Refused(plain)),
        (named("/vault/audit/"), Refused(plain)),
        (named("/vault/audit/audit.log.1"), Refused(plain)),
        (named("/vault/data/a"), Refused(plain)),
        (
            audited(
                &json!({ "size": "10Gi" }),
                &json!([{ "path": "a", "stdout": {} }]),
            ),
            Taken,
        ),
        (
            audited(
                &json!({ "size": "10GB" }),
                &json!([{ "path": "a", "stdout": {} }]),
            ),
            Refused("spec.auditVolume.size must be a size such as 10Gi"),
        ),
        (rotated("maxSize", json!("128Mi")), Taken),
        (rotated("maxSize", json!("129Mi")), Refused(room)),
        (rotated("keep", json!(7)), Refused(room)),
        (rotated("keep", json!(1)), Taken),
        (
            rotated("keep", json!(0)),
            Refused("should be greater than or equal to 1"),
        ),
        (
            rotated("keep", json!(101)),
            Refused("should be less than or equal to 100"),
        ),
        (
            rotated("maxSize", json!("128MB")),
            Refused("rotate.maxSize must be a size such as 100Mi"),
        ),
        (
            rotated("maxSize", json!("0Mi")),
            Refused("rotate.maxSize must be a size such as 100Mi"),
        ),
        (two("1400Mi"), Taken),
        (two("1399Mi"), Refused(room)),
        (syslog(json!({ "syslogSocket": "/dev/log" })), Taken),
        (
            syslog(json!({})),
            Refused("holds a syslog device, which needs spec.pod.syslogSocket"),
        ),
        (socket("/run/systemd/journal/dev-log"), Taken),
        (socket("/var/run/syslog"), Taken),
        (socket("/run/containerd/containerd.sock"), Refused(other_socket)),
        (socket("/run/../dev/log"), Refused(other_socket)),
        (socket("dev/log"), Refused(other_socket)),
        (socket("/dev/xlog"), Refused(other_socket)),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}

#[tokio::test]
pub(super) async fn the_volume_comes_at_creation_and_may_grow_and_its_rotation_may_change() {
    let fixed = "spec.auditVolume can be set at creation only";
    let volume = |volume: Value| json!({ "spec": { "auditVolume": volume } });
    let resource = ApiResource::erase::<VaultCluster>(&());
    let mut without = cluster();
    merge(&mut without, &json!({ "spec": { "paused": true } }));
    let cases = vec![
        (
            json!({ "spec": { "pod": { "syslogSocket": "/dev/log" } } }),
            Taken,
        ),
        (volume(json!({ "size": "10Gi" })), Refused(fixed)),
    ];
    check_updates(&resource, &without, cases).await;
    let log = |keep: u32| json!([{ "path": "log", "file": { "path": "/vault/audit/a.log", "rotate": { "keep": keep } } }]);
    let mut with = without;
    merge(&mut with, &audited(&json!({ "size": "10Gi" }), &log(3)));
    let cases = vec![
        (volume(json!({ "size": "10Gi" })), Taken),
        (volume(json!({ "size": "20Gi" })), Taken),
        (
            volume(json!({ "size": "9Gi" })),
            Refused("spec.auditVolume.size cannot be lowered"),
        ),
        (
            volume(json!({ "storageClassName": "other" })),
            Refused("spec.auditVolume.storageClassName cannot be changed"),
        ),
        (
            audited(&json!(null), &json!([{ "path": "out", "stdout": {} }])),
            Refused(fixed),
        ),
        (json!({ "spec": { "configuration": { "audit": log(4) } } }), Taken),
    ];
    check_updates(&resource, &with, cases).await;
}
