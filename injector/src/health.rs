//! `/healthz`, `/readyz` and `/metrics` over plain HTTP, and what readiness depends on.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::Injector;

/// Whether the API server can reach us over TLS. Set by the loop in `trust`, read by `/readyz`.
#[derive(Debug)]
pub struct Trusted(RwLock<Result<(), String>>);

impl Default for Trusted {
    fn default() -> Self {
        Self(RwLock::new(Err("the certificate is not there yet".to_owned())))
    }
}

impl Trusted {
    /// Notes the outcome of a check, or why nobody should come any more.
    pub fn set(&self, outcome: Result<(), String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// The outcome of the last check.
    ///
    /// # Errors
    /// What is missing.
    pub fn get(&self) -> Result<(), String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the routes answer from.
#[derive(Debug, Clone)]
struct Health {
    injector: Arc<Injector>,
    trusted: Arc<Trusted>,
}

/// The routes.
pub fn router(injector: Arc<Injector>, trusted: Arc<Trusted>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health { injector, trusted })
}

async fn ready(State(health): State<Health>) -> Response {
    let synced = if health.injector.roles.is_synced() {
        Ok(())
    } else {
        Err("the VaultRoles are not read yet".to_owned())
    };
    let missing: Vec<String> = [synced, health.trusted.get()]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if missing.is_empty() {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n")).into_response()
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match health.injector.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use clap::Parser as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::metrics::Metrics;
    use crate::role_source::Roles;
    use crate::settings::Settings;

    async fn get(roles: Roles, trusted: &Arc<Trusted>, path: &str) -> (StatusCode, String) {
        let settings = Settings::parse_from(["x", "--namespace", "ns"]).injection;
        let injector = Arc::new(Injector {
            settings,
            roles,
            metrics: Metrics::default(),
        });
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router(injector, Arc::clone(trusted))
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing() {
        let trusted = Arc::new(Trusted::default());
        let (status, text) = get(Roles::default(), &trusted, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nothing is there yet");
        assert!(
            text.contains("VaultRoles") && text.contains("certificate"),
            "both are missing: {text}"
        );
        trusted.set(Ok(()));
        let (status, text) = get(Roles::default(), &trusted, "/readyz").await;
        assert_eq!(
            status,
            StatusCode::SERVICE_UNAVAILABLE,
            "the VaultRoles are still missing"
        );
        assert!(!text.contains("certificate"), "the certificate is there: {text}");
        assert_eq!(
            get(Roles::fixed(&[]), &trusted, "/readyz").await.0,
            StatusCode::OK,
            "all is there"
        );
        trusted.set(Err("caBundle is another".to_owned()));
        let (status, text) = get(Roles::fixed(&[]), &trusted, "/readyz").await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "caBundle is another"),
            "lost again"
        );
    }

    #[tokio::test]
    async fn life_does_not_depend_on_readiness() {
        let answer = get(Roles::default(), &Arc::new(Trusted::default()), "/healthz").await;
        assert_eq!(answer.0, StatusCode::OK, "a restart would not help");
    }

    #[tokio::test]
    async fn metrics_are_in_the_open_metrics_format() {
        let (_, text) = get(Roles::default(), &Arc::new(Trusted::default()), "/metrics").await;
        assert!(
            text.contains("vaultkeeper_injector_admission_duration_seconds_bucket"),
            "the histogram: {text}"
        );
        assert!(text.ends_with("# EOF\n"), "the format's end: {text}");
    }
}
