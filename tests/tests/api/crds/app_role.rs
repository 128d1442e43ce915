//! AppRole logins and their rotation, as the API server judges them.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultRole;

use super::{Refused, Taken, check, check_updates, role};

fn with(app_role: Value) -> Value {
    json!({ "spec": { "appRole": app_role } })
}

fn rotation(rotation: Value) -> Value {
    with(json!({ "secretIdTtl": "24h", "rotation": rotation }))
}

fn shape(secret: Value) -> Value {
    with(json!({ "secret": secret }))
}

fn keys(keys: Value) -> Value {
    shape(json!({ "keys": keys }))
}

#[tokio::test]
pub(super) async fn an_app_role_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken() {
    let blocks = |blocks: Value| with(json!({ "secretIdBoundCidrs": blocks }));
    let unbound = |more: Value| {
        let mut fields = json!({ "bindSecretId": false, "secretIdBoundCidrs": ["10.0.0.0/8"] });
        super::merge(&mut fields, &more);
        with(fields)
    };
    let cases = vec![
        (with(json!({ "roleId": "shop-app.1" })), Taken),
        (
            with(json!({ "roleId": "shop app" })),
            Refused("spec.appRole.roleId may hold only letters, digits and - _ ."),
        ),
        (with(json!({ "secretIdTtl": "24h" })), Taken),
        (
            with(json!({ "secretIdTtl": "1w" })),
            Refused("spec.appRole.secretIdTtl must be a duration such as 24h"),
        ),
        (with(json!({ "secretIdTtl": "30s" })), Taken),
        (
            with(json!({ "secretIdTtl": "29s" })),
            Refused("spec.appRole.secretIdTtl must be at least 30s"),
        ),
        (with(json!({ "secretIdNumUses": 1 })), Taken),
        (
            with(json!({ "secretIdNumUses": 0 })),
            Refused("should be greater than or equal to 1"),
        ),
        (blocks(json!(["10.0.0.0/8", "fd00::/8"])), Taken),
        (
            blocks(json!(["300.0.0.0/8"])),
            Refused(
                "each of spec.appRole.secretIdBoundCidrs must be a block of addresses such as 10.0.0.0/8",
            ),
        ),
        (
            blocks(json!(["10.0.0.0"])),
            Refused("each of spec.appRole.secretIdBoundCidrs must be a block of addresses"),
        ),
        (unbound(json!({})), Taken),
        (
            unbound(json!({ "secretIdBoundCidrs": [] })),
            Refused("spec.appRole.bindSecretId may be false only with secretIdBoundCidrs"),
        ),
        (
            unbound(json!({ "secretIdTtl": "24h" })),
            Refused("spec.appRole without a secret-id (bindSecretId: false) cannot have secretIdTtl"),
        ),
        (
            unbound(json!({ "secretIdNumUses": 3 })),
            Refused("spec.appRole without a secret-id (bindSecretId: false) cannot have"),
        ),
        (
            unbound(json!({ "rotation": { "every": "1h" } })),
            Refused("spec.appRole without a secret-id (bindSecretId: false) cannot have"),
        ),
        (
            unbound(json!({ "wrap": {} })),
            Refused("spec.appRole without a secret-id (bindSecretId: false) cannot have"),
        ),
        (with(json!({ "wrap": { "ttl": "30m" } })), Taken),
        (
            with(json!({ "wrap": { "ttl": "30" } })),
            Refused("spec.appRole.wrap.ttl must be a duration such as 30m"),
        ),
        (with(json!({ "wrap": { "ttl": "10s" } })), Taken),
        (
            with(json!({ "wrap": { "ttl": "9s" } })),
            Refused("spec.appRole.wrap.ttl must be at least 10s"),
        ),
        (
            with(json!({ "wrap": { "ttl": "23h59m" }, "secretIdTtl": "1d" })),
            Taken,
        ),
        (
            with(json!({ "wrap": { "ttl": "24h" }, "secretIdTtl": "1d" })),
            Refused("spec.appRole.wrap.ttl must be shorter than secretIdTtl"),
        ),
        (rotation(json!({ "every": "12h", "overlap": "0s" })), Taken),
        (
            rotation(json!({ "every": "12" })),
            Refused("spec.appRole.rotation.every must be a duration such as 12h"),
        ),
        (rotation(json!({ "every": "10s" })), Taken),
        (
            rotation(json!({ "every": "9s" })),
            Refused("spec.appRole.rotation.every must be at least 10s"),
        ),
        (rotation(json!({ "every": "23h59m" })), Taken),
        (
            rotation(json!({ "every": "1d" })),
            Refused("spec.appRole.rotation.every must be shorter than secretIdTtl"),
        ),
        (rotation(json!({ "every": "12h", "overlap": "11h59m" })), Taken),
        (
            rotation(json!({ "every": "12h", "overlap": "12h" })),
            Refused("spec.appRole.rotation.overlap must be shorter than every"),
        ),
        (
            rotation(json!({ "overlap": "half" })),
            Refused("spec.appRole.rotation.overlap must be a duration such as 30m"),
        ),
        (rotation(json!({ "afterPercentOfTtl": 50 })), Taken),
        (
            rotation(json!({ "afterPercentOfTtl": 91 })),
            Refused("should be less than or equal to 90"),
        ),
        (
            rotation(json!({ "afterPercentOfTtl": 50, "every": "1h" })),
            Refused("spec.appRole.rotation must hold every or afterPercentOfTtl, not both"),
        ),
        (
            with(json!({ "rotation": { "afterPercentOfTtl": 50 } })),
            Refused("spec.appRole.rotation.afterPercentOfTtl needs secretIdTtl"),
        ),
        (with(json!({ "rotation": { "every": "1h" } })), Taken),
        (
            rotation(json!({ "restartTargets": [{ "kind": "DaemonSet", "name": "app" }] })),
            Taken,
        ),
        (
            rotation(json!({ "restartTargets": [{ "kind": "Deployment", "name": "*" }] })),
            Refused("spec.appRole.rotation.restartTargets must be names of workloads"),
        ),
        (
            rotation(json!({ "restartTargets": [{ "kind": "Job", "name": "app" }] })),
            Refused("Unsupported value: \"Job\""),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

#[tokio::test]
pub(super) async fn a_secret_that_is_not_to_look_like_this_is_refused_in_words_and_its_neighbour_is_taken() {
    let type_ = |type_: &str| shape(json!({ "type": type_ }));
    let free = "spec.appRole.secret.type must be Opaque or a type with a domain of your own";
    let cases = vec![
        (type_("example.com/vault"), Taken),
        (type_("my-kubernetes.io/vault"), Taken),
        (type_("opaque"), Refused(free)),
        (type_("kubernetes.io/service-account-token"), Refused(free)),
        (type_("bootstrap.kubernetes.io/token"), Refused(free)),
        (type_("helm.sh/release.v1"), Refused(free)),
        (shape(json!({ "labels": { "team": "a" } })), Taken),
        (
            shape(json!({ "labels": { "vaultkeeper.dev/role": "a" } })),
            Refused("spec.appRole.secret.labels must not hold labels that the operator sets"),
        ),
        (
            shape(json!({ "labels": { "app.kubernetes.io/managed-by": "a" } })),
            Refused("spec.appRole.secret.labels must not hold labels that the operator sets"),
        ),
        (
            shape(json!({ "annotations": { "example.com/note": "a" } })),
            Taken,
        ),
        (
            shape(json!({ "annotations": { "kubernetes.io/service-account.name": "a" } })),
            Refused("spec.appRole.secret.annotations must not start with vaultkeeper.dev/, kubernetes.io/"),
        ),
        (
            shape(json!({ "annotations": { "vaultkeeper.dev/credentials": "{}" } })),
            Refused("spec.appRole.secret.annotations must not start with"),
        ),
        (
            keys(json!({ "roleId": "A", "secretId": "B", "accessor": "C", "address": "D", "ca": "E" })),
            Taken,
        ),
        (
            keys(json!({ "roleId": "secret-id" })),
            Refused("spec.appRole.secret.keys must all be different"),
        ),
        (
            keys(json!({ "accessor": "a", "address": "a" })),
            Refused("spec.appRole.secret.keys must all be different"),
        ),
        (
            keys(json!({ "ca": "role-id" })),
            Refused("spec.appRole.secret.keys must all be different"),
        ),
        (
            keys(json!({ "wrappingToken": "wrapping-token-ttl" })),
            Refused("spec.appRole.secret.keys must all be different"),
        ),
        (
            keys(json!({ "wrappingToken": "a b" })),
            Refused("spec.appRole.secret.keys.wrappingToken may hold only letters"),
        ),
        (
            keys(json!({ "wrappingTtl": "a b" })),
            Refused("spec.appRole.secret.keys.wrappingTtl may hold only letters"),
        ),
        (
            keys(json!({ "wrappingPath": "a b" })),
            Refused("spec.appRole.secret.keys.wrappingPath may hold only letters"),
        ),
        (
            keys(json!({ "roleId": "a b" })),
            Refused("spec.appRole.secret.keys.roleId may hold only letters"),
        ),
        (
            keys(json!({ "secretId": "a b" })),
            Refused("spec.appRole.secret.keys.secretId may hold only letters"),
        ),
        (
            keys(json!({ "accessor": "a b" })),
            Refused("spec.appRole.secret.keys.accessor may hold only letters"),
        ),
        (
            keys(json!({ "address": "a b" })),
            Refused("spec.appRole.secret.keys.address may hold only letters"),
        ),
        (
            keys(json!({ "ca": "a b" })),
            Refused("spec.appRole.secret.keys.ca may hold only letters"),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

#[tokio::test]
pub(super) async fn what_vault_or_kubernetes_keeps_cannot_be_changed_later() {
    let cases = vec![
        (with(json!({ "secretIdTtl": "24h" })), Taken),
        (
            with(json!({ "localSecretIds": true })),
            Refused("spec.appRole.localSecretIds cannot be changed"),
        ),
        (
            shape(json!({ "type": "example.com/vault" })),
            Refused(
                "spec.appRole.secret.type cannot be changed, since Kubernetes keeps the type of a Secret",
            ),
        ),
        (
            with(json!({ "secretName": "another", "secret": { "type": "example.com/vault" } })),
            Taken,
        ),
    ];
    check_updates(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}
