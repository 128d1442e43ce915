//! `POST /mutate`: reads a review from HTTP, looks the VaultRole up, answers. No body makes it fail with a 5xx.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::admit::{self, Outcome, Verdict};
use crate::denial::Denial;
use crate::metrics::Metrics;
use crate::review;
use crate::role_source::Roles;
use crate::settings::Injection;

/// The API server sends objects of at most this size.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a review needs.
#[derive(Debug)]
pub struct Injector {
    /// Defaults of injected pods.
    pub settings: Injection,
    /// The VaultRoles.
    pub roles: Roles,
    /// The metrics.
    pub metrics: Metrics,
}

/// The routes of the webhook.
pub fn router(injector: Arc<Injector>) -> Router {
    Router::new().route("/mutate", post(mutate)).with_state(injector)
}

async fn mutate(State(injector): State<Arc<Injector>>, request: Request) -> Response {
    let started = Instant::now();
    let answer = match body(request).await {
        Ok(body) => answer(&injector, &body, started).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|(status, why)| {
        injector.metrics.invalid(started.elapsed());
        tracing::debug!(%status, why, "a request was refused");
        (status, why).into_response()
    })
}

type Refusal = (StatusCode, String);

async fn body(request: Request) -> Result<Bytes, Refusal> {
    if !is_json(request.headers()) {
        let why = "the content type must be application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why.to_owned()));
    }
    let reading = axum::body::to_bytes(request.into_body(), BODY_LIMIT);
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let why = format!("the body cannot be read, or is larger than {BODY_LIMIT} bytes: {error}");
            Err((StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time".to_owned(),
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

async fn answer(injector: &Injector, body: &[u8], started: Instant) -> Result<Response, Refusal> {
    let (version, request) =
        review::read(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let verdict = verdict(injector, &request).await;
    injector.metrics.admitted(&verdict.outcome, started.elapsed());
    let namespace = request.namespace.as_deref().unwrap_or_default();
    match &verdict.outcome {
        Outcome::Denied(denial) => tracing::info!(namespace, uid = %request.uid, %denial, "denied a pod"),
        Outcome::Injected(_) => tracing::debug!(namespace, uid = %request.uid, "injected a pod"),
        Outcome::Skipped => tracing::debug!(namespace, uid = %request.uid, "left a pod alone"),
    }
    let bytes = review::write(version, &request.uid, &verdict).map_err(|error| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the answer cannot be written: {error}"),
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

async fn verdict(injector: &Injector, request: &review::Request<'_>) -> Verdict {
    let wanted = match admit::read(request) {
        Ok(wanted) => wanted,
        Err(verdict) => return verdict,
    };
    match identity(injector, &wanted).await {
        Ok(identity) => wanted.inject(identity, &injector.settings),
        Err(denial) => denial.into(),
    }
}

/// What the index knows decides when it can; a VaultRole may be younger than that.
async fn identity(injector: &Injector, wanted: &admit::Wanted) -> Result<crate::roles::Identity, Denial> {
    let namespace = wanted.namespace();
    let known = wanted.identify(&injector.roles.known(namespace), &injector.settings);
    match known {
        Ok(identity) => Ok(identity),
        Err(denial) => match injector.roles.ask(namespace).await? {
            Some(bindings) => wanted.identify(&bindings, &injector.settings),
            None => Err(denial),
        },
    }
}

#[cfg(test)]
mod tests;
