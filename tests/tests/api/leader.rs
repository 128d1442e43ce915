//! Leadership among operators, on a real API server.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vaultkeeper_operator::leader::{Elector, LeaseSettings, Lost, State};
use vaultkeeper_operator::metrics::Metrics;
use vaultkeeper_operator::run;

use crate::shared::control_plane;

const DEADLINE: Duration = Duration::from_secs(60);
/// So long that within a test nobody takes over by waiting.
const LONG: Duration = Duration::from_secs(3600);
/// So short that a test can wait for it, and so long that on a busy machine no holder misses its deadline by chance: it
/// leaves 5 s from one renewal to the next, for a failed one, and from the deadline to the end of the Lease.
const SHORT: Duration = Duration::from_secs(15);

struct Contender {
    state: watch::Receiver<State>,
    task: JoinHandle<Result<(), Lost>>,
    release: CancellationToken,
}

impl Contender {
    fn start(client: &Client, namespace: &str, identity: &str, duration: Duration) -> Self {
        let settings = LeaseSettings {
            duration,
            renew_deadline: duration * 2 / 3,
            retry: Duration::from_millis(100),
            ..LeaseSettings::new(namespace, "operator", identity)
        };
        let (sender, state) = watch::channel(State::initial());
        let release = CancellationToken::new();
        let elector = Elector::new(client.clone(), settings, Arc::new(Metrics::new()), sender);
        let task = tokio::spawn(elector.run(release.clone()));
        Self { state, task, release }
    }

    async fn leads(&mut self) {
        let wait = self.state.wait_for(|state| state.leading);
        timeout(DEADLINE, wait)
            .await
            .expect("it should lead")
            .expect("its loop should live");
    }

    /// Waits until it has had a good look at the Lease.
    async fn has_looked(&mut self) {
        let wait = self.state.wait_for(|state| state.reached);
        timeout(DEADLINE, wait)
            .await
            .expect("it should look")
            .expect("its loop should live");
    }

    fn is_leading(&self) -> bool {
        self.state.borrow().leading
    }

    async fn end(self) -> Result<(), Lost> {
        timeout(DEADLINE, self.task)
            .await
            .expect("it should end")
            .expect("it should not panic")
    }
}

async fn stage() -> (Client, String, Api<Lease>) {
    let control_plane = control_plane().await;
    let client = control_plane.client().await.unwrap();
    let namespace = control_plane.create_namespace("leader").await.unwrap();
    let leases = Api::namespaced(client.clone(), &namespace);
    (client, namespace, leases)
}

#[tokio::test]
async fn one_of_two_leads_and_a_release_lets_the_other_follow_at_once() {
    let (client, namespace, leases) = stage().await;
    let mut first = Contender::start(&client, &namespace, "first", LONG);
    first.leads().await;
    let mut second = Contender::start(&client, &namespace, "second", LONG);
    second.has_looked().await;
    assert!(!second.is_leading(), "only one may lead");

    first.release.cancel();
    assert_eq!(first.end().await, Ok(()), "a release is no loss");
    // The Lease lasts an hour: only the release can have let it in.
    second.leads().await;
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some("second"),
        "it says so in the Lease"
    );
    assert_eq!(spec.lease_transitions, Some(1), "the Lease changed hands once");
    second.release.cancel();
    assert_eq!(second.end().await, Ok(()), "a release is no loss");
}

#[tokio::test]
async fn the_lease_of_a_holder_that_fell_silent_is_taken_when_it_has_ended_and_not_before() {
    let (client, namespace, leases) = stage().await;
    let mut first = Contender::start(&client, &namespace, "first", SHORT);
    first.leads().await;
    let mut second = Contender::start(&client, &namespace, "second", SHORT);
    second.has_looked().await;
    // As if its node had lost power.
    first.task.abort();
    let _ = first.task.await;
    let last = leases
        .get("operator")
        .await
        .unwrap()
        .spec
        .unwrap()
        .renew_time
        .unwrap()
        .0;

    second.leads().await;
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    let silence = spec.acquire_time.unwrap().0.duration_since(last);
    assert!(
        silence.unsigned_abs() >= SHORT,
        "taken after {silence}, while the first could still act"
    );
    second.release.cancel();
    assert_eq!(second.end().await, Ok(()), "a release is no loss");
}

#[tokio::test]
async fn a_restarted_container_goes_on_under_its_name_without_waiting() {
    let (client, namespace, leases) = stage().await;
    let mut first = Contender::start(&client, &namespace, "pod-1", LONG);
    first.leads().await;
    first.task.abort();
    let _ = first.task.await;
    let mut again = Contender::start(&client, &namespace, "pod-1", LONG);
    // The Lease lasts an hour: it cannot have waited for its end.
    again.leads().await;
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(0), "it never changed hands");
    again.release.cancel();
    assert_eq!(again.end().await, Ok(()), "a release is no loss");
}

