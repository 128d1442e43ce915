//! A wire to a server: passes bytes on, and can be disturbed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports;

/// What happens on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: all is passed on.
    None,
    /// Connections are closed at once, also those that there are.
    Cut,
    /// Everything stands still, open connections too, once this many bytes have gone to the server since the fault began.
    HoldAfter(u64),
    /// Connections are closed once this many bytes have gone to the server since the fault began.
    CutAfter(u64),
}

/// A wire. Dropping it ends it.
pub struct Wire {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// A wire to a server, on the same address and another port.
    pub async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let ip = server.ip();
        let address = SocketAddr::new(ip, ports::free_port(ip)?);
        let listener = TcpListener::bind(address).await?;
        let (fault, faults) = watch::channel(Fault::None);
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, server, faults.clone(), Arc::clone(&counted)));
            }
        });
        Ok(Self {
            address,
            fault,
            sent,
            task,
        })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens.
    pub fn set(&self, fault: Fault) {
        self.sent.store(0, Ordering::SeqCst);
        self.fault.send_replace(fault);
    }

    /// Bytes that went to the server since the fault was set.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, server: SocketAddr, faults: watch::Receiver<Fault>, sent: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (of_up, of_down, over) = (faults.clone(), faults.clone(), faults);
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut buffer).await else {
                return;
            };
            sent.fetch_add(read as u64, Ordering::SeqCst);
            wait_out(of_up.clone(), &sent).await;
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(read @ 1..) = from_server.read(&mut buffer).await else {
                return;
            };
            wait_out(of_down.clone(), &sent).await;
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = cut(over, &sent) => {}
    }
}

/// Returns when bytes may pass.
async fn wait_out(mut faults: watch::Receiver<Fault>, sent: &AtomicU64) {
    let held = |fault: &Fault| match fault {
        Fault::HoldAfter(bytes) => sent.load(Ordering::SeqCst) >= *bytes,
        Fault::None | Fault::Cut | Fault::CutAfter(_) => false,
    };
    let _ = faults.wait_for(|fault| !held(fault)).await;
}

/// Returns when the connection is to be closed.
async fn cut(faults: watch::Receiver<Fault>, sent: &AtomicU64) {
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
    loop {
        looks.tick().await;
        let over = match *faults.borrow() {
            Fault::Cut => true,
            Fault::CutAfter(bytes) => sent.load(Ordering::SeqCst) >= bytes,
            Fault::None | Fault::HoldAfter(_) => false,
        };
        if over {
            return;
        }
    }
}
