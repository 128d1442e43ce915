//! A custodian whose key cannot be read: the API server cannot know, so the operator says it before anything is begun.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use vaultkeeper_tests::points::Points;

use super::custody::seal;
use super::gpg::Keyring;
use super::stage::{Stage, condition, reason};

#[tokio::test]
async fn a_key_that_cannot_be_read_is_refused_by_its_custodians_name_and_nothing_is_begun() {
    let people = ["alice", "bob"];
    let ring = Keyring::of(&people).unwrap();
    let good = seal(&ring, &people, 2).unwrap();
    let mut bad = good.clone();
    bad["shamir"]["custodians"][1]["pgpKey"] = json!("nonsense");
    let stage = Stage::new().await.unwrap();
    stage
        .create_cluster_with(1, json!({ "seal": bad }))
        .await
        .expect("the API server cannot read a PGP key");
    let points = Points::record();
    let operator = stage.start_operator(&points);
    let cluster = stage
        .until("the key to be refused", |c| {
            reason(c, "Accepted") == "InvalidSpec"
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Accepted").unwrap().message;
    assert!(
        said.contains("spec.seal.shamir.custodians") && said.contains("the pgpKey of bob"),
        "the field and the person are named: {said}"
    );
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(
        sets.list(&ListParams::default()).await.unwrap().items.is_empty(),
        "no member is started with it"
    );
    assert!(
        stage.keys().await.unwrap().is_none(),
        "nor is an initialisation begun: {:?}",
        points.seen()
    );

    let body = json!({"spec": {"seal": good}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
    stage
        .until("the corrected key to be taken", |c| {
            reason(c, "Accepted") == "Valid"
        })
        .await
        .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
