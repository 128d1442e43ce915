//! A Service in miniature, on loopback: each new connection goes to the present target, those that are there stay.
//! It may hand answers on late, or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// When an answer is handed on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    AtOnce,
    /// Each part of it this much later.
    After(Duration),
    /// Not before the pace is another.
    Never,
}

/// It ends with this value; connections end with their ends.
pub(crate) struct Forwarder {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    accepted: Arc<AtomicUsize>,
    pace: watch::Sender<Pace>,
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwarder {
    /// Listens on a free port and forwards to this address.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (pace, paces) = watch::channel(Pace::AtOnce);
        let (cuts, cut) = watch::channel(());
        let (targets, count) = (Arc::clone(&target), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let target = *targets.lock().unwrap();
                let (paces, mut cut) = (paces.clone(), cut.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(stream, target, paces) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            target,
            accepted,
            pace,
            cuts,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where connections go from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    /// When answers are handed on from now on.
    pub(crate) fn answer(&self, pace: Pace) {
        self.pace.send_replace(pace);
    }

    /// Ends all connections that there are.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// How many connections were made so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, target: SocketAddr, paces: watch::Receiver<Pace>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    // Whichever end closes first ends both directions.
    tokio::select! {
        () = copy(from_client, to_server, None) => {}
        () = copy(from_server, to_client, Some(paces)) => {}
    }
}

async fn copy(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    mut paces: Option<watch::Receiver<Pace>>,
) {
    let mut part = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        if let Some(paces) = &mut paces {
            hold_back(paces).await;
        }
        if to.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits as the pace says.
async fn hold_back(paces: &mut watch::Receiver<Pace>) {
    loop {
        let pace = *paces.borrow_and_update();
        match pace {
            Pace::AtOnce => return,
            Pace::After(delay) => return tokio::time::sleep(delay).await,
            Pace::Never => {
                if paces.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
