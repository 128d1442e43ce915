//! Snapshots of integrated storage (`sys/storage/raft/snapshot…`), never held in memory as a whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use reqwest::Method;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::transport::{Fault, fault};

/// How long nothing may arrive of a snapshot.
const SILENCE: Duration = Duration::from_secs(60);

fn request() -> Request {
    Request::get("sys/storage/raft/snapshot").root_namespace()
}

/// A snapshot while it arrives: a gzipped tar. Dropping it ends the request.
///
/// Vault answers 200 before it knows whether it can send all of it: only the archive itself tells that it is whole.
pub struct Snapshot {
    client: Client,
    response: reqwest::Response,
}

impl Snapshot {
    /// The next piece. None: the server says that this was all.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let error = |fault| self.client.no_answer(&request(), SILENCE, fault);
        match timeout(SILENCE, self.response.chunk()).await {
            Err(_) => Err(error(Fault::TimedOut)),
            Ok(Err(broken)) => Err(error(fault(broken))),
            Ok(Ok(chunk)) => Ok(chunk),
        }
    }
}

/// Pieces of a snapshot on their way to a server. An error in place of a piece breaks the request off.
pub struct Pieces(pub mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Client {
    /// Begins to read a snapshot: `GET sys/storage/raft/snapshot`. The active node has it; a standby of Vault answers
    /// [`crate::Error::Standby`]. Needs `read`.
    pub async fn raft_snapshot(&self) -> Result<Snapshot> {
        let request = request();
        let opened = timeout(SILENCE, self.open(&request, None, None)).await;
        let response = opened.map_err(|_| self.no_answer(&request, SILENCE, Fault::TimedOut))??;
        Ok(Snapshot {
            client: self.clone(),
            response,
        })
    }

    /// Puts a snapshot in the place of all data: `POST sys/storage/raft/snapshot`, or with `force` `…/snapshot-force`,
    /// which takes one that was made under other unseal keys. The node then works on it for seconds, in which its health
    /// does not answer; after a force with other keys it is sealed. Needs `update`. `limit` is for the whole transfer.
    pub async fn restore_raft_snapshot(&self, pieces: Pieces, force: bool, limit: Duration) -> Result<()> {
        let path = if force {
            "sys/storage/raft/snapshot-force"
        } else {
            "sys/storage/raft/snapshot"
        };
        let request = Request::new(Method::POST, path).root_namespace();
        let body = reqwest::Body::wrap(pieces);
        self.open(&request, Some(body), Some(limit)).await.map(drop)
    }
}
