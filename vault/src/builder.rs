//! How a client is made: which server, which certificates, which times. Nothing is read from the environment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};

use crate::client::{Client, Place};
use crate::connections::{Connections, Dialer, InsteadOf, Route};
use crate::transport::MAX_ANSWER;

/// How long a whole call may take, unless the call itself needs longer (only `sys/init` does).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting, TLS included, may take.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes a [`Client`]. See [`Client::builder`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    url: String,
    roots: Vec<u8>,
    identity: Option<Identity>,
    connect_to: Option<SocketAddr>,
    tls_server_name: Option<String>,
    namespace: Option<String>,
    timeout: Duration,
    connect_timeout: Duration,
    user_agent: String,
    max_answer: usize,
    only_routable: bool,
}

#[derive(Debug, Clone)]
struct Identity {
    certificate_pem: Vec<u8>,
    key_pem: SecretString,
}

/// Why a client cannot be made. Each says which setting is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address cannot be used.
    #[error("the address {url:?} is not usable: {reason}; write it as https://host:port")]
    Address {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no certificate to check the server against.
    #[error("the address {url:?} needs a CA certificate and none was given")]
    NoCa {
        /// The address as given.
        url: String,
    },
    /// The CA bundle is not PEM, or one of its certificates is not usable.
    #[error("the CA bundle is not usable: {0}")]
    Ca(String),
    /// The client certificate or its key is not usable.
    #[error("the client certificate is not usable: {0}")]
    ClientCertificate(String),
    /// The name to check the server's certificate against is not a DNS name.
    #[error("the TLS server name {0:?} is not a DNS name")]
    TlsServerName(String),
    /// The namespace cannot be sent in a header.
    #[error("the namespace {0:?} holds a character that is not visible ASCII")]
    Namespace(String),
    /// The HTTP stack refused the settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(String),
}

impl ClientBuilder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            roots: Vec::new(),
            identity: None,
            connect_to: None,
            tls_server_name: None,
            namespace: None,
            timeout: DEFAULT_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            user_agent: concat!("vaultkeeper/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_answer: MAX_ANSWER,
            only_routable: false,
        }
    }

    /// The CA certificates (PEM, one or several) that the server's certificate must come from. Only these are
    /// trusted, never those of the system. May be called several times.
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.roots.extend_from_slice(pem.as_ref());
        self.roots.push(b'\n');
        self
    }

    /// A client certificate with its key (PEM), for the cert login method or a listener that asks for one.
    pub fn client_certificate(mut self, certificate_pem: impl AsRef<[u8]>, key_pem: SecretString) -> Self {
        self.identity = Some(Identity {
            certificate_pem: certificate_pem.as_ref().to_vec(),
            key_pem,
        });
        self
    }

    /// Connects to this address instead of looking the URL's host up. The certificate is still checked against the
    /// host: so one member is reached by its pod's IP under its stable name.
    pub fn connect_to(mut self, address: SocketAddr) -> Self {
        self.connect_to = Some(address);
        self
    }

    /// Checks the server's certificate against this DNS name instead of the URL's host.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.tls_server_name = Some(name.into());
        self
    }

    /// The namespace of all calls (header `X-Vault-Namespace`), except those that exist only in the root namespace.
    /// Vault CE ignores it silently and answers for the root namespace.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// How long a whole call may take (10 s otherwise).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take (3 s otherwise).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The header `User-Agent`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// How many bytes are read of an answer (32 MiB otherwise). A longer one is an error.
    pub fn max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Connects to no loopback, link-local, multicast or unspecified address and no metadata service of a cloud that a
    /// look-up of the URL's host gives: who owns a name may point it anywhere. An IP address in the URL is connected to
    /// as it is.
    pub fn only_routable(mut self) -> Self {
        self.only_routable = true;
        self
    }

    /// Makes the client. Nothing is connected yet.
    pub fn build(self) -> Result<Client, BuildError> {
        let Self {
            url: given,
            roots,
            identity,
            connect_to,
            tls_server_name,
            namespace,
            timeout,
            connect_timeout,
            user_agent,
            max_answer,
            only_routable,
        } = self;
        let node = base_url(&given)?;
        let host = node.host_str().unwrap_or_default().to_owned();
        let port = node.port_or_known_default().unwrap_or(8200);

        let mut base = node.clone();
        let route = match (&tls_server_name, connect_to) {
            (Some(name), to) => {
                if !is_dns_name(name) {
                    return Err(BuildError::TlsServerName(name.clone()));
                }
                // The URL carries the name that is checked and sent as SNI; the resolver finds the real host.
                base.set_host(Some(name))
                    .map_err(|_| BuildError::TlsServerName(name.clone()))?;
                match to {
                    Some(address) => Route::Fixed(name.clone(), address),
                    None => Route::InsteadOf(Arc::new(InsteadOf { host, port })),
                }
            }
            (None, Some(address)) if is_dns_name(&host) => Route::Fixed(host, address),
            // An IP address in the URL is connected to as it is; replace it.
            (None, Some(address)) => {
                return Err(BuildError::Address {
                    url: given,
                    reason: format!("its host is an IP address, so {address} cannot stand in for it"),
                });
            }
            (None, None) if only_routable => Route::OnlyRoutable,
            (None, None) => Route::LookUp,
        };

        let tls = if node.scheme() == "https" {
            if roots.iter().all(u8::is_ascii_whitespace) {
                return Err(BuildError::NoCa { url: given });
            }
            Some(tls_config(&roots, identity.as_ref())?)
        } else {
            None
        };
        let namespace = namespace
            .map(|text| HeaderValue::from_str(&text).map_err(|_| BuildError::Namespace(text)))
            .transpose()?;
        let connections = Connections::new(Dialer {
            user_agent,
            connect_timeout,
            route,
            tls,
        })?;
        Ok(Client::from_parts(
            connections,
            Place {
                base,
                node,
                namespace,
            },
            timeout,
            max_answer,
        ))
    }
}

