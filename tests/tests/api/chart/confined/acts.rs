//! The operator's own acts, under its ServiceAccount, while the policies work: none may be refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_operator::cluster::build::volume_claim;
use vaultkeeper_operator::cluster::custody::{Attempt, Custody, Holder};
use vaultkeeper_operator::cluster::keys::{self, SealRecord, State};
use vaultkeeper_operator::cluster::readiness::Memory;
use vaultkeeper_operator::cluster::tls::rollover::{Phase, Step};
use vaultkeeper_operator::cluster::validate::{Validated, validate};
use vaultkeeper_operator::cluster::{key_store, states, tls_store};
use vaultkeeper_operator::connect::HttpsConnect;
use vaultkeeper_operator::context::{Context, HelperImage, KubernetesAuthEnvironment, Recent, Rules};
use vaultkeeper_operator::leader::{self, Elector, LeaseSettings};
use vaultkeeper_operator::members::{Member, Probe};
use vaultkeeper_operator::metrics::Metrics;
use vaultkeeper_operator::namespaces::Namespaces;
use vaultkeeper_operator::report::Reporter;
use vaultkeeper_operator::role::sweep::Sweep;
use vaultkeeper_operator::sessions::Sessions;
use vaultkeeper_vault::SecretString;

use super::super::NAMESPACE;
use super::super::installed::installed;
use super::{DEADLINE, Stage, ours, send};

/// A stage on which every policy is known to work.
pub(super) async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.furnish().await;
    for abuse in stage.by_operator() {
        stage.refuses(&stage.operator, &abuse).await;
    }
    stage
}

pub(super) fn context(client: &Client) -> Context {
    Context {
        reporter: Reporter::new(client.clone(), "test"),
        client: client.clone(),
        namespace: NAMESPACE.to_owned(),
        service_account: "keeper-operator".to_owned(),
        auth_environment: KubernetesAuthEnvironment::default(),
        helper: HelperImage::default(),
        vault: Arc::new(HttpsConnect),
        sessions: Sessions::default(),
        metrics: Arc::new(Metrics::new()),
        readiness: Memory::default(),
        recent: Recent::default(),
        namespaces: Namespaces::default(),
        sweep: Sweep::default(),
        rules: Rules::default(),
    }
}

pub(super) fn cluster(namespace: &str, app: &str) -> VaultCluster {
    serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": { "name": "main", "namespace": namespace, "uid": "not-yet" },
        "spec": {
            "version": "1.21.1", "replicas": 1, "profile": "Development", "deletionPolicy": "Delete",
            "storage": { "raft": { "size": "1Gi" } },
            "networkPolicy": { "enabled": true },
            // What of the node the operator may mount, and no more.
            "pod": { "syslogSocket": "/dev/log" }, "auditVolume": { "size": "1Gi" },
            "access": [{ "namespaces": [app], "pathPrefixes": ["secret/data/{{namespace}}/"] }],
        },
    }))
    .unwrap()
}

fn validated(namespace: &str) -> Validated {
    validate(&cluster(namespace, "app")).unwrap()
}

/// Every step that is written.
async fn a_ca_is_replaced(ctx: &Context, v: &Validated) {
    let now = Timestamp::now();
    let begin = || Step::Begin("a rehearsal".to_owned());
    for step in [begin(), Step::Note, Step::Promote, Step::Note, Step::Finish] {
        let ca = tls_store::ensure_ca(ctx, v).await.expect("the CA");
        let before = ca.authority.phase();
        if let Err(error) = tls_store::write_step(ctx, v, &ca, &step, now).await {
            panic!("{step:?} in {before:?}: {}", error.chain());
        }
    }
    let ca = tls_store::ensure_ca(ctx, v).await.expect("the CA");
    assert_eq!(ca.authority.phase(), Phase::AtRest, "the replacement has ended");
}

