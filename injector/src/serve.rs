//! The accept loop: TLS with a deadline for handshakes, HTTP/1.1, and an end that lets requests under way finish.

mod sources;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use sources::{Place, Sources};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Also how long a connection may idle: longer than the API server keeps one, so that it is never closed under a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(150);
const MOST_CONNECTIONS: usize = 1024;
/// Far more than an API server opens, even behind a proxy for all of them.
const MOST_OF_ONE_SOURCE: usize = 256;
/// After running out of descriptors, accepting at once would only fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets requests under way finish within `drain`.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let sources = Sources::default();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room, &sources) => accepted,
            () = &mut stop => break,
        };
        let Some((stream, permit, place)) = accepted else {
            continue;
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let (_permit, _place) = (permit, place);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(%error, "a connection broke");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
    // Nobody else is to connect while the others finish.
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way at the end of the time to drain");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    sources: &Sources,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit, Place)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => {
            let Some(place) = sources.enter(from.ip(), MOST_OF_ONE_SOURCE) else {
                tracing::debug!(%from, "closed a connection: its source has too many");
                return None;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection broke");
            }
            Some((stream, permit, place))
        }
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests;
