//! A real S3 server, versitygw, over a folder of files on loopback; and a wire in front of it that can be disturbed.

mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::certs::Ca;
use crate::ports;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::servers::{self, Server};
use crate::wait;

pub use wire::{Fault, Wire};

/// The bucket that there is.
pub const BUCKET: &str = "backups";
/// How long it may take to listen, on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// One server. Dropping it stops it.
pub struct S3Server {
    _process: Process,
    address: SocketAddr,
    folder: PathBuf,
    ca: Ca,
    secret: String,
}

impl S3Server {
    /// The id of the access key.
    pub const ACCESS_KEY: &str = "testbed";

    /// Starts it with TLS and one empty bucket.
    pub async fn start(run: &RunDir) -> anyhow::Result<Self> {
        crate::install_crypto();
        let folder = run.folder("s3/data")?;
        let sidecar = run.folder("s3/sidecar")?;
        std::fs::create_dir_all(folder.join(BUCKET)).context("cannot make the bucket")?;
        let ip = ports::loopback()?;
        let address = SocketAddr::new(ip, ports::free_port(ip)?);
        let ca = Ca::new("S3 CA")?;
        let pair = ca.server("s3", &[&ip.to_string()])?;
        let files = pair.write(&run.folder("s3/tls")?, "server")?;
        let secret = crate::consul_server::random_uuid()?;
        let spec = ProcessSpec::new("versitygw", servers::path(Server::Versitygw)?, run)
            .env("ROOT_ACCESS_KEY", Self::ACCESS_KEY)
            .env("ROOT_SECRET_KEY", secret.clone())
            .args([
                "--port".to_owned(),
                address.to_string(),
                "--cert".to_owned(),
                files.cert.display().to_string(),
                "--key".to_owned(),
                files.key.display().to_string(),
                "posix".to_owned(),
                "--sidecar".to_owned(),
                sidecar.display().to_string(),
                folder.display().to_string(),
            ]);
        let process = Process::start(spec, run)?;
        wait::until_async("the S3 server to listen", READY, async || {
            process.check_running()?;
            tokio::net::TcpStream::connect(address).await?;
            Ok(())
        })
        .await?;
        Ok(Self {
            _process: process,
            address,
            folder,
            ca,
            secret,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The secret of the access key.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The CA of its certificate, in PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.cert_pem()
    }

    /// All objects of the bucket, by their names; unfinished uploads are not among them.
    pub fn objects(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let root = self.folder.join(BUCKET);
        let mut found = Vec::new();
        walk(&root, &root, &mut found)?;
        found.retain(|(name, _)| !name.starts_with(".sgwtmp"));
        found.sort();
        Ok(found)
    }

    /// Parts of uploads that were neither completed nor broken off.
    pub fn unfinished(&self) -> anyhow::Result<Vec<PathBuf>> {
        let root = self.folder.join(BUCKET).join(".sgwtmp/multipart");
        let mut found = Vec::new();
        if root.is_dir() {
            walk(&root, &root, &mut found)?;
        }
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, PathBuf)>) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        // It went while this looked.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else {
            let name = path.strip_prefix(root)?.display().to_string();
            ensure!(!name.is_empty(), "an object without a name");
            found.push((name, path));
        }
    }
    Ok(())
}
