//! The operator's own HTTP server: /healthz, /readyz, /metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::leader::State;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// The lease loop turns at least every few seconds; one that has not for this long hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// What the endpoints look at.
#[derive(Clone)]
pub struct Observed {
    /// What the lease loop last said.
    pub leader: watch::Receiver<State>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
}

/// Why the process is not well; none when it is.
fn ailment(leader: &watch::Receiver<State>) -> Option<&'static str> {
    if leader.has_changed().is_err() {
        return Some("the lease loop has ended");
    }
    (leader.borrow().beat.elapsed() > SILENCE).then_some("the lease loop hangs")
}

/// The routes.
pub fn router(observed: Observed) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(observed)
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    observed: Observed,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(observed))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// 200 while the lease loop turns.
async fn healthz(Shared(observed): Shared<Observed>) -> Response {
    match ailment(&observed.leader) {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}

/// 200 when the API server was reached and the lease loop turns; a standby is ready as well.
async fn readyz(Shared(observed): Shared<Observed>) -> Response {
    let state = *observed.leader.borrow();
    let why = ailment(&observed.leader)
        .or_else(|| (!state.reached).then_some("the API server was not reached so far"));
    match why {
        None if state.leading => "ok: leading\n".into_response(),
        None => "ok: standing by\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(Shared(observed): Shared<Observed>) -> Response {
    match observed.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(leader: &watch::Receiver<State>, path: &str) -> (u16, String) {
        let observed = Observed {
            leader: leader.clone(),
            metrics: Arc::new(Metrics::new()),
        };
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(observed).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_standby_that_reached_the_api_server_is_ready() {
        let (sender, leader) = watch::channel(State::initial());
        assert_eq!(ask(&leader, "/readyz").await.0, 503, "not reached so far");
        sender.send_modify(|state| state.reached = true);
        assert_eq!(
            ask(&leader, "/readyz").await,
            (200, "ok: standing by\n".to_owned())
        );
        sender.send_modify(|state| state.leading = true);
        assert_eq!(ask(&leader, "/readyz").await, (200, "ok: leading\n".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_loop_that_ended_or_hangs_is_unhealthy() {
        let (sender, leader) = watch::channel(State::initial());
        assert_eq!(ask(&leader, "/healthz").await.0, 200, "it turns");
        tokio::time::advance(SILENCE + Duration::from_secs(1)).await;
        assert_eq!(
            ask(&leader, "/healthz").await,
            (500, "the lease loop hangs\n".to_owned())
        );
        drop(sender);
        assert_eq!(
            ask(&leader, "/healthz").await,
            (500, "the lease loop has ended\n".to_owned())
        );
    }

    #[tokio::test]
    async fn metrics_end_as_openmetrics_must() {
        let (_sender, leader) = watch::channel(State::initial());
        let (status, text) = ask(&leader, "/metrics").await;
        assert_eq!(status, 200);
        assert!(
            text.ends_with("# EOF\n"),
            "an OpenMetrics text ends with EOF:\n{text}"
        );
    }
}
