use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use vaultkeeper_crds::VaultRole;

use super::*;
use crate::settings::Settings;

/// How the existing injector answers the same requests, recorded from the real program.
const RECORDED: &str = include_str!("../../tests/http.json");
const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

fn injector() -> Arc<Injector> {
    use clap::Parser as _;
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "namespace": "shop", "name": "app" },
        "spec": {
            "cluster": { "name": "main", "namespace": "vault" },
            "policy": { "names": ["default"] },
            "kubernetes": { "serviceAccounts": ["app"] },
        },
    }))
    .expect("a VaultRole");
    Arc::new(Injector {
        settings: Settings::parse_from(["x", "--namespace", "ns"]).injection,
        roles: Roles::fixed(&[role]),
        metrics: Metrics::default(),
    })
}

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": UID, "namespace": "shop", "operation": "CREATE",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "object": {
                "metadata": { "name": "app", "annotations": {
                    "vault.hashicorp.com/agent-inject": "true",
                    "vault.hashicorp.com/agent-inject-secret-config": "secret/data/shop",
                } },
                "spec": { "serviceAccountName": "app", "containers": [{ "name": "app", "image": "x" }] },
            },
        },
    })
}

async fn send(injector: &Arc<Injector>, request: Request<Body>) -> (StatusCode, String, Vec<u8>) {
    let response = router(Arc::clone(injector))
        .oneshot(request)
        .await
        .expect("the router never fails");
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().expect("text").to_owned());
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    (status, kind.unwrap_or_default(), body.to_vec())
}

async fn ask(injector: &Arc<Injector>, review: &Value) -> Value {
    let body = Body::from(serde_json::to_vec(review).expect("JSON"));
    let request = Request::post("/mutate")
        .header("content-type", "application/json")
        .body(body)
        .expect("a request");
    let (status, kind, body) = send(injector, request).await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "application/json"),
        "{}",
        String::from_utf8_lossy(&body)
    );
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        answer["response"]["uid"], review["request"]["uid"],
        "the question's uid is repeated"
    );
    assert_eq!(
        answer["apiVersion"], review["apiVersion"],
        "the question's version is answered in"
    );
    answer["response"].clone()
}

/// The recorded requests by name: body, and what we answer: a status, or whether the pod is allowed.
fn expected() -> BTreeMap<&'static str, (Vec<u8>, Result<bool, u16>)> {
    let bytes = |value: &Value| serde_json::to_vec(value).expect("JSON");
    let with = |change: fn(&mut Value)| {
        let mut changed = review();
        change(&mut changed);
        bytes(&changed)
    };
    let good = bytes(&review());
    BTreeMap::from([
        ("ok", (good.clone(), Ok(true))),
        // Better than before: a parameter does not make it another type.
        ("content-type-with-charset", (good.clone(), Ok(true))),
        ("no-content-type", (good.clone(), Err(415))),
        ("empty-body", (Vec::new(), Err(400))),
        ("not-json", (b"\"text\"".to_vec(), Err(400))),
        ("truncated-json", (good[..good.len() / 2].to_vec(), Err(400))),
        ("get", (Vec::new(), Err(405))),
        ("put", (good.clone(), Err(405))),
        (
            "no-typemeta",
            (with(|r| *r = json!({ "request": r["request"] })), Err(400)),
        ),
        (
            "unknown-version",
            (with(|r| r["apiVersion"] = json!("admission.k8s.io/v2")), Err(400)),
        ),
        ("wrong-kind", (with(|r| r["kind"] = json!("Pod")), Err(400))),
        (
            "request-missing",
            (with(|r| r["request"] = Value::Null), Err(400)),
        ),
        (
            "object-missing",
            (with(|r| r["request"]["object"] = Value::Null), Ok(false)),
        ),
        (
            "annotation-not-a-string",
            (
                with(|r| r["request"]["object"]["metadata"]["annotations"]["x"] = json!(true)),
                Ok(false),
            ),
        ),
        (
            "pod-without-containers",
            (
                with(|r| r["request"]["object"]["spec"]["containers"] = json!([])),
                Ok(false),
            ),
        ),
        (
            "indented-body",
            (serde_json::to_vec_pretty(&review()).expect("JSON"), Ok(true)),
        ),
    ])
}

#[tokio::test]
async fn odd_requests_are_answered_properly() {
    let injector = injector();
    let recorded: Vec<Value> = serde_json::from_str(RECORDED).expect("JSON");
    let mut expected = expected();
    for case in recorded
        .iter()
        .filter(|case| !case["name"].as_str().is_some_and(|name| name.contains('/')))
    {
        let name = case["name"].as_str().expect("a name");
        let (body, answer) = expected
            .remove(name)
            .unwrap_or_else(|| panic!("{name} has no expected answer here"));
        let mut request = Request::builder()
            .method(case["method"].as_str().expect("a method"))
            .uri("/mutate");
        match &case["headers"]["Content-Type"] {
            Value::String(kind) => request = request.header("content-type", kind),
            Value::Null if case["headers"].get("Content-Type").is_some() => {}
            _ => request = request.header("content-type", "application/json"),
        }
        let (status, _, body) = send(&injector, request.body(Body::from(body)).expect("a request")).await;
        match answer {
            Err(code) => assert_eq!(
                status.as_u16(),
                code,
                "{name}: {}",
                String::from_utf8_lossy(&body)
            ),
            Ok(allowed) => {
                assert_eq!(
                    status,
                    StatusCode::OK,
                    "{name}: {}",
                    String::from_utf8_lossy(&body)
                );
                let answer: Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(answer["response"]["allowed"], allowed, "{name}: {answer}");
                assert_eq!(answer["response"]["uid"], UID, "{name}: the uid is repeated");
            }
        }
    }
    assert!(expected.is_empty(), "not recorded: {:?}", expected.keys());
}

