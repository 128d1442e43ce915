//! Nobody finds a secret where people and programs look around: the operator's log at its most talkative, events, and the
//! objects that are not Secrets. What is looked for is every value that any Secret of the two namespaces has held at any
//! moment of a life.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinHandle;
use tracing_subscriber::fmt::MakeWriter;
use vaultkeeper_crds::{VaultCluster, VaultRole};
use vaultkeeper_tests::points::Points;

use super::configuration::{password, until_configured};
use super::stage::Stage;
use super::{certificate_login, roles};

/// Keys of Secrets whose values are no secrets.
const PUBLIC: [&str; 14] = [
    "attempt",
    "ca.crt",
    "custody",
    "identity",
    "next.crt",
    "previous.crt",
    "role-id",
    "seal",
    "state",
    "threshold",
    "tls.crt",
    "wiping-volume",
    "wrapping-token-creation-path",
    "wrapping-token-ttl",
];

/// Where a log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every value that a Secret has held, by its key.
type Seen = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// Writes down what the Secrets of a namespace hold, as it comes and goes.
fn write_down(stage: &Stage, namespace: &str, seen: &Seen) -> JoinHandle<()> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), namespace);
    let seen = Arc::clone(seen);
    tokio::spawn(async move {
        let changes = watcher(api, watcher::Config::default()).default_backoff();
        let mut changes = Box::pin(changes.applied_objects());
        while let Some(change) = changes.next().await {
            // A watch that failed is started again.
            let Ok(secret) = change else { continue };
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, value) in secret.data.unwrap_or_default() {
                let text = String::from_utf8_lossy(&value.0).into_owned();
                seen.entry(key).or_default().insert(text);
            }
        }
    })
}

/// What would give a value away: itself, as a Secret is sent, or a line of a key.
fn signs(value: &str) -> Vec<String> {
    let value = value.trim();
    let mut signs = vec![value.to_owned(), STANDARD.encode(value)];
    if value.contains("-----BEGIN") {
        signs = value
            .lines()
            .filter(|line| line.len() >= 32 && !line.starts_with("-----"))
            .map(str::to_owned)
            .collect();
    }
    signs.retain(|sign| sign.len() >= 8);
    signs
}

/// The secrets among what was seen, with the keys that must be among them.
fn secrets(seen: &Seen) -> BTreeMap<String, Vec<String>> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let secret = seen.iter().filter(|(key, _)| !PUBLIC.contains(&key.as_str()));
    let found: BTreeMap<String, Vec<String>> = secret
        .map(|(key, values)| (key.clone(), values.iter().flat_map(|v| signs(v)).collect()))
        .collect();
    for key in [
        "share-1",
        "share-3",
        "root-token",
        "ca.key",
        "tls.key",
        "secret-id",
        "wrapping-token",
        "password",
    ] {
        assert!(
            found.get(key).is_some_and(|signs| !signs.is_empty()),
            "{key} should have been seen in a Secret: {:?}",
            found.keys()
        );
    }
    found
}

/// Fails when a text holds one of them, or anything that is written like a token.
fn assert_says_nothing(place: &str, text: &str, secrets: &BTreeMap<String, Vec<String>>) {
    for (key, signs) in secrets {
        for sign in signs {
            assert!(!text.contains(sign), "{place} holds the value of {key}");
        }
    }
    // Tokens that never lay in a Secret: the operator's own login, and what it logs in with.
    for begin in ["hvs.", "hvb.", "eyJ"] {
        let long = |rest: &str| {
            let letters = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c));
            letters.count() >= 20
        };
        let found = text
            .match_indices(begin)
            .any(|(at, _)| long(&text[at + begin.len()..]));
        assert!(
            !found,
            "{place} holds something that begins like a token: {begin}…"
        );
    }
}

async fn assert_objects_say_nothing<K>(stage: &Stage, secrets: &BTreeMap<String, Vec<String>>)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + serde::de::DeserializeOwned,
{
    for namespace in [&stage.namespace, &stage.operator_namespace] {
        let api: Api<K> = Api::namespaced(stage.client.clone(), namespace);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let place = format!("{} {namespace}/{}", K::kind(&()), object.name_any());
            let text = serde_json::to_string(&object).unwrap();
            assert_says_nothing(&place, &text, secrets);
        }
    }
}