#[tokio::test]
async fn a_holder_whose_lease_was_taken_stops() {
    let (client, namespace, leases) = stage().await;
    let mut first = Contender::start(&client, &namespace, "first", SHORT);
    first.leads().await;
    let change = json!({ "spec": { "holderIdentity": "usurper" } });
    leases
        .patch("operator", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    let lost = Lost::Taken {
        name: "operator".to_owned(),
        by: "usurper".to_owned(),
    };
    assert_eq!(first.end().await, Err(lost), "it must stop acting");
}

#[tokio::test]
async fn a_change_to_the_lease_by_somebody_else_is_no_loss() {
    let (client, namespace, leases) = stage().await;
    let mut first = Contender::start(&client, &namespace, "first", SHORT);
    first.leads().await;
    let change = json!({ "metadata": { "labels": { "touched": "yes" } } });
    let touched = leases
        .patch("operator", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    let renewed = |lease: &Lease| lease.spec.as_ref().unwrap().renew_time.clone();
    vaultkeeper_tests::wait::until_async("a renewal after the change", DEADLINE, async || {
        let lease = leases.get("operator").await?;
        anyhow::ensure!(renewed(&lease) > renewed(&touched), "not renewed so far");
        Ok(())
    })
    .await
    .unwrap();
    assert!(first.is_leading(), "it renewed and leads");
    first.release.cancel();
    assert_eq!(first.end().await, Ok(()), "a release is no loss");
}

#[tokio::test]
async fn a_holder_that_cannot_renew_stops_before_others_may_start() {
    let (admin, namespace, leases) = stage().await;
    let post = PostParams::default();
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": "contender" },
        "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"] }],
    }))
    .unwrap();
    Api::<Role>::namespaced(admin.clone(), &namespace)
        .create(&post, &role)
        .await
        .unwrap();
    let user = format!("contender-{namespace}");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "contender" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "contender" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    }))
    .unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &namespace);
    bindings.create(&post, &binding).await.unwrap();

    let client = control_plane().await.client_for_user(&user, &[]).await.unwrap();
    let mut first = Contender::start(&client, &namespace, "first", SHORT);
    first.leads().await;
    bindings
        .delete("contender", &DeleteParams::default())
        .await
        .unwrap();
    let end = first.end().await;
    let ended = Timestamp::now();
    match end {
        Err(Lost::DeadlineMissed { last, .. }) => {
            assert!(
                last.contains("forbidden"),
                "the last failure should be told, got: {last}"
            );
        }
        other => panic!("it must stop acting, got {other:?}"),
    }
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    let silence = ended.duration_since(spec.renew_time.unwrap().0);
    assert!(
        silence.unsigned_abs() < SHORT,
        "it stopped only {silence} after its last renewal, when another could act already"
    );
}

/// An operator whose work ends only when it is told to.
struct Leading {
    stop: CancellationToken,
    asked_to_end: CancellationToken,
    may_end: CancellationToken,
    task: JoinHandle<Result<(), run::Error>>,
}

/// Starts one and waits until its work has begun.
async fn lead(client: &Client, namespace: &str, duration: Duration) -> Leading {
    let settings = LeaseSettings {
        duration,
        renew_deadline: duration * 2 / 3,
        retry: Duration::from_millis(100),
        ..LeaseSettings::new(namespace, "operator", "first")
    };
    let after_loss = settings.grace_after_loss();
    let (sender, state) = watch::channel(State::initial());
    let elector = Elector::new(client.clone(), settings, Arc::new(Metrics::new()), sender);
    let [stop, begun, asked_to_end, may_end] = [(); 4].map(|()| CancellationToken::new());
    let (begins, asked, end) = (begun.clone(), asked_to_end.clone(), may_end.clone());
    let work = move |shutdown: CancellationToken| {
        tokio::spawn(async move {
            begins.cancel();
            shutdown.cancelled().await;
            asked.cancel();
            end.cancelled().await;
        })
    };
    let task = tokio::spawn(run::lead(
        elector,
        state,
        stop.clone(),
        DEADLINE,
        after_loss,
        work,
    ));
    timeout(DEADLINE, begun.cancelled())
        .await
        .expect("the work should begin");
    Leading {
        stop,
        asked_to_end,
        may_end,
        task,
    }
}

#[tokio::test]
async fn the_lease_is_kept_until_the_last_reconcile_has_ended() {
    let (client, namespace, leases) = stage().await;
    let operator = lead(&client, &namespace, LONG).await;
    operator.stop.cancel();
    timeout(DEADLINE, operator.asked_to_end.cancelled())
        .await
        .expect("the work should be asked to end");
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some("first"),
        "what still runs must not meet a successor"
    );
    operator.may_end.cancel();
    timeout(DEADLINE, operator.task)
        .await
        .expect("it should end")
        .unwrap()
        .expect("an orderly end");
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some(""),
        "a successor may begin at once"
    );
}

#[tokio::test]
async fn a_loss_of_leadership_ends_the_work_and_the_process() {
    let (client, namespace, leases) = stage().await;
    let operator = lead(&client, &namespace, SHORT).await;
    let change = json!({ "spec": { "holderIdentity": "usurper" } });
    leases
        .patch("operator", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    timeout(DEADLINE, operator.asked_to_end.cancelled())
        .await
        .expect("the work should be asked to end");
    // It never ends by itself here, and the process does all the same.
    let result = timeout(DEADLINE, operator.task)
        .await
        .expect("it should end")
        .unwrap();
    assert!(
        matches!(result, Err(run::Error::Lost(Lost::Taken { .. }))),
        "got {result:?}"
    );
}