pub(super) async fn keys_and_cas_are_stored_changed_and_kept_aside(stage: &Stage) {
    let ctx = context(&stage.operator);
    let namespace = &installed().await.create_namespace("keys").await.unwrap();
    let v = validated(namespace);

    let first = tls_store::ensure_ca(&ctx, &v).await.expect("a CA should be made");
    let again = tls_store::ensure_ca(&ctx, &v).await.expect("it should be found");
    assert_eq!(
        first.authority.current.certificate, again.authority.current.certificate,
        "there is one CA"
    );

    a_ca_is_replaced(&ctx, &v).await;

    key_store::create_marker(&ctx, &v)
        .await
        .expect("the marker should be written");
    let attempt = async || {
        key_store::get(&ctx, namespace, "main")
            .await
            .unwrap()
            .unwrap()
            .attempt
    };
    // A lost initialisation: the volume and the pod on it go.
    let labels = json!({ "vaultkeeper.dev/cluster": "main" });
    let claim = json!({
        "metadata": { "name": volume_claim("main", 0), "labels": labels },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let pod = json!({
        "metadata": { "name": "main-0", "labels": labels },
        "spec": { "containers": [{ "name": "vault", "image": "vault" }] },
    });
    super::account(&stage.admin, namespace).await;
    for (path, body) in [("persistentvolumeclaims", &claim), ("pods", &pod)] {
        let path = format!("/api/v1/namespaces/{namespace}/{path}");
        send(&stage.admin, "POST", &path, body).await.unwrap();
    }
    // It is the active member, and the pod says so.
    let pods: Api<Pod> = Api::namespaced(stage.operator.clone(), namespace);
    let admins: Api<Pod> = Api::namespaced(stage.admin.clone(), namespace);
    let first = Member {
        name: "main-0".to_owned(),
        pod: admins.get("main-0").await.unwrap().uid(),
        probe: Probe::Active,
        ..Member::default()
    };
    states::follow(&ctx, namespace, &[first])
        .await
        .expect("a member should be labelled");
    let labelled = admins.get("main-0").await.unwrap();
    assert_eq!(
        labelled.labels().get("vaultkeeper.dev/state").map(String::as_str),
        Some("active"),
        "labels of the active member"
    );
    key_store::begin_wipe(&ctx, &v, &attempt().await, "volume")
        .await
        .expect("a wipe should begin");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.operator.clone(), namespace);
    let mark = json!({"metadata": {"annotations": {"vaultkeeper.dev/removed-from": "a/b"}}});
    claims
        .patch(
            &volume_claim("main", 0),
            &PatchParams::default(),
            &Patch::Merge(&mark),
        )
        .await
        .expect("the claim of a member that goes should be marked");
    claims
        .delete(&volume_claim("main", 0), &DeleteParams::default())
        .await
        .expect("the condemned volume claim should be deleted");
    pods.delete("main-0", &DeleteParams::default())
        .await
        .expect("the pod on it should be deleted");
    key_store::end_wipe(&ctx, &v, &attempt().await)
        .await
        .expect("a wipe should end");

    let shares = ["one", "two"].map(SecretString::from);
    let data = keys::initialized_data(keys::KeyKind::Unseal, &shares, 2, &SecretString::from("root"));
    let stored = key_store::store_initialized(&ctx, &v, &attempt().await, &data).await;
    assert_eq!(stored.expect("shares should be stored"), key_store::Stored::Yes);
    let record = key_store::get(&ctx, namespace, "main").await.unwrap().unwrap();
    let seals = SealRecord {
        unsealed: BTreeMap::from([("main-0".to_owned(), "container".to_owned())]),
        ..SealRecord::default()
    };
    key_store::record_seals(&ctx, &v, &record, &seals)
        .await
        .expect("seals should be recorded");
    key_store::remove_root_token(&ctx, &v)
        .await
        .expect("the root token should be removed");
    let record = key_store::get(&ctx, namespace, "main").await.unwrap().unwrap();
    assert_eq!((record.state, record.shares.len()), (State::Initialized, 2));
    assert!(record.root_token.is_none(), "the root token should be gone");

    // Restored by hand from a backup that kept no metadata.
    let secrets: Api<Secret> = Api::namespaced(stage.admin.clone(), NAMESPACE);
    let name = names::key_secret(namespace, "main");
    let bare = json!({ "metadata": { "labels": null } });
    secrets
        .patch(&name, &PatchParams::default(), &Patch::Merge(&bare))
        .await
        .unwrap();
    let record = key_store::get(&ctx, namespace, "main").await.unwrap().unwrap();
    key_store::record_seals(&ctx, &v, &record, &SealRecord::default())
        .await
        .expect("a key Secret without its label should be written");
    let label = json!({ "metadata": { "labels": ours() } });
    secrets
        .patch(&name, &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();

    let retired = key_store::retire(&ctx, namespace, "main")
        .await
        .expect("keys should be kept aside");
    let retired = secrets.get(&retired.expect("there were keys")).await.unwrap();
    assert!(
        retired.data.unwrap_or_default().contains_key("share-2"),
        "all keys should be kept"
    );
    assert!(
        secrets.get_opt(&name).await.unwrap().is_none(),
        "a new cluster should find no keys"
    );
    shares_are_handed_over(&ctx, &v).await;
}

async fn shares_are_handed_over(ctx: &Context, v: &Validated) {
    key_store::create_marker(ctx, v)
        .await
        .expect("a marker should be made");
    let get = async || {
        let record = key_store::get(ctx, &v.namespace, "main").await.unwrap();
        record.expect("the key Secret should be there")
    };
    let data = keys::initialized_data(
        keys::KeyKind::Unseal,
        &[SecretString::from("only")],
        1,
        &SecretString::from("root"),
    );
    let attempt = get().await.attempt;
    key_store::store_initialized(ctx, v, &attempt, &data)
        .await
        .unwrap();
    let holder = |name: &str| Holder {
        name: name.to_owned(),
        fingerprint: format!("{name}-key"),
    };
    let custody = Custody {
        threshold: 2,
        custodians: ["alice", "bob"].map(holder).into(),
    };
    let noted = [Attempt {
        nonce: "n".to_owned(),
        custody: custody.clone(),
    }];
    key_store::note_attempts(ctx, v, &get().await, &noted)
        .await
        .expect("an attempt should be noted");
    let encrypted = ["alice", "bob"].map(|name| (name.to_owned(), "AAAA".to_owned()));
    key_store::store_custody(ctx, v, &get().await, &custody, &encrypted.into())
        .await
        .expect("encrypted shares should be stored and the old one removed");
    let record = get().await;
    assert_eq!(record.custody, Some(custody));
    assert_eq!((record.shares.len(), record.encrypted.len()), (0, 2));
}

pub(super) async fn the_lease_is_taken_and_given_back(stage: &Stage) {
    let (sender, mut state) = watch::channel(leader::State::initial());
    let release = CancellationToken::new();
    let settings = LeaseSettings::new(NAMESPACE, "keeper-operator", "test");
    let elector = Elector::new(stage.operator.clone(), settings, Arc::new(Metrics::new()), sender);
    let task = tokio::spawn(elector.run(release.clone()));
    tokio::time::timeout(DEADLINE, state.wait_for(|state| state.leading))
        .await
        .expect("the Lease should be taken")
        .expect("the loop should live");
    release.cancel();
    task.await.unwrap().unwrap();
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/keeper-operator");
    let lease = send(&stage.admin, "GET", &lease, &Value::Null).await.unwrap();
    assert!(
        lease["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .is_empty(),
        "the Lease should be given back: {lease}"
    );
}
