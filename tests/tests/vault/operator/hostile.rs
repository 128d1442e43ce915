//! A server that wants the operator's tokens, or its time and memory: TLS with a certificate of a CA of its own, and a
//! record of all it receives.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vaultkeeper_tests::certs::Ca;

/// What it does. Unless it says otherwise, it claims to be an unsealed Vault.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// Answers a login by sending the client on to another address.
    Redirect(String),
    /// Answers every request so.
    RedirectAll(String),
    /// Refuses a login, and repeats what it was sent in its error.
    Echo,
    /// Refuses everything, and repeats the last ServiceAccount token that it was shown.
    EchoLater,
    /// Takes a login for longer than any clock can count, and answers all else by what it was shown.
    Generous,
    /// Begins every answer and never ends it.
    Endless,
    /// Takes every request and never answers.
    Silent,
    /// Answers what is no HTTP.
    Noise,
}

/// The token that it gives in [`Trick::Generous`].
pub(crate) const GENEROUS_TOKEN: &str = "hvs.generous";

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
    /// The most bytes that were taken of one endless answer.
    taken: usize,
}

/// It runs until it is dropped.
pub(crate) struct Hostile {
    pub(crate) url: String,
    pub(crate) ca: Ca,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    record: Mutex<Record>,
    trick: Mutex<Trick>,
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
        let shared = Arc::new(Shared {
            record: Mutex::default(),
            trick: Mutex::new(trick),
        });
        let kept = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                lock(&kept.record).connections += 1;
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&kept));
                // A client that goes away is none of its business.
                tokio::spawn(async move { drop(attend(stream, acceptor, &shared).await) });
            }
        });
        Self {
            url,
            ca,
            shared,
            task,
        }
    }

    pub(crate) fn play(&self, trick: Trick) {
        *lock(&self.shared.trick) = trick;
    }

    pub(crate) fn connections(&self) -> usize {
        lock(&self.shared.record).connections
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.shared.record).requests.clone()
    }

    /// The most bytes that were taken of one endless answer.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.shared.record).taken
    }

    /// The ServiceAccount tokens that it was shown.
    pub(crate) fn tokens(&self) -> Vec<String> {
        tokens(&self.received())
    }
}

fn tokens(received: &[Received]) -> Vec<String> {
    let tokens = received.iter().filter_map(|request| {
        let body = request.text.split("\r\n\r\n").nth(1)?;
        let body: Value = serde_json::from_str(body).ok()?;
        Some(body["jwt"].as_str()?.to_owned())
    });
    tokens.collect()
}

/// Whom a ServiceAccount token is for.
pub(crate) fn audiences(token: &str) -> Vec<String> {
    let claims = token.split('.').nth(1).expect("a JWT has three parts");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    serde_json::from_value(claims["aud"].clone()).expect("a list")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn attend(stream: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> io::Result<()> {
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
        let line = head.lines().next().unwrap_or_default();
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        let body = body.to_owned();
        lock(&shared.record).requests.push(Received {
            line: line.clone(),
            text,
        });
        let trick = lock(&shared.trick).clone();
        act(&mut stream, &trick, &line, &body, shared).await?;
    }
}

async fn act(
    stream: &mut TlsStream<TcpStream>,
    trick: &Trick,
    line: &str,
    body: &str,
    shared: &Shared,
) -> io::Result<()> {
    let path = line.split(' ').nth(1).unwrap_or_default();
    let health = json!({"initialized": true, "sealed": false, "standby": false, "version": "1.21.1", "cluster_id": ""});
    let (status, headers, said) = match trick {
        Trick::Silent => return std::future::pending().await,
        Trick::Noise => return stream.write_all(b"\x00\x01 not HTTP at all\r\n\r\n").await,
        Trick::Endless => return endless(stream, shared).await,
        Trick::RedirectAll(to) => redirect(to, path),
        Trick::EchoLater => {
            let seen = tokens(&lock(&shared.record).requests).pop();
            ("400 Bad Request", String::new(), json!({"errors": [seen]}))
        }
        _ if path.contains("sys/health") => ("200 OK", String::new(), health),
        Trick::Redirect(to) => redirect(to, path),
        Trick::Echo => {
            let said = json!({ "errors": [format!("permission denied: {body}")] });
            ("403 Forbidden", String::new(), said)
        }
        Trick::Generous if path.ends_with("/login") => {
            let auth = json!({"client_token": GENEROUS_TOKEN, "accessor": "a", "policies": ["root"],
                "lease_duration": i64::MAX, "renewable": true, "token_type": "service"});
            ("200 OK", String::new(), json!({ "auth": auth }))
        }
        Trick::Generous => {
            let seen = tokens(&lock(&shared.record).requests).pop();
            let said = json!({"errors": [format!("{seen:?} {GENEROUS_TOKEN}")]});
            ("400 Bad Request", String::new(), said)
        }
    };
    let said = said.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{said}",
        said.len()
    );
    stream.write_all(answer.as_bytes()).await
}

fn redirect(to: &str, path: &str) -> (&'static str, String, Value) {
    let location = format!("Location: {to}{path}\r\n");
    ("307 Temporary Redirect", location, Value::Null)
}

async fn endless(stream: &mut TlsStream<TcpStream>, shared: &Shared) -> io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await?;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut taken = 0;
    loop {
        stream.write_all(chunk.as_bytes()).await?;
        taken += 0x10000;
        let mut record = lock(&shared.record);
        record.taken = record.taken.max(taken);
    }
}
