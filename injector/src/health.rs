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
