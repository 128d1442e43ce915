//! Makes one backup: a snapshot of the active member, checked and encrypted while it goes to the bucket in parts. It counts
//! only when every sum in it was right, the bucket has as many bytes as were sent, and its description is written.

use std::time::Duration;

use bytes::Bytes;
use ring::digest::{self, SHA256};
use ring::rand::SystemRandom;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::age::Encryptor;
use super::archive::{self, Fed};
use super::error::Error;
use super::manifest::Manifest;
use super::names;
use super::open::Opened;
use super::s3::S3;
use crate::hex::hex;

/// Bytes of a part; the last may be shorter. Services take no shorter ones than 5 MiB.
const PART: usize = 8 << 20;
/// The most parts of an object.
const PARTS: u16 = 10_000;
/// Pieces that wait to be checked.
const AHEAD: usize = 16;
/// How often a part is sent before the backup is given up.
const TRIES: u32 = 4;
/// The pause before a part is sent again. Each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be made.
pub(super) struct Job {
    pub object: String,
    pub time: String,
    pub cluster_id: Option<String>,
    pub version: Option<String>,
}

/// What was made.
pub(super) struct Made {
    pub size: u64,
    pub sha256: String,
}

/// An archive that is read by a thread while it passes.
pub(super) struct Checking {
    pieces: mpsc::Sender<Bytes>,
    thread: JoinHandle<Result<archive::Contents, archive::Broken>>,
}

impl Checking {
    pub(super) fn begin() -> Self {
        let (pieces, fed) = mpsc::channel(AHEAD);
        let thread = tokio::task::spawn_blocking(move || archive::check(Fed::new(fed)));
        Self { pieces, thread }
    }

    /// Whether the thread goes on. If not, it has found a fault.
    pub(super) async fn feed(&self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    pub(super) async fn end(self) -> Result<archive::Contents, Error> {
        drop(self.pieces);
        let ended = self.thread.await.map_err(|_| Error::Interrupted)?;
        Ok(ended?)
    }
}

/// Parts on their way.
struct Upload<'a> {
    s3: &'a S3,
    object: &'a str,
    id: &'a str,
    /// Encrypted bytes that are not sent yet.
    pending: Vec<u8>,
    parts: Vec<String>,
    size: u64,
    digest: digest::Context,
}

impl Upload<'_> {
    async fn send_whole_parts(&mut self) -> Result<(), Error> {
        while self.pending.len() > PART {
            let rest = self.pending.split_off(PART);
            self.send_part(rest).await?;
        }
        Ok(())
    }

    /// Sends what is pending, and keeps the rest.
    async fn send_part(&mut self, rest: Vec<u8>) -> Result<(), Error> {
        let body = Bytes::from(std::mem::replace(&mut self.pending, rest));
        let number = u16::try_from(self.parts.len() + 1).unwrap_or(u16::MAX);
        if number > PARTS {
            return Err(Error::TooLarge(PART as u64 * u64::from(PARTS)));
        }
        self.digest.update(&body);
        self.size += body.len() as u64;
        let mut tried = 1;
        let etag = loop {
            match self.s3.part(self.object, self.id, number, body.clone()).await {
                Err(error) if error.problem.may_pass() && tried < TRIES => {
                    tokio::time::sleep(PAUSE * 2u32.pow(tried - 1)).await;
                    tried += 1;
                }
                answer => break answer?,
            }
        };
        self.parts.push(etag);
        Ok(())
    }
}

/// Uploads a snapshot under an id that the service gave before.
pub(super) async fn upload(
    client: &vaultkeeper_vault::Client,
    opened: &Opened,
    job: &Job,
    id: &str,
) -> Result<Made, Error> {
    let Opened {
        s3,
        recipients,
        identity: _,
    } = opened;
    let broken = |source| Error::Vault {
        step: "read a snapshot of the active member",
        source: Box::new(source),
    };
    let mut snapshot = client.raft_snapshot().await.map_err(broken)?;
    let checking = Checking::begin();
    let mut upload = Upload {
        s3,
        object: &job.object,
        id,
        pending: Vec::with_capacity(PART + (1 << 17)),
        parts: Vec::new(),
        size: 0,
        digest: digest::Context::new(&SHA256),
    };
    let mut encryptor =
        Encryptor::new(recipients, &SystemRandom::new(), &mut upload.pending).map_err(Error::Encrypt)?;
    while let Some(piece) = snapshot.chunk().await.map_err(broken)? {
        if !checking.feed(piece.clone()).await {
            break;
        }
        encryptor
            .update(&piece, &mut upload.pending)
            .map_err(Error::Encrypt)?;
        upload.send_whole_parts().await?;
    }
    checking.end().await?;
    encryptor.finish(&mut upload.pending).map_err(Error::Encrypt)?;
    upload.send_whole_parts().await?;
    upload.send_part(Vec::new()).await?;
    s3.complete(&job.object, id, &upload.parts).await?;
    let made = Made {
        size: upload.size,
        sha256: hex(upload.digest.finish().as_ref()),
    };
    match s3.size(&job.object).await? {
        None => Err(Error::Gone {
            object: job.object.clone(),
        }),
        Some(size) if size != made.size => Err(Error::Differs {
            object: job.object.clone(),
            what: format!("{size} bytes, and {} were sent", made.size),
        }),
        Some(_) => {
            describe(opened, job, &made).await?;
            Ok(made)
        }
    }
}

async fn describe(opened: &Opened, job: &Job, made: &Made) -> Result<(), Error> {
    let Job {
        object,
        time,
        cluster_id,
        version,
    } = job;
    let manifest = Manifest {
        object: object.clone(),
        size: made.size,
        sha256: made.sha256.clone(),
        time: time.clone(),
        cluster_id: cluster_id.clone(),
        version: version.clone(),
        recipients: opened.recipients.iter().map(ToString::to_string).collect(),
    };
    let body = serde_json::to_vec_pretty(&manifest).map_err(|_| Error::Interrupted)?;
    opened.s3.put(&names::manifest(object), Bytes::from(body)).await?;
    Ok(())
}