/// Checks the address and drops what has no meaning in it.
fn base_url(given: &str) -> Result<Url, BuildError> {
    let refuse = |reason: &str| BuildError::Address {
        url: given.to_owned(),
        reason: reason.to_owned(),
    };
    // Before anything that repeats the address in an error.
    if given.contains('@') {
        return Err(BuildError::Address {
            url: "…".to_owned(),
            reason: "it must not hold a user or password".to_owned(),
        });
    }
    let mut url = Url::parse(given.trim()).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(refuse("its scheme is neither https nor http"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it has no host"));
    }
    if url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        return Err(refuse("it must end after the port"));
    }
    url.set_path("");
    Ok(url)
}

/// A host name rather than an IP address.
fn is_dns_name(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_err()
        && matches!(
            rustls::pki_types::ServerName::try_from(name),
            Ok(rustls::pki_types::ServerName::DnsName(_))
        )
}

/// Our own TLS configuration, so that no process-wide default and no system certificate has a say.
fn tls_config(roots: &[u8], identity: Option<&Identity>) -> Result<ClientConfig, BuildError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots) {
        let certificate = certificate.map_err(|error| BuildError::Ca(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| BuildError::Ca(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(BuildError::Ca("it holds no PEM certificate".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| BuildError::Http(error.to_string()))?
        .with_root_certificates(store);
    let Some(Identity {
        certificate_pem,
        key_pem,
    }) = identity
    else {
        return Ok(config.with_no_client_auth());
    };
    let refuse = |reason: String| BuildError::ClientCertificate(reason);
    let chain = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes())
        .map_err(|_| refuse("its key is not a PEM private key".to_owned()))?;
    config
        .with_client_auth_cert(chain, key)
        .map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_must_be_a_plain_origin() {
        for (given, part) in [
            ("vault:8200", "neither https nor http"),
            ("ftp://vault", "neither https nor http"),
            ("https://vault/v1", "end after the port"),
            ("https://vault?x=1", "end after the port"),
            ("https://user:pass@vault", "user or password"),
            ("", "relative URL"),
        ] {
            let error = base_url(given).unwrap_err().to_string();
            assert!(
                error.contains(part),
                "{given:?} must be refused with {part:?}, not {error}"
            );
            assert!(
                !error.contains("pass@"),
                "a password must not be repeated: {error}"
            );
        }
        assert_eq!(
            base_url("https://[::1]:8200/").unwrap().host_str(),
            Some("[::1]"),
            "IPv6 is fine"
        );
    }

    #[test]
    fn https_without_a_ca_is_refused_at_once() {
        let error = Client::builder("https://vault:8200").build().unwrap_err();
        assert_eq!(
            error,
            BuildError::NoCa {
                url: "https://vault:8200".to_owned()
            },
            "no system roots"
        );
        let error = Client::builder("https://vault:8200")
            .ca_pem("no certificate")
            .build()
            .unwrap_err();
        assert!(
            matches!(error, BuildError::Ca(_)),
            "text that is no certificate: {error}"
        );
    }

    #[test]
    fn a_server_name_must_be_a_dns_name() {
        let error = Client::builder("http://127.0.0.1:8200")
            .tls_server_name("10.0.0.1")
            .build()
            .unwrap_err();
        assert_eq!(
            error,
            BuildError::TlsServerName("10.0.0.1".to_owned()),
            "an IP address is none"
        );
    }

    #[test]
    fn debug_of_a_builder_shows_no_private_key() {
        let builder = Client::builder("https://vault:8200")
            .client_certificate("cert", SecretString::from("s3cret-key"));
        let text = format!("{builder:?}");
        assert!(!text.contains("s3cret"), "the key must be hidden: {text}");
    }
}