#[tokio::test]
async fn no_secret_of_a_whole_life_stands_in_the_operators_log_in_an_event_or_in_an_object() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // Of this thread alone, on which everything of this test runs.
    let _guard = tracing::subscriber::set_default(subscriber);
    // While there is one subscriber alone, tracing asks that of the thread which comes to a line first: those of other tests
    // have none, and the line would be silent on this thread too.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());

    let stage = Stage::new().await.unwrap();
    let seen = Seen::default();
    let watches = [&stage.namespace, &stage.operator_namespace].map(|n| write_down(&stage, n, &seen));
    password(&stage, "ana", "correct horse battery staple").await;
    let user = json!({"name": "ana", "password": {"name": "ana", "key": "password"}});
    let fields = json!({"configuration": {
        "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
        "authMethods": [{"path": "people", "type": "userpass", "userpass": {"users": [user]}}],
    }});
    stage.create_cluster_with(1, fields).await.unwrap();
    roles::create_role(&stage).await.unwrap();
    certificate_login::create_role(&stage, "client", &json!({"secretName": "client-tls"}))
        .await
        .unwrap();
    create_wrapped(&stage).await;
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    roles::until_ready(&stage).await.unwrap();
    for name in ["client", "wrapped"] {
        certificate_login::until_ready(&stage, name).await.unwrap();
    }
    // Also what goes wrong is told: a member that dies, and shares that do not open it.
    stage.kill_and_wait("main-0").await.unwrap();
    spoil_a_share(&stage).await;
    stage.kubelet.kill("main-0").await.unwrap();
    stage
        .until("the wrong shares to be told", |c| {
            let status = serde_json::to_string(&c.status).unwrap_or_default();
            status.contains("WrongShares")
        })
        .await
        .unwrap();
    operator.stop().await;

    let secrets = secrets(&seen);
    let text = log.text();
    for words in ["reconciled", "TRACE", "VaultCluster", "VaultRole"] {
        let bytes = text.len();
        assert!(
            text.contains(words),
            "{words} should be in a log of {bytes} bytes"
        );
    }
    assert_says_nothing("the log of the operator", &text, &secrets);
    assert_objects_say_nothing::<Event>(&stage, &secrets).await;
    assert_objects_say_nothing::<VaultCluster>(&stage, &secrets).await;
    assert_objects_say_nothing::<VaultRole>(&stage, &secrets).await;
    assert_objects_say_nothing::<Pod>(&stage, &secrets).await;
    assert_objects_say_nothing::<ConfigMap>(&stage, &secrets).await;
    assert_objects_say_nothing::<StatefulSet>(&stage, &secrets).await;
    for watch in watches {
        watch.abort();
    }
    stage.end().await.unwrap();
}

/// A role whose credentials are wrapped, so shortly that they are taken back meanwhile.
async fn create_wrapped(stage: &Stage) {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": "wrapped" },
        "spec": {
            "cluster": { "name": "main", "namespace": stage.namespace },
            "policy": { "rules": [
                { "path": format!("secret/data/{}/wrapped", stage.namespace), "capabilities": ["read"] },
            ] },
            "appRole": { "secretName": "wrapped-credentials", "wrap": { "ttl": "12s" } },
        },
    }))
    .unwrap();
    let roles: Api<VaultRole> = Api::namespaced(stage.client.clone(), &stage.namespace);
    roles.create(&PostParams::default(), &role).await.unwrap();
}

/// The second share takes the place of the first one, as after a slip of somebody's hand.
async fn spoil_a_share(stage: &Stage) {
    let keys = stage.keys().await.unwrap().unwrap();
    let mut other = keys.data.as_ref().unwrap()["share-1"].0.clone();
    other[5] = if other[5] == b'A' { b'B' } else { b'A' };
    let body = json!({"data": {"share-1": STANDARD.encode(other)}});
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    secrets
        .patch(&keys.name_any(), &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
}

#[test]
fn a_value_is_found_as_it_is_and_as_a_secret_is_sent_and_a_key_by_its_lines() {
    let secrets = BTreeMap::from([("share-1".to_owned(), signs("aGVsbG8gd29ybGQ="))]);
    let finds = |text: &str| std::panic::catch_unwind(|| assert_says_nothing("it", text, &secrets)).is_err();
    assert!(finds("key=aGVsbG8gd29ybGQ=") && finds(&STANDARD.encode("aGVsbG8gd29ybGQ=")));
    assert!(
        finds("token hvs.CAESIJ1234567890abcdefgh"),
        "whatever is written like a token"
    );
    assert!(!finds("nothing of that, hvs. is a prefix"));
    let line = "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49";
    let key = format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n");
    assert_eq!(signs(&key), [line]);
}
