//! The certificate that a server shows, also when it is expired or signed by nobody known: to tell whether a renewed
//! one has arrived. Nothing is sent and nothing is read over such a connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Why a server showed no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// Nobody listens there.
    #[error("nobody takes a connection at {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What listens there speaks no TLS, or none that we speak.
    #[error("no TLS with {address}")]
    Handshake {
        /// Where.
        address: SocketAddr,
        /// How it ended.
        #[source]
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("{address} did not answer within {} s", .limit.as_secs())]
    TimedOut {
        /// Where.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The server's own certificate (DER) as it shows it to a new connection, within `limit`. It is not judged: whoever
/// is to be trusted is reached with a [`Client`](crate::Client).
pub async fn shown_certificate(
    address: SocketAddr,
    limit: Duration,
) -> Result<CertificateDer<'static>, ShownError> {
    let witness = Arc::new(Witness {
        provider: Arc::new(crypto::ring::default_provider()),
        seen: Mutex::new(None),
    });
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&witness.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ShownError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A resumed session shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    // An address: no name is sent, so that the server shows what it shows by default.
    let name = ServerName::IpAddress(address.ip().into());
    let ended = timeout(limit, async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|source| ShownError::Connect { address, source })?;
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|source| ShownError::Handshake { address, source })?;
        // A good end, so that the server has nothing to complain of. What was to be seen was seen.
        let _ = stream.shutdown().await;
        Ok(())
    })
    .await;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, ended) {
        (Some(certificate), _) => Ok(certificate),
        (None, Ok(Err(error))) => Err(error),
        (None, Ok(Ok(()))) => Err(ShownError::Setup("the server showed no certificate".to_owned())),
        (None, Err(_)) => Err(ShownError::TimedOut { address, limit }),
    }
}

/// Remembers the certificate instead of judging it.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_does_not_listen_and_who_speaks_no_tls_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        let error = shown_certificate(address, Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ShownError::Handshake { .. }),
            "plain HTTP is no TLS: {error:?}"
        );
        let nobody = "127.0.0.1:1".parse().unwrap();
        let error = shown_certificate(nobody, Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ShownError::Connect { .. }),
            "port 1 is closed: {error:?}"
        );
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = shown_certificate(address, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ShownError::TimedOut { .. }),
            "it never answers: {error:?}"
        );
    }
}
