//! Points at which a program can be made to die: before and after each external call that changes something.
//!
//! The points sit at the two seams of the operator, the Kubernetes client and the Vault client's transport, so
//! that the product itself knows nothing of them. A point is named by what the call does and how often that was
//! done before, which does not depend on how tasks happen to interleave.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response};
use kube::client::Body;
use tokio::sync::Notify;
use vaultkeeper_vault::transport::{Answer, Exchange, Transport};

/// One call that changes something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// What the call does, names of namespaces left out.
    pub call: String,
    /// The how-manieth such call it is, from 1.
    pub occurrence: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.call, self.occurrence)
    }
}

/// On which side of the call the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The call is not made.
    Before,
    /// The call is made and answered, and the answer is lost.
    After,
}

/// What happens at the chosen point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dies(Side),
    /// The call is made, and its answer is held back until it is let go.
    Waits,
}

/// Records points, and stops the program at one of them, for ever or for a while.
#[derive(Default)]
pub struct Points {
    state: Mutex<State>,
    reached: Notify,
    released: Notify,
}

#[derive(Default)]
struct State {
    seen: Vec<Point>,
    count: BTreeMap<String, usize>,
    chosen: Option<(Point, Fate)>,
    pretended: Option<String>,
    reached: bool,
    dead: bool,
}

impl Points {
    /// Records only.
    pub fn record() -> Arc<Self> {
        Arc::default()
    }

    /// Dies at this point.
    pub fn dying_at(point: Point, side: Side) -> Arc<Self> {
        Self::choosing(point, Fate::Dies(side))
    }

    /// Makes this call and holds its answer back until [`Points::release`].
    pub fn waiting_at(point: Point) -> Arc<Self> {
        Self::choosing(point, Fate::Waits)
    }

    /// Answers each such call to Vault as if it had been made (204), and does not make it.
    pub fn pretending(call: &str) -> Arc<Self> {
        let points = Self::default();
        points.lock().pretended = Some(call.to_owned());
        Arc::new(points)
    }

    /// Whether a call is not to be made. It counts as seen then.
    fn pretends(&self, call: &str) -> bool {
        let mut state = self.lock();
        if state.dead || state.pretended.as_deref() != Some(call) {
            return false;
        }
        let count = state.count.entry(call.to_owned()).or_default();
        *count += 1;
        let point = Point {
            call: call.to_owned(),
            occurrence: *count,
        };
        state.seen.push(point);
        true
    }

