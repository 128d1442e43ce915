//! The Kubernetes client with a limit for each answer.
//!
//! A connection whose other end has vanished without a word never answers, and an object whose reconcile waits for it
//! is not looked at again by anybody.

use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;

/// How long the API server may take for an answer. A watch must begin within it and then has the limit of its own
/// that every watcher sets.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(25);

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} s", .0.as_secs())]
pub struct NoAnswer(Duration);

/// A client whose every call ends within `limit`, the body of its answer included.
pub fn limited(client: Client, limit: Duration) -> Client {
    let default_namespace = client.default_namespace().to_owned();
    Client::new(
        tower::service_fn(move |request| send(client.clone(), request, limit)),
        default_namespace,
    )
}

async fn send(
    client: Client,
    request: Request<Body>,
    limit: Duration,
) -> Result<Response<Body>, kube::Error> {
    let streams = is_watch(request.uri());
    let exchange = async {
        let answer = client.send(request).await?;
        if streams {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let body = body.collect_bytes().await?;
        Ok(Response::from_parts(parts, Body::from(body)))
    };
    timeout(limit, exchange)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service(Box::new(NoAnswer(limit)))))
}

fn is_watch(uri: &http::Uri) -> bool {
    uri.query()
        .unwrap_or_default()
        .split('&')
        .any(|pair| matches!(pair, "watch" | "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body as Answer;
    use futures::StreamExt;
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use kube::api::WatchParams;

    use super::*;

    fn client(answer: impl Fn() -> Option<Answer> + Clone + Send + 'static) -> Client {
        let silent = tower::service_fn(move |_: Request<Body>| {
            let answer = answer();
            async move {
                match answer {
                    Some(body) => Ok::<_, kube::Error>(Response::new(body)),
                    None => std::future::pending().await,
                }
            }
        });
        limited(Client::new(silent, "default"), ANSWER_LIMIT)
    }

    /// A body that begins and never ends.
    fn endless() -> Answer {
        let begun = futures::stream::iter([Ok::<_, std::io::Error>("{")]);
        Answer::from_stream(begun.chain(futures::stream::pending()))
    }

    async fn get(client: Client) -> String {
        let secrets: Api<Secret> = Api::default_namespaced(client);
        let limit = ANSWER_LIMIT + Duration::from_secs(1);
        timeout(limit, secrets.get("a"))
            .await
            .expect("the call must end by itself")
            .expect_err("there was no whole answer")
            .to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_answers_ends_in_words() {
        let said = get(client(|| None)).await;
        assert!(said.contains("did not answer within 25 s"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_ends_ends_too() {
        let said = get(client(|| Some(endless()))).await;
        assert!(said.contains("did not answer within 25 s"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_stream_for_longer_but_must_begin() {
        let watch = |client| async {
            let secrets: Api<Secret> = Api::default_namespaced(client);
            let events = secrets.watch(&WatchParams::default(), "0").await?;
            let mut events = Box::pin(events);
            let first = timeout(ANSWER_LIMIT * 4, events.next()).await;
            Ok::<_, kube::Error>(first.is_err())
        };
        assert!(
            watch(client(|| Some(endless()))).await.unwrap(),
            "a quiet watch is not cut off here"
        );
        let said = watch(client(|| None)).await.unwrap_err().to_string();
        assert!(said.contains("did not answer within 25 s"), "{said}");
    }

    #[test]
    fn only_a_watch_is_a_watch() {
        let is = |text: &str| is_watch(&text.parse().unwrap());
        assert!(is("/api/v1/pods?&watch=true&resourceVersion=1"));
        assert!(!is("/api/v1/pods?watch=false") && !is("/api/v1/pods?name=watch") && !is("/api/v1/watch"));
    }
}
