//! A provider of OpenID Connect, as far as Vault asks one: it says where its endpoints are, over TLS, and writes down what
//! it is shown at the token endpoint.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use vaultkeeper_tests::certs::Ca;

/// Runs until it is dropped.
pub(super) struct OidcProvider {
    pub(super) url: String,
    pub(super) ca: Ca,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl OidcProvider {
    pub(super) async fn start() -> Self {
        vaultkeeper_tests::install_crypto();
        let ca = Ca::new("provider-ca").unwrap();
        let pair = ca.server("provider", &["127.0.0.1"]).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, own) = (Arc::clone(&requests), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, kept, own) = (acceptor.clone(), Arc::clone(&kept), own.clone());
                // A client that goes away is none of its business.
                tokio::spawn(async move { drop(attend(stream, acceptor, &kept, &own).await) });
            }
        });
        Self {
            url,
            ca,
            requests,
            task,
        }
    }

    /// Every request so far, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request of a connection, which is closed with its answer.
async fn attend(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    requests: &Mutex<Vec<String>>,
    own: &str,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut read = Vec::new();
    while !is_whole(&read) {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&read).into_owned();
    let (status, body) = if request.starts_with("GET /.well-known/openid-configuration ") {
        let body = json!({
            "issuer": own,
            "authorization_endpoint": format!("{own}/authorize"),
            "token_endpoint": format!("{own}/token"),
            "jwks_uri": format!("{own}/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        ("200 OK", body)
    } else {
        ("400 Bad Request", json!({"error": "invalid_grant"}))
    };
    requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Whether head and body are there.
fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    body.len() >= length.unwrap_or_default()
}
