//! Specs of a Vault that runs elsewhere.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::Expect::{Refused, Taken};
use super::seals::custodian;
use super::{check, check_updates, cluster, merge};

/// The smallest spec of a Vault that runs elsewhere.
fn elsewhere() -> Value {
    json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": { "name": "main" },
        "spec": {
            "version": "1.21.1",
            "external": { "address": "https://vault.test:8200", "ca": { "secret": { "name": "a", "key": "ca.crt" } } },
        },
    })
}

#[tokio::test]
pub(super) async fn a_vault_elsewhere_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken() {
    let spec = |spec: Value| json!({ "spec": spec });
    let external = |external: Value| json!({ "spec": { "external": external } });
    let address = |address: &str| external(json!({ "address": address }));
    let login = |login: Value| external(json!({ "kubernetesAuth": login }));
    let config_map = |name: &str, key: &str| {
        external(json!({ "ca": { "secret": null, "configMap": { "name": name, "key": key } } }))
    };
    let bundle = |bundle: &str| external(json!({ "ca": { "secret": null, "bundle": bundle } }));
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let method = |path: &str| json!({ "spec": { "configuration": { "authMethods": [{ "path": path, "type": "kubernetes" }] } } });
    let url = "spec.external.address must be a URL";
    let servers = "spec.replicas, image, standbyReads, deletionPolicy and auditVolume do not go";
    let people: Vec<Value> = ["ana", "bob", "cid", "dan", "eva"].map(custodian).into();
    let tls = "spec.tls does not go with spec.external";
    let pod = "spec.pod does not go with spec.external";
    let network = "spec.networkPolicy, readiness and serverConfig do not go with spec.external";
    let monitoring = "spec.monitoring does not go with spec.external, whose servers somebody else runs";
    let enterprise = json!({ "external": { "namespace": "team/shop" }, "version": "1.21.1+ent" });
    let cases = vec![
        (json!({}), Taken),
        (address("https://vault.test"), Taken),
        (address("https://[fd00::1]:8200"), Taken),
        (address("https://10.0.0.1:65535"), Taken),
        (address("https://VAULT.test"), Taken),
        (
            address("https://[fd00::1::2]:8200"),
            Refused("spec.external.address must hold an IPv6 address"),
        ),
        (address("https://vault.test:65536"), Refused(url)),
        (address("https://vault.test:0"), Refused(url)),
        (address("https://vault.test."), Refused(url)),
        (address("https://vault..test"), Refused(url)),
        (address("https://127.1"), Refused(url)),
        (address("https://2130706433"), Refused(url)),
        (address("https://0x7f.1"), Refused(url)),
        (address("https://10.0.0.256"), Refused(url)),
        (address("https://vault.test#@evil.org"), Refused(url)),
        (address("https://vault.test?x"), Refused(url)),
        (address("https://vault.test\n"), Refused(url)),
        (
            address("http://vault.test:8200"),
            Refused("spec.external.address must be a URL such as https://vault.example.com:8200"),
        ),
        (
            address("https://vault.test:8200/v1"),
            Refused("spec.external.address must be a URL"),
        ),
        (
            address("https://user@vault.test"),
            Refused("spec.external.address must be a URL"),
        ),
        (
            external(json!({ "ca": { "secret": null } })),
            Refused("ca must hold exactly one of bundle, secret and configMap"),
        ),
        (
            external(json!({ "ca": { "bundle": pem } })),
            Refused("ca must hold exactly one of"),
        ),
        (bundle(pem), Taken),
        (
            bundle("-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n"),
            Refused("spec.external.ca.bundle"),
        ),
        (config_map("a", "ca.crt"), Taken),
        (
            config_map("A", "ca.crt"),
            Refused("ca.configMap.name must be the name of a ConfigMap"),
        ),
        (
            config_map("a", "ca/crt"),
            Refused("ca.configMap.key must be a key of that ConfigMap"),
        ),
        (
            external(json!({ "ca": { "secret": { "name": "vault-keys.a.b" } } })),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (
            login(json!({ "path": "clusters/prod", "role": "operator-prod" })),
            Taken,
        ),
        (
            login(json!({ "role": "operator.prod" })),
            Refused("spec.external.kubernetesAuth.role must be the name of a role"),
        ),
        (
            login(json!({ "path": "approle" })),
            Refused("spec.external.kubernetesAuth.path must be a mount path such as kubernetes"),
        ),
        (
            login(json!({ "path": "/kubernetes" })),
            Refused("spec.external.kubernetesAuth.path must be a mount path such as kubernetes"),
        ),
        (
            login(json!({ "role": "Operator" })),
            Refused("spec.external.kubernetesAuth.role must be the name of a role"),
        ),
        (spec(enterprise), Taken),
        (
            external(json!({ "namespace": "team/shop" })),
            Refused("spec.external.namespace needs distribution OpenBao or Vault Enterprise"),
        ),
        (
            spec(json!({ "external": { "namespace": "team shop" }, "distribution": "OpenBao" })),
            Refused("spec.external.namespace must be a path of namespaces"),
        ),
        (
            spec(json!({ "external": { "namespace": "team" }, "distribution": "OpenBao" })),
            Taken,
        ),
        (
            spec(json!({ "storage": { "raft": {} } })),
            Refused("spec.storage does not go with spec.external"),
        ),
        (
            spec(json!({ "seal": { "shamir": { "shares": 3, "threshold": 2 } } })),
            Refused("spec.seal does not go with spec.external"),
        ),
        (spec(json!({ "replicas": 5 })), Refused(servers)),
        (spec(json!({ "image": "vault" })), Refused(servers)),
        (spec(json!({ "deletionPolicy": "Delete" })), Refused(servers)),
        (
            spec(json!({ "standbyReads": true, "distribution": "OpenBao" })),
            Refused(servers),
        ),
        (
            spec(json!({ "seal": { "shamir": { "shares": 5, "threshold": 3, "custodians": people } } })),
            Refused("spec.seal does not go with spec.external"),
        ),
        (
            spec(json!({ "tls": { "managed": { "caOverlap": "24h" } } })),
            Taken,
        ),
        (
            spec(json!({ "tls": { "managed": { "caOverlap": "48h" } } })),
            Refused(tls),
        ),
        (
            spec(json!({ "tls": { "managed": { "certificateLifetime": "48h" } } })),
            Refused(tls),
        ),
        (
            spec(json!({ "tls": { "managed": { "extraDnsNames": ["a.test"] } } })),
            Refused(tls),
        ),
        (
            spec(json!({ "tls": { "managed": null, "secretName": "a" } })),
            Refused(tls),
        ),
        (spec(json!({ "auditVolume": {} })), Refused(servers)),
        (spec(json!({ "pod": {} })), Taken),
        (
            spec(json!({ "pod": { "syslogSocket": "/dev/log" } })),
            Refused(pod),
        ),
        (
            spec(json!({ "pod": { "spread": { "hosts": "Off" } } })),
            Refused(pod),
        ),
        (
            spec(json!({ "pod": { "spread": { "zones": "Off" } } })),
            Refused(pod),
        ),
        (
            spec(json!({ "pod": { "resources": { "requests": { "cpu": "1" } } } })),
            Refused(pod),
        ),
        (spec(json!({ "pod": { "affinity": {} } })), Refused(pod)),
        (
            spec(json!({ "pod": { "tolerations": [{ "operator": "Exists" }] } })),
            Refused(pod),
        ),
        (
            spec(json!({ "pod": { "nodeSelector": { "a": "b" } } })),
            Refused(pod),
        ),
        (spec(json!({ "pod": { "priorityClassName": "a" } })), Refused(pod)),
        (
            spec(json!({ "pod": { "imagePullSecrets": ["a"] } })),
            Refused(pod),
        ),
        (spec(json!({ "pod": { "labels": { "a": "b" } } })), Refused(pod)),
        (
            spec(json!({ "pod": { "annotations": { "a": "b" } } })),
            Refused(pod),
        ),
        (
            spec(json!({ "pod": { "serviceAccount": { "annotations": { "a": "b" } } } })),
            Refused(pod),
        ),
        (
            spec(json!({ "networkPolicy": { "enabled": true } })),
            Refused(network),
        ),
        (
            spec(json!({ "networkPolicy": { "clients": [{ "namespace": "a" }] } })),
            Refused(network),
        ),
        (
            spec(json!({ "networkPolicy": { "prometheus": [{ "namespace": "a" }] } })),
            Refused(network),
        ),
        (
            spec(json!({ "networkPolicy": { "egress": [{ "to": [{ "namespace": "a" }] }] } })),
            Refused(network),
        ),
        (
            spec(json!({ "readiness": { "waivers": [{ "rule": "MFA", "reason": "a" }] } })),
            Refused(network),
        ),
        (
            spec(json!({ "serverConfig": { "max_lease_ttl": "1h" } })),
            Refused(network),
        ),
        (
            spec(json!({ "monitoring": { "enabled": true } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "interval": "1m" } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "labels": { "a": "b" } } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "alerts": { "enabled": true } } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "alerts": { "labels": { "a": "b" } } } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "alerts": { "tokenCreationFactor": 3 } } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "alerts": { "tokenCreationMinimum": 3 } } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "alerts": { "maxLeases": 300 } } })),
            Refused(monitoring),
        ),
        (
            spec(json!({ "monitoring": { "alerts": { "maxBackupAge": "1h" } } })),
            Refused(monitoring),
        ),
        (method("other"), Taken),
        (
            method("kubernetes"),
            Refused("spec.configuration.authMethods must not hold spec.external.kubernetesAuth.path"),
        ),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &elsewhere(), cases).await;
    check(
        &ApiResource::erase::<VaultCluster>(&()),
        &cluster(),
        vec![(
            json!({ "spec": { "storage": null } }),
            Refused("spec.storage must name exactly one known backend: raft, consul or ephemeral"),
        )],
    )
    .await;
}

#[tokio::test]
pub(super) async fn where_a_vault_runs_cannot_be_changed_later_and_its_address_can() {
    let mut paused = elsewhere();
    // The operator of this tier's other tests must not work on it.
    merge(&mut paused, &json!({ "spec": { "paused": true } }));
    let cases = vec![
        (
            json!({ "spec": { "external": { "address": "https://vault2.test:8200" } } }),
            Taken,
        ),
        (
            json!({ "spec": { "external": null, "storage": { "raft": {} } } }),
            Refused("spec.external can be neither added nor removed"),
        ),
    ];
    check_updates(&ApiResource::erase::<VaultCluster>(&()), &paused, cases).await;
}
