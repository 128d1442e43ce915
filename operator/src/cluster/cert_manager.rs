//! Asks cert-manager for the members' certificate: a Certificate, applied as an object whose kind may be unknown.

use std::collections::BTreeSet;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch};
use serde_json::{Value, json};
use tokio::time::Instant;
use vaultkeeper_crds::cluster::IssuerRef;
use vaultkeeper_crds::names;

use super::error::Error;
use super::validate::Validated;
use super::{apply, build, patch_params, tls};
use crate::context::Context;
use crate::controllers::hash;

fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"))
}

/// Applies the Certificate, unless that was done lately.
pub(super) async fn ask(ctx: &Context, cluster: &Validated, issuer: &IssuerRef) -> Result<(), Error> {
    let wanted = certificate(cluster, issuer);
    let key = format!("{}/apply/Certificate", cluster.uid);
    let fingerprint = hash(&wanted.to_string());
    if ctx
        .recent
        .is_fresh(&key, fingerprint, apply::REPEAT, Instant::now())
    {
        return Ok(());
    }
    let name = names::tls_secret(&cluster.name);
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &cluster.namespace, &resource());
    // Without its definition the API server knows no such path, whatever the name.
    let explain = |step| {
        move |error| match error {
            kube::Error::Api(status) if status.code == 404 => Error::NoCertManager,
            error => Error::kubernetes(step, error),
        }
    };
    let found = api.get_opt(&name).await;
    let found = found.map_err(explain("look for an object before applying it"))?;
    if found.is_some_and(|found| !apply::is_owned_by(&found, &cluster.uid)) {
        return Err(Error::NotOurs {
            kind: "Certificate",
            name,
        });
    }
    api.patch(&name, &patch_params().force(), &Patch::Apply(&wanted))
        .await
        .map_err(explain("apply the Certificate"))?;
    ctx.recent.mark(key, fingerprint, Instant::now());
    Ok(())
}

/// The Certificate. Its key is made anew with each renewal.
fn certificate(cluster: &Validated, issuer: &IssuerRef) -> Value {
    let IssuerRef { name, kind, group } = issuer;
    let mut dns_names: BTreeSet<String> = tls::dns_names(cluster).into_iter().collect();
    // Issuers outside of the Kubernetes cluster refuse names without a dot; the required ones have some.
    dns_names.retain(|name| name.contains('.') || name == "localhost");
    let secret = names::tls_secret(&cluster.name);
    json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": build::metadata(cluster, secret.clone()),
        "spec": {
            "secretName": secret,
            "dnsNames": dns_names,
            "ipAddresses": ["127.0.0.1", "::1"],
            "duration": format!("{}m0s", cluster.tls.lifetime.as_secs() / 60),
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
            "issuerRef": {"name": name, "kind": kind, "group": group},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::validate::{CertificateSource, tests::cluster, validate};
    use super::*;

    #[test]
    fn cert_manager_is_asked_for_every_name_that_is_required() {
        let spec = "  tls: {certManager: {issuerRef: {name: corp, kind: ClusterIssuer}, extraDnsNames: [v.example.test]}}";
        let v = validate(&cluster(spec)).unwrap();
        let CertificateSource::CertManager(issuer) = &v.tls.source else {
            panic!("the source should be cert-manager: {:?}", v.tls)
        };
        let asked = certificate(&v, issuer);
        assert_eq!(asked["metadata"]["name"], "main-tls");
        assert_eq!(
            asked["metadata"]["ownerReferences"][0]["uid"], "u-1",
            "it goes with the cluster"
        );
        let spec = &asked["spec"];
        assert_eq!(spec["secretName"], "main-tls");
        assert_eq!(spec["duration"], "129600m0s", "90 days");
        assert_eq!(spec["issuerRef"]["kind"], "ClusterIssuer");
        let names: Vec<&str> = spec["dnsNames"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for wanted in [
            "main.vault.svc",
            "*.main-internal.vault.svc",
            "v.example.test",
            "localhost",
        ] {
            assert!(names.contains(&wanted), "{wanted} is missing in {names:?}");
        }
        assert!(!names.contains(&"main"), "a bare name: {names:?}");
    }
}