    fn choosing(point: Point, fate: Fate) -> Arc<Self> {
        let points = Self::default();
        points.lock().chosen = Some((point, fate));
        Arc::new(points)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every point so far, in order.
    pub fn seen(&self) -> Vec<Point> {
        self.lock().seen.clone()
    }

    /// Waits until the chosen point was reached.
    pub async fn reached(&self) {
        let notified = self.reached.notified();
        if !self.lock().reached {
            notified.await;
        }
    }

    /// Lets the answer go that is held back.
    pub fn release(&self) {
        self.released.notify_one();
    }

    /// Makes one call between its two points. A program that has died makes no further call at all.
    async fn pass<T>(&self, call: String, exchange: impl Future<Output = T>) -> T {
        let fate = {
            let mut state = self.lock();
            if state.dead {
                Some(Fate::Dies(Side::Before))
            } else {
                let count = state.count.entry(call.clone()).or_default();
                *count += 1;
                let point = Point {
                    call,
                    occurrence: *count,
                };
                let fate = state
                    .chosen
                    .as_ref()
                    .filter(|(p, _)| *p == point)
                    .map(|(_, fate)| *fate);
                state.seen.push(point);
                fate
            }
        };
        if fate == Some(Fate::Dies(Side::Before)) {
            return self.die().await;
        }
        let answer = exchange.await;
        match fate {
            None | Some(Fate::Dies(Side::Before)) => {}
            Some(Fate::Dies(Side::After)) => {
                drop(answer);
                return self.die().await;
            }
            Some(Fate::Waits) => {
                self.reach();
                self.released.notified().await;
            }
        }
        answer
    }

    fn reach(&self) {
        self.lock().reached = true;
        self.reached.notify_waiters();
    }

    async fn die<T>(&self) -> T {
        self.lock().dead = true;
        self.reach();
        std::future::pending().await
    }

    /// A Kubernetes client whose changes are points and whose watches of all namespaces see one namespace only,
    /// so that several operators can share one control plane.
    pub fn kubernetes(self: &Arc<Self>, client: &kube::Client, namespace: &str) -> kube::Client {
        let (points, client, namespace) = (Arc::clone(self), client.clone(), namespace.to_owned());
        let default_namespace = client.default_namespace().to_owned();
        kube::Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let (points, client, namespace) = (Arc::clone(&points), client.clone(), namespace.clone());
                async move { points.send(client, request, &namespace).await }
            }),
            default_namespace,
        )
    }

    async fn send(
        &self,
        client: kube::Client,
        request: Request<Body>,
        namespace: &str,
    ) -> Result<Response<Body>, kube::Error> {
        let (mut parts, body) = request.into_parts();
        if matches!(parts.method, Method::GET) {
            if let Some(narrowed) = narrowed(&parts.uri, namespace) {
                parts.uri = narrowed;
            }
            return client.send(Request::from_parts(parts, body)).await;
        }
        let bytes = body.collect_bytes().await?;
        let call = kubernetes_call(&parts.method, parts.uri.path(), &bytes);
        let request = Request::from_parts(parts, Body::from(bytes.to_vec()));
        match call {
            Some(call) => self.pass(call, client.send(request)).await,
            None => client.send(request).await,
        }
    }

    /// A transport whose changing calls are points.
    pub fn vault(self: &Arc<Self>, inner: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(Tapped {
            points: Arc::clone(self),
            inner,
        })
    }
}

struct Tapped {
    points: Arc<Points>,
    inner: Arc<dyn Transport>,
}

impl Transport for Tapped {
    fn exchange(&self, request: reqwest::Request) -> Exchange<'_> {
        // Vault wants PUT for a look at a token, which changes nothing.
        let looks = request.url().path().ends_with("/auth/token/lookup-accessor");
        if looks || request.method() == reqwest::Method::GET {
            return self.inner.exchange(request);
        }
        let call = format!(
            "Vault {} {}",
            request.method(),
            request.url().path().trim_start_matches("/v1/")
        );
        if self.points.pretends(&call) {
            let answer = Answer {
                status: 204,
                body: Vec::new().into(),
                location: None,
                retry_after: None,
            };
            return Box::pin(async move { Ok(answer) });
        }
        Box::pin(async move { self.points.pass(call, self.inner.exchange(request)).await })
    }
}

