//! A certificate in a Secret of the user's, or from cert-manager: checked, taken up, and reported when it fails.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessState};
use vaultkeeper_crds::names;
use vaultkeeper_operator::cluster::tls::certificate::examine;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::certificates::{shown, until_current};
use super::stage::{DEADLINE, Stage, change, condition, reason};

const CURRENT: &str = "CertificateCurrent";
/// The real definition, for which no cert-manager runs here.
const CERT_MANAGER: &str = include_str!("data/cert-manager-certificates.yaml");

fn own_names(stage: &Stage) -> Vec<String> {
    let ns = &stage.namespace;
    let services = ["main", "main-active", "main-standby", "*.main-internal"];
    let mut all: Vec<String> = services.iter().map(|name| format!("{name}.{ns}.svc")).collect();
    all.push("localhost".to_owned());
    all
}

/// Writes the Secret as its owner would, with a certificate of a CA made for it, and returns the serial.
pub(super) async fn give(stage: &Stage, secret: &str, not_after: Option<SystemTime>) -> String {
    give_with(stage, secret, &own_names(stage), not_after).await
}

async fn give_with(stage: &Stage, secret: &str, names: &[String], not_after: Option<SystemTime>) -> String {
    let ca = Ca::new("corp").unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pair = ca.server_until("vault", &names, not_after).unwrap();
    let body = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": secret},
        "stringData": {"tls.crt": pair.cert_pem, "tls.key": pair.key_pem, names::CA_KEY: ca.cert_pem()},
    });
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let params = PatchParams::apply("owner-of-the-certificate").force();
    secrets
        .patch(secret, &params, &Patch::Apply(&body))
        .await
        .unwrap();
    examine(&pair.cert_pem).unwrap().serial
}

async fn until_told(stage: &Stage, reason_: &str, word: &str) {
    stage
        .until(&format!("the certificate to be {reason_}"), |c| {
            reason(c, CURRENT) == reason_
                && condition(c, CURRENT).is_some_and(|c| c.status == "False" && c.message.contains(word))
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_checked_taken_up_and_told_when_it_expires() {
    let stage = Stage::new().await.unwrap();
    let own = json!({"tls": {"secretName": "bought"}});
    stage.create_cluster_with(1, own).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    until_told(&stage, "CertificateMissing", "bought").await;

    let mut few = own_names(&stage);
    few.retain(|name| !name.starts_with("main-standby"));
    give_with(&stage, "bought", &few, None).await;
    until_told(&stage, "CertificateUnusable", "without the name main-standby").await;

    let first = give(&stage, "bought", None).await;
    assert_eq!(until_current(&stage, None).await, first);
    stage.until_available().await.unwrap();

    // Its owner renews it, with another CA at once, and the server takes it up. The status tells of the old one until then.
    let second = give(&stage, "bought", None).await;
    assert_eq!(until_current(&stage, Some(&first)).await, second);
    assert_eq!(shown(&stage, 0).await.serial, second);
    stage.until_available().await.unwrap();
    let kept: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    wait::until_async("the former CA to be trusted no more", DEADLINE, async || {
        let secret = kept.get(&names::ca_secret(&stage.namespace, "main")).await?;
        let keys: Vec<String> = secret.data.unwrap_or_default().into_keys().collect();
        if keys != ["trust.crt"] {
            bail!("the copy holds {keys:?}");
        }
        Ok(())
    })
    .await
    .unwrap();

    let soon = SystemTime::now() + Duration::from_secs(45);
    let third = give(&stage, "bought", Some(soon)).await;
    assert_eq!(
        until_current(&stage, Some(&second)).await,
        third,
        "good for a few seconds"
    );
    until_told(&stage, "Expired", "shown by main-0 (since ").await;
    stage
        .until("the rule on certificates to fall", |c| {
            let rules = c.status.iter().flat_map(|status| &status.readiness_rules);
            rules
                .into_iter()
                .any(|row| row.rule == ReadinessRule::Tls && row.state == ReadinessState::Failed)
        })
        .await
        .unwrap();

    let fourth = give(&stage, "bought", None).await;
    assert_eq!(until_current(&stage, Some(&third)).await, fourth);
    stage.until_available().await.unwrap();

    // Another Secret that is not there yet: a member that dies meanwhile must come back.
    change(&stage, json!({"tls": {"secretName": "another"}})).await;
    until_told(&stage, "CertificateMissing", "another").await;
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let mounted = async || {
        let set = sets.get("main").await.unwrap();
        let volumes = set.spec.unwrap().template.spec.unwrap().volumes.unwrap();
        let secrets = volumes
            .into_iter()
            .filter_map(|volume| volume.secret?.secret_name);
        secrets.collect::<Vec<_>>()
    };
    assert_eq!(mounted().await, ["bought"], "the one that serves");
    let fifth = give(&stage, "another", None).await;
    assert_eq!(until_current(&stage, Some(&fourth)).await, fifth);
    assert_eq!(mounted().await, ["another"]);
    stage.until_available().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn cert_manager_is_asked_and_what_it_issues_is_used() {
    let stage = Stage::new().await.unwrap();
    let asked = json!({"tls": {"certManager": {
        "issuerRef": {"name": "corp", "kind": "ClusterIssuer"}, "extraDnsNames": ["vault.example.com"],
    }}});
    stage.create_cluster_with(1, asked).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    until_told(&stage, "CertManagerMissing", "install cert-manager").await;

    // Its definition is installed.
    let crd: CustomResourceDefinition = serde_yaml::from_str(CERT_MANAGER).unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    crds.create(&PostParams::default(), &crd).await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"));
    let certificates: Api<DynamicObject> =
        Api::namespaced_with(stage.client.clone(), &stage.namespace, &kind);
    let certificate = wait::until_async("the Certificate", DEADLINE, async || {
        Ok(certificates.get("main-tls").await?)
    })
    .await
    .unwrap();
    let spec = &certificate.data["spec"];
    assert_eq!(spec["secretName"], "main-tls");
    assert_eq!(spec["issuerRef"]["kind"], "ClusterIssuer");
    let wanted: Vec<String> = spec["dnsNames"]
        .as_array()
        .context("names")
        .unwrap()
        .iter()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    assert!(wanted.contains(&"vault.example.com".to_owned()), "{wanted:?}");
    until_told(&stage, "CertificateMissing", "main-tls").await;

    // What cert-manager would do: sign exactly what was asked for.
    let serial = give_with(&stage, "main-tls", &wanted, None).await;
    assert_eq!(until_current(&stage, None).await, serial);
    stage.until_available().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
