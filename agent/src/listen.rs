//! What the agent serves about itself: `/healthz`, `/readyz`, `/metrics`, and where it is allowed `/agent/v1/quit`. Off
//! unless a listener is configured. Talks to the network.

mod http;
mod route;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, lookup_host};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::config::{self, Listener, Socket};
use crate::logging::Chain;
use crate::random::unit;
use crate::ready;
use crate::seen::{self, Process};
use crate::session::millis;
use crate::write::{Ids, Owner};
use http::{Answer, Head, MOST_BYTES};
use route::{Page, Rules};

/// From the first byte to the last of one request with its answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How many are served at a time; the others wait in the system's queue.
const MOST_CONNECTIONS: usize = 8;

/// What every connection needs.
pub(crate) struct Served {
    /// The files that the application waits for.
    pub(crate) files: Vec<PathBuf>,
    /// Told when somebody asks the agent to end.
    pub(crate) quit: Notify,
    /// When the program began.
    pub(crate) started: SystemTime,
}

/// Why a listener does not serve.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
struct ListenError {
    address: String,
    #[source]
    source: io::Error,
}

/// Serves all listeners for ever. One that cannot be opened is tried again: the agent's work does not depend on it.
pub(crate) async fn serve(listeners: &[Listener], served: &Arc<Served>) {
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        tasks.spawn(one(listener.clone(), Arc::clone(served)));
    }
    while tasks.join_next().await.is_some() {}
    std::future::pending::<()>().await;
}

async fn one(listener: Listener, served: Arc<Served>) {
    let Listener {
        socket,
        tls,
        metrics_only,
        require_request_header,
        enable_quit,
    } = listener;
    if tls.is_some() {
        tracing::error!(
            listener = name(&socket),
            "not served: this version of the agent serves plain HTTP only; set tls_disable"
        );
        return;
    }
    let rules = Rules {
        metrics_only,
        require_request_header,
        enable_quit,
    };
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let open = loop {
        match Open::new(&socket).await {
            Ok(open) => break open,
            Err(error) => {
                let delay = backoff.next(unit());
                tracing::error!(error = %Chain(&error), retry_ms = millis(delay), "not served");
                sleep(delay).await;
            }
        }
    };
    tracing::info!(listener = name(&socket), "serves");
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match open.accept().await {
            Ok((stream, is_local)) => {
                let served = Arc::clone(&served);
                tokio::spawn(async move {
                    connection(stream, is_local, rules, &served).await;
                    drop(place);
                });
            }
            // No more file descriptors, most likely: at once again would be a busy loop.
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A listener that is open.
enum Open {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Open {
    async fn new(socket: &Socket) -> Result<Self, ListenError> {
        let opened = match socket {
            Socket::Tcp(address) => bind(address).await.map(Self::Tcp),
            Socket::Unix {
                path,
                mode,
                user,
                group,
            } => bind_file(path, *mode, user.as_deref(), group.as_deref()).map(Self::Unix),
        };
        opened.map_err(|source| ListenError {
            address: name(socket),
            source,
        })
    }

    /// The next connection, and whether it comes from our own pod.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, bool)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Box::new(stream), is_local(&peer))
            }
            Self::Unix(listener) => (Box::new(listener.accept().await?.0), true),
        })
    }
}

fn name(socket: &Socket) -> String {
    match socket {
        Socket::Tcp(address) => address.clone(),
        Socket::Unix { path, .. } => path.display().to_string(),
    }
}

/// Whether the peer is in our pod: containers of a pod share its loopback, and nobody else reaches that.
fn is_local(peer: &SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

async fn bind(address: &str) -> io::Result<TcpListener> {
    let found: Vec<SocketAddr> = lookup_host(address).await?.collect();
    TcpListener::bind(found.as_slice()).await
}

fn bind_file(
    path: &Path,
    mode: Option<u32>,
    user: Option<&str>,
    group: Option<&str>,
) -> io::Result<UnixListener> {
    let owner = |name: &str| match name.parse() {
        Ok(number) => config::Owner::Id(number),
        Err(_) => config::Owner::Name(name.to_owned()),
    };
    let (user, group) = (user.map(owner), group.map(owner));
    let owner = Owner {
        user: user.as_ref(),
        group: group.as_ref(),
    };
    let Ids { uid, gid } = owner.resolve().map_err(io::Error::other)?;
    // What an earlier run left behind; anything else than a socket stays where it is.
    if fs::symlink_metadata(path).is_ok_and(|there| is_socket(&there)) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(0o600)))?;
    if uid.is_some() || gid.is_some() {
        chown(path, uid, gid)?;
    }
    Ok(listener)
}

fn is_socket(there: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    there.file_type().is_socket()
}

async fn connection(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    is_local: bool,
    rules: Rules,
    served: &Served,
) {
    let exchange = async {
        let (answer, is_head, quits) = match head(&mut stream).await? {
            Head::Whole(request) => {
                let page = route::route(&request, is_local, rules);
                let quits = page == Page::Quit;
                (answer(page, served), request.method == "HEAD", quits)
            }
            Head::Partial | Head::Bad => (Answer::error("400 Bad Request", "not a request"), false, false),
        };
        stream.write_all(&answer.bytes(is_head)).await?;
        stream.shutdown().await?;
        if quits {
            served.quit.notify_one();
        }
        io::Result::Ok(())
    };
    // Too slow, or gone: there is nobody to tell.
    let _ = timeout(LIMIT, exchange).await;
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let room = MOST_BYTES.saturating_sub(bytes.len());
        let mut limited = (&mut *stream).take(u64::try_from(room).unwrap_or(0));
        let count = limited.read_buf(&mut bytes).await?;
        let head = http::read(&bytes);
        if count == 0 || head != Head::Partial {
            return Ok(head);
        }
    }
}

fn answer(page: Page, served: &Served) -> Answer {
    match page {
        Page::Health => Answer::text("200 OK", "ok\n"),
        Page::Ready => match ready::missing(&served.files) {
            None => Answer::text("200 OK", "ok\n"),
            Some(file) => Answer::text(
                "503 Service Unavailable",
                format!("{} is not there yet\n", file.display()),
            ),
        },
        Page::Metrics => {
            let process = Process {
                started: served.started,
                memory: memory(),
            };
            Answer {
                status: "200 OK",
                kind: "text/plain; version=0.0.4; charset=utf-8",
                body: seen::text(&seen::now(), process, Instant::now()),
            }
        }
        Page::Quit => Answer::text("204 No Content", ""),
        Page::Refused { status, reason } => Answer::error(status, reason),
    }
}

/// Our resident memory in bytes.
fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests;
