//! A server that wants the operator's tokens: TLS with a certificate of a CA of its own, and a record of all it receives.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use vaultkeeper_tests::certs::Ca;

/// What it answers to a login.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// Sends the client on to another address.
    Redirect(String),
    /// Refuses, and repeats what it was sent in its error.
    Echo,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// For example `PUT /v1/auth/kubernetes/login`.
    pub(crate) line: String,
    /// All of it, headers and body.
    pub(crate) text: String,
}

#[derive(Default)]
struct Record {
    connections: usize,
    requests: Vec<Received>,
}

/// It runs until it is dropped.
pub(crate) struct Hostile {
    pub(crate) url: String,
    pub(crate) ca: Ca,
    record: Arc<Mutex<Record>>,
    trick: Arc<Mutex<Trick>>,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub(crate) async fn start(trick: Trick) -> Self {
        vaultkeeper_tests::install_crypto();
        let ca = Ca::new("hostile-ca").unwrap();
        let pair = ca.server("hostile", &["localhost", "127.0.0.1"]).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (record, trick) = (Arc::<Mutex<Record>>::default(), Arc::new(Mutex::new(trick)));
        let (kept, played) = (Arc::clone(&record), Arc::clone(&trick));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                lock(&kept).connections += 1;
                let (acceptor, record, trick) = (acceptor.clone(), Arc::clone(&kept), Arc::clone(&played));
                // A client that goes away is none of its business.
                tokio::spawn(async move { drop(attend(stream, acceptor, record, trick).await) });
            }
        });
        Self {
            url,
            ca,
            record,
            trick,
            task,
        }
    }

    pub(crate) fn play(&self, trick: Trick) {
        *lock(&self.trick) = trick;
    }

    pub(crate) fn connections(&self) -> usize {
        lock(&self.record).connections
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.record).requests.clone()
    }

    /// The ServiceAccount tokens that it was shown.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let received = self.received();
        let tokens = received.iter().filter_map(|request| {
            let body = request.text.split("\r\n\r\n").nth(1)?;
            let body: serde_json::Value = serde_json::from_str(body).ok()?;
            Some(body["jwt"].as_str()?.to_owned())
        });
        tokens.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn attend(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    record: Arc<Mutex<Record>>,
    trick: Arc<Mutex<Trick>>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&buffer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        buffer.clear();
        let line: String = head
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end_matches(" HTTP/1.1")
            .to_owned();
        let answer = answer(&line, body, &lock(&trick).clone());
        lock(&record).requests.push(Received { line, text });
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn answer(line: &str, body: &str, trick: &Trick) -> String {
    let (status, headers, body) = if line.contains("sys/health") {
        let health =
            r#"{"initialized":true,"sealed":false,"standby":false,"version":"1.21.1","cluster_id":""}"#;
        ("200 OK", String::new(), health.to_owned())
    } else {
        match trick {
            Trick::Redirect(to) => {
                let path = line.split(' ').nth(1).unwrap_or_default();
                (
                    "307 Temporary Redirect",
                    format!("Location: {to}{path}\r\n"),
                    String::new(),
                )
            }
            Trick::Echo => {
                let said = serde_json::json!({ "errors": [format!("permission denied: {body}")] });
                ("403 Forbidden", String::new(), said.to_string())
            }
        }
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
