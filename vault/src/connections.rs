//! The connections that a client keeps, and how they are given up. A kept connection leads to one member for as
//! long as it lives: behind a Service or a load balancer only a new one can lead to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
    /// The one that a look-up gives, if it is not of this host or of its network alone.
    OnlyRoutable,
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
            Route::OnlyRoutable => http.dns_resolver(Arc::new(OnlyRoutable)),
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

/// Looks hosts up and leaves out addresses at which nobody else's server can be meant.
struct OnlyRoutable;

impl Resolve for OnlyRoutable {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let left: Vec<SocketAddr> = found.filter(|address| is_routable(address.ip())).collect();
            if left.is_empty() {
                return Err(format!(
                    "{host} leads to no address but those of this host, of its own network or of a metadata service"
                )
                .into());
            }
            let left: Addrs = Box::new(left.into_iter());
            Ok(left)
        })
    }
}

/// Metadata services of clouds that lie outside of the link-local blocks.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

fn is_routable(address: IpAddr) -> bool {
    // An IPv4 address in the clothes of an IPv6 one is still that one.
    let address = address.to_canonical();
    let is_special = match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local()
        }
    };
    !is_special && !METADATA.contains(&address)
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

    #[test]
    fn this_host_its_link_and_metadata_services_are_nobody_elses_server() {
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "100.100.100.200",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_routable(text.parse().unwrap()), "{text} must be left out");
        }
        for text in ["10.0.0.1", "192.168.1.1", "203.0.113.5", "fd00::1", "2001:db8::1"] {
            assert!(is_routable(text.parse().unwrap()), "{text} may be a Vault");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_host_is_not_connected_to() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let builder = Client::builder(format!("http://localhost:{port}"));
        let error = builder
            .only_routable()
            .build()
            .unwrap()
            .read("a")
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Unreachable { reason, .. } if reason.contains("leads to no address")),
            "it must be refused before it is connected to: {error:?}"
        );
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_the_limit_of_the_client() {
        const LONG: &str = r#"{"data":{"a":"0123456789"}}"#;
        let (client, _) = server("200 OK", LONG).await;
        assert!(client.read("a").await.is_ok(), "the usual limit is far away");
        let bounded = |most| Client::builder(client.node()).max_answer(most).build().unwrap();
        assert!(bounded(LONG.len()).read("a").await.is_ok(), "just as long");
        let error = bounded(LONG.len() - 1).read("a").await.unwrap_err();
        assert!(
            matches!(error, Error::Decode { .. }),
            "one byte more than the limit: {error:?}"
        );
    }

    #[tokio::test]
    async fn a_secret_that_a_server_was_shown_is_left_out_of_what_it_says() {
        let said = r#"{"errors":["no, s3cret-jwt is not welcome"]}"#;
        let (client, _) = server("400 Bad Request", said).await;
        let plain = client.read("a").await.unwrap_err().to_string();
        assert!(plain.contains("s3cret-jwt"), "it is said: {plain}");
        let secret = secrecy::SecretString::from("s3cret-jwt");
        let error = client.never_repeating(&secret).read("a").await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("is not welcome"), "the rest is kept: {said}");
        assert!(
            !format!("{error:?} {said}").contains("s3cret"),
            "it is repeated: {said}"
        );
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
