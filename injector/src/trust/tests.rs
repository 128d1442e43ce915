use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{Request, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use kube::client::Body;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::metrics::Metrics;
use crate::role_source::Roles;

fn silent() -> kube::Error {
    kube::Error::Service("no answer".into())
}

#[test]
fn an_api_server_that_does_not_answer_takes_no_proven_trust_away() {
    let now = Timestamp::now();
    let later = now.checked_add(SignedDuration::from_hours(1)).expect("a time");
    let name = "injector".to_owned();
    let read = || {
        Error::Registration(registration::Error::Read {
            name: name.clone(),
            source: Box::new(silent()),
        })
    };
    let ca = Error::Ca(stored_ca::Error::Read {
        name: name.clone(),
        source: Box::new(silent()),
    });
    assert!(
        still_trusted(&read(), true, Some(later), now) && still_trusted(&ca, true, Some(later), now),
        "nothing is known to have changed"
    );
    assert!(
        !still_trusted(&read(), false, Some(later), now),
        "before the first success nothing is known"
    );
    assert!(
        !still_trusted(&read(), true, Some(now), now) && !still_trusted(&read(), true, None, now),
        "without a valid certificate nobody can connect"
    );
    let differs = Error::Registration(registration::Error::Patch {
        name: name.clone(),
        source: Box::new(silent()),
    });
    assert!(
        !still_trusted(&differs, true, Some(later), now),
        "caBundle is known to be another"
    );
}

/// An API server that holds our CA and our configuration until it fails, and counts the requests it failed.
#[derive(Default)]
struct Api {
    secret: serde_json::Value,
    fails: std::sync::atomic::AtomicBool,
    failed: AtomicUsize,
}

impl Api {
    fn answer(&self, path: &str) -> Response<Body> {
        let (status, body) = if self.fails.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            let status = json!({ "kind": "Status", "status": "Failure", "message": "overloaded", "reason": "x", "code": 500 });
            (StatusCode::INTERNAL_SERVER_ERROR, status)
        } else if path.contains("/secrets/") {
            (StatusCode::OK, self.secret.clone())
        } else {
            (
                StatusCode::OK,
                json!({ "metadata": { "name": "x", "resourceVersion": "1" }, "webhooks": [] }),
            )
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&body).expect("JSON")));
        *response.status_mut() = status;
        response
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within 30 s: {what}");
}

#[tokio::test]
async fn an_injector_stays_ready_while_the_api_server_fails_and_not_when_nobody_can_connect() {
    let authority = Authority::generate("test", Timestamp::now()).expect("a CA");
    let api = Arc::new(Api {
        secret: json!({ "metadata": { "name": "tls" }, "data": {
            "ca.crt": STANDARD.encode(authority.certificate()),
            "ca.key": STANDARD.encode(authority.key().expose_secret()),
        } }),
        ..Api::default()
    });
    let server = Arc::clone(&api);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = server.answer(request.uri().path());
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let settings = Settings::parse_from(["x", "--namespace", "ns", "--check-seconds", "1"]);
    let certificate = Arc::new(CurrentCertificate::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listening = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(Arc::new(
        tls::server_config(Arc::clone(&certificate)).expect("TLS"),
    ));
    let serving = tokio::spawn(crate::serve::serve(
        listener,
        acceptor,
        Router::new(),
        std::future::pending(),
        Duration::ZERO,
    ));
    let trusted = Arc::new(Trusted::default());
    let trust = Trust {
        client: Client::new(service, "ns"),
        settings: settings.clone(),
        listening,
        certificate,
        trusted: Arc::clone(&trusted),
        injector: Arc::new(Injector {
            settings: settings.injection,
            roles: Roles::default(),
            metrics: Metrics::default(),
        }),
    };
    let keeping = tokio::spawn(trust.keep());
    until("the first check", || trusted.get().is_ok()).await;
    api.fails.store(true, Ordering::SeqCst);
    // The second failure comes after the first was dealt with.
    until("two failed checks", || api.failed.load(Ordering::SeqCst) >= 2).await;
    assert_eq!(
        trusted.get(),
        Ok(()),
        "an outage of the API server's takes nothing away"
    );
    serving.abort();
    until("the dial to fail", || trusted.get().is_err()).await;
    keeping.abort();
}
