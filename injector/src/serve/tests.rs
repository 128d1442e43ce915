use axum::routing::get;
use jiff::Timestamp;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsConnector;

use super::*;
use crate::certificates::Authority;
use crate::tls::{self, CurrentCertificate};

struct Running {
    address: std::net::SocketAddr,
    authority: Authority,
    certificate: Arc<CurrentCertificate>,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    /// Told by the handler that a request is under way.
    entered: Arc<Notify>,
    /// Lets the handler answer.
    leave: Arc<Notify>,
}

async fn start(drain: Duration) -> Running {
    let authority = Authority::generate("test", Timestamp::now()).expect("a CA");
    let certificate = Arc::new(CurrentCertificate::default());
    let acceptor = TlsAcceptor::from(Arc::new(
        tls::server_config(Arc::clone(&certificate)).expect("TLS"),
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&entered), Arc::clone(&leave));
    let handler = move || async move {
        tell.notify_one();
        wait.notified().await;
        "done"
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let router = Router::new().route("/", get(handler));
    let stopped = async { drop(stopped.await) };
    let served = tokio::spawn(serve(listener, acceptor, router, stopped, drain));
    Running {
        address,
        authority,
        certificate,
        stop: Some(stop),
        served,
        entered,
        leave,
    }
}

impl Running {
    fn issue(&self) {
        let leaf = self
            .authority
            .issue(&["localhost".to_owned()], Timestamp::now())
            .expect("a leaf");
        self.certificate.set(leaf.certified);
    }

    async fn dial(&self) -> Result<(), tls::Error> {
        tls::dial(self.address, self.authority.certificate(), "localhost").await
    }

    async fn send(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        use rustls_pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls_pki_types::CertificateDer::from_pem_slice(self.authority.certificate().as_bytes());
        roots.add(ca.expect("PEM")).expect("a root");
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS")
                .with_root_certificates(roots)
                .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("a handshake");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("a request");
        self.entered.notified().await;
        stream
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_the_stop() {
    let mut running = start(Duration::from_secs(30)).await;
    running.issue();
    let mut stream = running.send().await;
    drop(running.stop.take());
    // The listener goes at once; from then on nobody else connects.
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(
        !running.served.is_finished(),
        "the server should wait for the request under way"
    );
    running.leave.notify_one();
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("an answer, then the end of the connection");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "got {answer}"
    );
    running.served.await.expect("the server should end by itself");
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_the_server_for_ever() {
    let mut running = start(Duration::from_millis(50)).await;
    running.issue();
    let _stream = running.send().await;
    drop(running.stop.take());
    running
        .served
        .await
        .expect("the server should end after the time to drain");
}

#[tokio::test]
async fn a_certificate_is_swapped_without_a_restart() {
    let mut running = start(Duration::from_secs(1)).await;
    assert!(running.dial().await.is_err(), "there is no certificate yet");
    running.issue();
    running.dial().await.expect("the certificate should be trusted");
    let old = std::mem::replace(
        &mut running.authority,
        Authority::generate("test", Timestamp::now()).expect("a CA"),
    );
    assert!(
        running.dial().await.is_err(),
        "the old certificate should not be trusted by the new CA"
    );
    running.issue();
    running
        .dial()
        .await
        .expect("the new certificate should be served");
    let by_old = tls::dial(running.address, old.certificate(), "localhost").await;
    assert!(
        by_old.is_err(),
        "the old CA should not vouch for the new certificate"
    );
}