#[tokio::test]
async fn both_versions_are_answered_in_kind() {
    let injector = injector();
    for version in ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] {
        let mut review = review();
        review["apiVersion"] = json!(version);
        let answer = ask(&injector, &review).await;
        assert_eq!(
            (&answer["allowed"], &answer["patchType"]),
            (&json!(true), &json!("JSONPatch")),
            "{version}"
        );
        let patch = answer["patch"].as_str().expect("base64");
        let patch = base64::engine::general_purpose::STANDARD
            .decode(patch)
            .expect("base64");
        assert!(
            serde_json::from_slice::<json_patch::Patch>(&patch).is_ok(),
            "a JSON patch"
        );
    }
}

#[tokio::test]
async fn a_pod_that_asks_for_nothing_is_left_alone() {
    let injector = injector();
    for value in [None, Some("false")] {
        let mut review = review();
        let annotations = &mut review["request"]["object"]["metadata"]["annotations"];
        *annotations = value.map_or(
            json!({}),
            |value| json!({ "vault.hashicorp.com/agent-inject": value }),
        );
        let answer = ask(&injector, &review).await;
        assert_eq!(
            answer,
            json!({ "uid": UID, "allowed": true }),
            "no patch and no warning for {value:?}"
        );
    }
}

#[tokio::test]
async fn a_denial_says_why_and_is_counted() {
    let injector = injector();
    let mut review = review();
    review["request"]["object"]["spec"]["serviceAccountName"] = json!("other");
    let answer = ask(&injector, &review).await;
    assert_eq!(
        (&answer["allowed"], &answer["status"]["code"]),
        (&json!(false), &json!(422)),
        "{answer}"
    );
    let message = answer["status"]["message"].as_str().expect("a message");
    assert!(
        message.contains("ServiceAccount other"),
        "it is not bound: {message}"
    );
    let metrics = injector.metrics.text().expect("metrics");
    assert!(
        metrics.contains("vaultkeeper_injector_admissions_total{outcome=\"denied\"} 1"),
        "counted: {metrics}"
    );
    assert!(
        metrics.contains("vaultkeeper_injector_admissions_total{outcome=\"injected\"} 0"),
        "there at 0: {metrics}"
    );
}

#[tokio::test]
async fn pods_of_the_system_updates_and_other_kinds_are_left_alone() {
    let injector = injector();
    let changes: [fn(&mut Value); 3] = [
        |review| review["request"]["namespace"] = json!("kube-system"),
        |review| review["request"]["operation"] = json!("UPDATE"),
        |review| review["request"]["kind"]["kind"] = json!("Deployment"),
    ];
    for change in changes {
        let mut review = review();
        change(&mut review);
        let answer = ask(&injector, &review).await;
        assert_eq!(
            (&answer["allowed"], answer.get("patch")),
            (&json!(true), None),
            "no change: {answer}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let body = Body::from(vec![b' '; BODY_LIMIT + 1]);
    let request = Request::post("/mutate")
        .header("content-type", "application/json")
        .body(body)
        .expect("a request");
    let (status, _, body) = send(&injector(), request).await;
    assert_eq!(
        status,
        StatusCode::PAYLOAD_TOO_LARGE,
        "{}",
        String::from_utf8_lossy(&body)
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof![
                Just("metadata".to_owned()),
                Just("annotations".to_owned()),
                Just("spec".to_owned()),
                Just("containers".to_owned()),
                Just("initContainers".to_owned()),
                Just("volumes".to_owned()),
                Just("volumeMounts".to_owned()),
                Just("vault.hashicorp.com/agent-inject".to_owned()),
                ".{0,8}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn annotation() -> impl Strategy<Value = (String, String)> {
        let keys: Vec<String> = crate::annotations::table::ROWS
            .iter()
            .map(|row| format!("vault.hashicorp.com/{}", row.key))
            .collect();
        let values = prop_oneof![
            Just("true".to_owned()),
            Just("p/q".to_owned()),
            Just("5m".to_owned()),
            ".{0,10}"
        ];
        (
            (prop::sample::select(keys), "[a-cA-C.]{0,2}").prop_map(|(key, name)| key + &name),
            values,
        )
    }

    fn answer(review: &Value) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(ask(&injector(), review))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_object_gets_an_answer(object in json_value()) {
            let mut review = review();
            review["request"]["object"] = object;
            prop_assert!(answer(&review)["allowed"].is_boolean());
        }

        #[test]
        fn injecting_twice_is_injecting_once(annotations in prop::collection::vec(annotation(), 0..6)) {
            let mut review = review();
            for (key, value) in annotations {
                review["request"]["object"]["metadata"]["annotations"][key] = json!(value);
            }
            let first = answer(&review);
            if let Some(patch) = first["patch"].as_str() {
                let patch = base64::engine::general_purpose::STANDARD.decode(patch).expect("base64");
                let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
                json_patch::patch(&mut review["request"]["object"], &patch).expect("the patch fits the pod");
                let second = answer(&review);
                prop_assert_eq!(second, json!({ "uid": UID, "allowed": true }));
            }
        }
    }
}
