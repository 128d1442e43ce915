//! What a VaultCluster may say of its certificate: each rule with a spec that it refuses and the neighbour that it takes.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::{Refused, Taken, check, check_updates, cluster};

fn tls(tls: Value) -> Value {
    json!({"spec": {"tls": tls}})
}

fn managed(field: &str, value: &Value) -> Value {
    tls(json!({"managed": {field: value}}))
}

fn issuer(field: &str, value: &str) -> Value {
    let mut issuer = json!({"name": "corp"});
    issuer[field] = json!(value);
    tls(json!({"certManager": {"issuerRef": issuer}}))
}

fn asked(field: &str, value: &Value) -> Value {
    tls(json!({"certManager": {"issuerRef": {"name": "corp"}, field: value}}))
}

fn name(name: &str) -> Value {
    tls(json!({"secretName": name}))
}

#[tokio::test]
pub(super) async fn a_certificate_has_exactly_one_source_and_each_only_what_can_work() {
    let one_source =
        || Refused("spec.tls must name exactly one known source: managed, certManager or secretName");
    let life = || Refused("spec.tls.managed.certificateLifetime must be a duration from 1h to 9600h");
    let overlap = || Refused("spec.tls.managed.caOverlap must be a duration of at most 720h");
    let asked_life =
        || Refused("spec.tls.certManager.certificateLifetime must be a duration from 1h to 9600h");
    let asked_names = || Refused("spec.tls.certManager.extraDnsNames must be DNS names");
    let extra = |name: &str| managed("extraDnsNames", &json!([name]));
    let asked_extra = |name: &str| asked("extraDnsNames", &json!([name]));
    let cases = vec![
        (tls(json!({"managed": {}})), Taken),
        (tls(json!({"none": {}})), one_source()),
        (tls(json!({"managed": {}, "secretName": "bought"})), one_source()),
        (
            tls(json!({"certManager": {"issuerRef": {"name": "corp"}}, "secretName": "bought"})),
            one_source(),
        ),
        (
            tls(json!({"certManager": {"issuerRef": {"name": "corp"}}})),
            Taken,
        ),
        (name("bought"), Taken),
        (
            name("Bought"),
            Refused("spec.tls.secretName must be the name of a Secret"),
        ),
        (name("vault-keys-of-mine"), Taken),
        (
            name("vault-keys.prod.main"),
            Refused("spec.tls.secretName must not be that of a Secret in which the operator keeps keys"),
        ),
        (
            name("vault-ca.prod.main"),
            Refused("spec.tls.secretName must not be that of a Secret in which the operator keeps keys"),
        ),
        (extra("vault.example.com"), Taken),
        (extra("*.example.com"), Taken),
        (
            extra("vault_example"),
            Refused("spec.tls.managed.extraDnsNames must be DNS names"),
        ),
        (
            extra("10.0.0.1"),
            Refused("spec.tls.managed.extraDnsNames must not hold IP addresses"),
        ),
        (extra("10.0.0.1a"), Taken),
        (managed("certificateLifetime", &json!("1h")), Taken),
        (managed("certificateLifetime", &json!("59m")), life()),
        (managed("certificateLifetime", &json!("9600h")), Taken),
        (managed("certificateLifetime", &json!("9601h")), life()),
        (managed("certificateLifetime", &json!("90d")), life()),
        (managed("caOverlap", &json!("720h")), Taken),
        (managed("caOverlap", &json!("721h")), overlap()),
        (managed("caOverlap", &json!("0s")), Taken),
        (managed("caOverlap", &json!("1d")), overlap()),
        (asked("certificateLifetime", &json!("1h")), Taken),
        (asked("certificateLifetime", &json!("59m")), asked_life()),
        (asked_extra("vault.example.com"), Taken),
        (asked_extra("vault_example"), asked_names()),
        (asked_extra("10.0.0.1"), asked_names()),
        (issuer("name", "corp-ca"), Taken),
        (
            issuer("name", "Corp"),
            Refused("issuerRef.name must be the name of an issuer"),
        ),
        (issuer("kind", "ClusterIssuer"), Taken),
        (
            issuer("kind", "cluster-issuer"),
            Refused("issuerRef.kind must be a kind"),
        ),
        (issuer("group", "awspca.cert-manager.io"), Taken),
        (
            issuer("group", "AWS"),
            Refused("issuerRef.group must be an API group"),
        ),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}

#[tokio::test]
pub(super) async fn the_operators_ca_is_neither_left_nor_taken_up_and_other_sources_may_change() {
    let resource = ApiResource::erase::<VaultCluster>(&());
    let fixed = || Refused("spec.tls cannot be changed from or to managed yet");
    let to_secret = json!({"spec": {"tls": {"managed": null, "certManager": null, "secretName": "bought"}}});
    let mut own = cluster();
    own["spec"]["tls"] = json!({"managed": {}});
    // The operator of this tier's other tests must not work on it.
    own["spec"]["paused"] = json!(true);
    let cases = vec![
        (managed("extraDnsNames", &json!(["vault.example.com"])), Taken),
        (to_secret.clone(), fixed()),
    ];
    check_updates(&resource, &own, cases).await;
    let mut theirs = cluster();
    theirs["spec"]["tls"] = json!({"certManager": {"issuerRef": {"name": "corp"}}});
    theirs["spec"]["paused"] = json!(true);
    let cases = vec![
        (to_secret, Taken),
        (
            json!({"spec": {"tls": {"certManager": null, "managed": {}}}}),
            fixed(),
        ),
    ];
    check_updates(&resource, &theirs, cases).await;
}
