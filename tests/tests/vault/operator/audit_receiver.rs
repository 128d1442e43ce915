//! A log receiver of the kind that a cluster has: it takes audit lines over UDP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Takes lines until it is dropped.
pub(super) struct AuditReceiver {
    address: SocketAddr,
    text: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl AuditReceiver {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let text = Arc::new(Mutex::new(String::new()));
        let received = Arc::clone(&text);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            while let Ok(length) = socket.recv(&mut buffer).await {
                received
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Ok(Self { address, text, task })
    }

    /// Where it listens, as a spec names it.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Everything that came so far.
    pub(super) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

impl Drop for AuditReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
