//! The connections that a client keeps, and how they are given up. A kept connection leads to one member for as
//! long as it lives: behind a Service or a load balancer only a new one can lead to another.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;

use crate::builder::BuildError;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How connections are made.
pub(crate) struct Dialer {
    pub(crate) user_agent: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) route: Route,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<ClientConfig>,
}

/// Which address stands behind the URL's host.
pub(crate) enum Route {
    /// The one that a look-up gives.
    LookUp,
    /// This one, for the host of this name.
    Fixed(String, SocketAddr),
    /// The one that a look-up of another host gives.
    InsteadOf(Arc<InsteadOf>),
}

impl Dialer {
    fn dial(&self) -> Result<reqwest::Client, BuildError> {
        let Self {
            user_agent,
            connect_timeout,
            route,
            tls,
        } = self;
        let http = reqwest::Client::builder()
            .user_agent(user_agent)
            .connect_timeout(*connect_timeout)
            // A redirect would carry the token to a host that nobody chose, and a proxy of the environment too.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            // Behind a Service an idle connection may lead to a pod that is gone.
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A repeated call is the caller's decision.
            .retry(reqwest::retry::never());
        let http = match route {
            Route::LookUp => http,
            Route::Fixed(name, address) => http.resolve(name, *address),
            Route::InsteadOf(host) => http.dns_resolver(Arc::clone(host)),
        };
        let http = match tls {
            // A clone shares the TLS sessions, so that a new connection resumes one.
            Some(config) => http.tls_backend_preconfigured(config.clone()),
            None => http.tls_certs_only([]),
        };
        http.build()
            .map_err(|error| BuildError::Http(error.without_url().to_string()))
    }
}

/// The connections in use.
pub(crate) struct Connections {
    dialer: Dialer,
    current: Mutex<reqwest::Client>,
}

impl Connections {
    /// Nothing is connected yet.
    pub(crate) fn new(dialer: Dialer) -> Result<Self, BuildError> {
        let current = Mutex::new(dialer.dial()?);
        Ok(Self { dialer, current })
    }

    /// What sends requests over them.
    pub(crate) fn current(&self) -> reqwest::Client {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets calls under way end as they are; every later one goes over a connection made after now.
    pub(crate) fn give_up(&self) {
        // It was made with the same settings before, so it fails at most for a moment.
        if let Ok(new) = self.dialer.dial() {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

/// Looks a fixed host up, whatever name is asked for.
pub(crate) struct InsteadOf {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Resolve for InsteadOf {
    fn resolve(&self, _name: Name) -> Resolving {
        let target = (
            self.host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            self.port,
        );
        Box::pin(async move {
            let addresses: Addrs = Box::new(
                tokio::net::lookup_host(target)
                    .await?
                    .collect::<Vec<_>>()
                    .into_iter(),
            );
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{Client, Error};

    /// A server that keeps its connections and gives every request this answer; it counts connections.
    async fn server(status: &'static str, body: &'static str) -> (Client, Arc<AtomicUsize>) {
        // Another test of this process may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()));
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, status, body));
            }
        });
        (client.build().unwrap(), connections)
    }

    async fn answer(mut stream: TcpStream, status: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut head = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn after_the_answer_of_a_sealed_member_the_next_call_connects_anew() {
        let (client, connections) =
            server("503 Service Unavailable", r#"{"errors":["Vault is sealed"]}"#).await;
        let clone = client.clone();
        for (calls, client) in [(1, &client), (2, &clone), (3, &client)] {
            let error = client.read("secret/x").await.unwrap_err();
            assert!(matches!(error, Error::Sealed { .. }), "it is sealed: {error:?}");
            assert_eq!(
                connections.load(Ordering::SeqCst),
                calls,
                "each call must have had a connection of its own, the clones' too"
            );
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_over_good_answers_and_denials() {
        let good = server("200 OK", r#"{"data":{"a":"b"}}"#).await;
        let denied = server("403 Forbidden", r#"{"errors":["permission denied"]}"#).await;
        for (client, connections) in [good, denied] {
            for _ in 0..3 {
                let answer = client.read("secret/x").await;
                assert!(
                    answer.is_ok() || answer.as_ref().is_err_and(Error::is_denied),
                    "as served: {answer:?}"
                );
            }
            assert_eq!(
                connections.load(Ordering::SeqCst),
                1,
                "a handshake for each call is waste"
            );
        }
    }
}