/// A list or watch of a namespaced kind over all namespaces becomes one of a single namespace.
fn narrowed(uri: &http::Uri, namespace: &str) -> Option<http::Uri> {
    let path = uri.path();
    let mut segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let at = if segments.first() == Some(&"api") { 2 } else { 3 };
    let kinds = [
        "pods",
        "services",
        "configmaps",
        "secrets",
        "statefulsets",
        "vaultclusters",
        "vaultroles",
    ];
    if segments.len() != at + 1 || !kinds.contains(&segments[at]) {
        return None;
    }
    segments.insert(at, namespace);
    segments.insert(at, "namespaces");
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let text = format!("/{}{query}", segments.join("/"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = text.parse().ok();
    http::Uri::from_parts(parts).ok()
}

/// Names a changing call, or nothing for one that changes no object that matters: events and token requests.
fn kubernetes_call(method: &Method, path: &str, body: &[u8]) -> Option<String> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let namespaced = segments
        .iter()
        .position(|s| *s == "namespaces")
        .filter(|at| segments.len() > at + 2);
    let object = match namespaced {
        Some(at) => segments[at + 2..].join("/"),
        None => segments[segments.len().saturating_sub(2)..].join("/"),
    };
    if object.starts_with("events") || object.ends_with("/token") {
        return None;
    }
    // Names of Secrets and bindings of ours hold the namespace, which differs from run to run.
    let object = object
        .split('/')
        .map(|part| match part {
            p if p.starts_with("vault-keys.") => "<keys>",
            p if p.starts_with("vault-ca.") => "<ca>",
            p if p.starts_with("vaultkeeper:reviewer:") => "<reviewer>",
            p => p,
        })
        .collect::<Vec<_>>()
        .join("/");
    Some(format!("Kubernetes {method} {object}{}", changed(body)))
}

/// What a JSON patch changes, or the name of a created object: enough to tell two calls on one kind apart.
fn changed(body: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(serde_json::Value::Array(operations)) => {
            let paths: Vec<&str> = operations
                .iter()
                .filter(|o| o["op"] != "test")
                .filter_map(|o| o["path"].as_str())
                .map(|p| p.rsplit('/').next().unwrap_or(p))
                .collect();
            format!(" ({})", paths.join(", "))
        }
        Ok(value)
            if value["metadata"]["name"]
                .as_str()
                .is_some_and(|n| n.starts_with("vault-keys.")) =>
        {
            " (marker)".to_owned()
        }
        Ok(value)
            if value["metadata"]["name"]
                .as_str()
                .is_some_and(|n| n.starts_with("vault-ca.")) =>
        {
            " (CA)".to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_by_what_they_change_and_without_the_namespace() {
        let patch =
            br#"[{"op":"test","path":"/data/state"},{"op":"add","path":"/data/share-1","value":"x"}]"#;
        assert_eq!(
            kubernetes_call(
                &Method::PATCH,
                "/api/v1/namespaces/op-1/secrets/vault-keys.v-1.main",
                patch
            )
            .unwrap(),
            "Kubernetes PATCH secrets/<keys> (share-1)"
        );
        assert_eq!(
            kubernetes_call(&Method::POST, "/api/v1/namespaces/op-1/events", b"{}"),
            None
        );
        assert_eq!(
            kubernetes_call(
                &Method::POST,
                "/api/v1/namespaces/op-1/serviceaccounts/op/token",
                b"{}"
            ),
            None
        );
    }

    #[test]
    fn only_views_of_all_namespaces_are_narrowed() {
        let uri: http::Uri = "/apis/vaultkeeper.dev/v1alpha1/vaultclusters?watch=true"
            .parse()
            .unwrap();
        assert_eq!(
            narrowed(&uri, "v").unwrap().to_string(),
            "/apis/vaultkeeper.dev/v1alpha1/namespaces/v/vaultclusters?watch=true"
        );
        assert_eq!(
            narrowed(&"/api/v1/pods".parse().unwrap(), "v")
                .unwrap()
                .to_string(),
            "/api/v1/namespaces/v/pods"
        );
        assert!(narrowed(&"/api/v1/namespaces/x/pods".parse().unwrap(), "v").is_none());
        assert!(narrowed(&"/api/v1/nodes".parse().unwrap(), "v").is_none());
    }

    #[tokio::test]
    async fn a_dead_program_makes_no_further_call() {
        let point = Point {
            call: "a".to_owned(),
            occurrence: 2,
        };
        let points = Points::dying_at(point, Side::After);
        assert_eq!(
            points.pass("a".to_owned(), async { 1 }).await,
            1,
            "the first is not deadly"
        );
        let dying = Arc::clone(&points);
        let task = tokio::spawn(async move { dying.pass("a".to_owned(), async { 2 }).await });
        points.reached().await;
        let later = Arc::clone(&points);
        let late = tokio::spawn(async move { later.pass("b".to_owned(), async { 3 }).await });
        tokio::task::yield_now().await;
        assert!(!task.is_finished() && !late.is_finished(), "both hang for ever");
        assert_eq!(points.seen().len(), 2, "what comes after death is no point");
    }
}
