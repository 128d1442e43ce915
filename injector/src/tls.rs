//! TLS of the server: the current certificate, swapped while connections go on, and the dial to ourselves.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Why TLS does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration that rustls refuses.
    #[error("failed to set TLS up")]
    Config(#[from] rustls::Error),
    /// The CA is no certificate.
    #[error("the CA cannot be read: {0}")]
    Ca(String),
    /// No connection to ourselves.
    #[error("failed to reach the webhook's own port {address}")]
    Dial {
        /// Where we listen.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// No answer of ourselves.
    #[error("the webhook's own port {address} did not answer in time")]
    Timeout {
        /// Where we listen.
        address: SocketAddr,
    },
}

/// The certificate that new connections get.
#[derive(Debug, Default)]
pub struct CurrentCertificate(ArcSwapOption<CertifiedKey>);

impl CurrentCertificate {
    /// Replaces it; connections that exist go on.
    pub fn set(&self, certificate: Arc<CertifiedKey>) {
        self.0.store(Some(certificate));
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// The server's side: TLS 1.2 and 1.3, HTTP/1.1.
///
/// # Errors
/// rustls refuses its own defaults.
pub fn server_config(certificate: Arc<CurrentCertificate>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Makes a TLS handshake with ourselves as the API server would: trusting only `ca` (PEM), asking for `name`.
///
/// # Errors
/// The port cannot be reached, or its certificate is not to be trusted.
pub async fn dial(listening: SocketAddr, ca: &str, name: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.map_err(|error| Error::Ca(error.to_string()))?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::Ca(error.to_string()))?;
    let address = reachable(listening);
    let handshake = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    match tokio::time::timeout(DIAL_TIMEOUT, handshake).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(Error::Dial { address, source }),
        Err(_) => Err(Error::Timeout { address }),
    }
}

/// Where a listener on all addresses can be reached from here.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        match listening {
            SocketAddr::V4(_) => listening.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => listening.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    listening
}
