//! A real PostgreSQL of the distribution on loopback, for Vault's database engine. It never runs as root.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use crate::ports;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::wait;

/// Where Debian puts the servers, one folder per major version.
const SERVERS: &str = "/usr/lib/postgresql";

/// How long it may take until it answers, on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(90);

/// How long it gets to end by itself.
const GRACE: Duration = Duration::from_secs(20);

/// The user and group that it runs as where this process is root's: PostgreSQL refuses root.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// The administrator of the database.
pub const ADMIN: &str = "admin";

/// A server with one database, `postgres`. Dropping it stops it.
#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    address: SocketAddr,
    programs: PathBuf,
    password: String,
}

impl PostgresServer {
    /// Makes a database in the run's folder, starts the server and waits until it answers.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start; the error holds the end of its log.
    pub fn start(run: &RunDir) -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = run.folder("postgres")?;
        let data = folder.join("data");
        let password_file = folder.join("password");
        let password = crate::consul_server::random_uuid()?;
        crate::certs::write_private(&password_file, &password)?;
        if rustix::process::geteuid().is_root() {
            let (user, group) = NOBODY;
            for path in [&folder, &password_file] {
                chown(path, Some(user), Some(group))
                    .with_context(|| format!("cannot give {} away", path.display()))?;
            }
        }
        let (program, mut args) = as_nobody(&programs.join("initdb"));
        args.extend(
            [
                "--no-sync",
                "--no-locale",
                "--encoding=UTF8",
                "--auth=scram-sha-256",
            ]
            .map(str::to_owned),
        );
        args.push(format!("--username={ADMIN}"));
        args.push(format!("--pwfile={}", password_file.display()));
        args.push(format!("--pgdata={}", data.display()));
        let made = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(&folder)
            .output()
            .context("cannot run initdb")?;
        ensure!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        fs::remove_file(&password_file).context("cannot remove the password's file")?;
        let ip = ports::loopback()?;
        let address = SocketAddr::new(ip, ports::free_port(ip)?);
        let (program, mut args) = as_nobody(&programs.join("postgres"));
        args.extend(["-D".to_owned(), data.display().to_string()]);
        // Nothing of it lies outside of its folder, also when it is killed: no socket, no shared memory with a name.
        for setting in [
            format!("listen_addresses={ip}"),
            format!("port={}", address.port()),
            "unix_socket_directories=".to_owned(),
            "dynamic_shared_memory_type=mmap".to_owned(),
            "fsync=off".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ] {
            args.extend(["-c".to_owned(), setting]);
        }
        let spec = ProcessSpec::new("postgres", program, run).args(args);
        let server = Self {
            process: Process::start(spec, run)?,
            address,
            programs,
            password,
        };
        wait::until("PostgreSQL to answer", READY_DEADLINE, || {
            server.process.check_running()?;
            server.sql("SELECT 1").map(drop)
        })?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs a statement as the administrator; its output without decoration.
    pub fn sql(&self, statement: &str) -> anyhow::Result<String> {
        self.sql_as(ADMIN, &self.password, statement)
    }

    /// Runs a statement as somebody.
    pub fn sql_as(&self, user: &str, password: &str, statement: &str) -> anyhow::Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align"])
            .args(["--dbname=postgres", "--set=ON_ERROR_STOP=1"])
            .arg(format!("--host={}", self.address.ip()))
            .arg(format!("--port={}", self.address.port()))
            .arg(format!("--username={user}"))
            .arg(format!("--command={statement}"))
            .env_clear()
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "10")
            .output()
            .context("cannot run psql")?;
        if !output.status.success() {
            bail!(
                "PostgreSQL refuses: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // "Fast" shutdown: SIGTERM would wait for the clients, and Vault keeps its connections.
        if self.process.signal(Signal::INT).is_ok() {
            let _ = wait::until("the end of PostgreSQL", GRACE, || {
                ensure!(!self.process.is_running(), "it runs");
                Ok(())
            });
        }
    }
}

/// The programs of the newest version that is installed.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(SERVERS).into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/initdb").is_file())
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .max();
    let install = crate::packages::install_command(&["postgresql"]);
    Ok(newest
        .with_context(|| format!("PostgreSQL is not installed: {install}"))?
        .1)
}

/// A program and its first arguments so that it does not run as root. It may look through the folders of the run, which
/// lie below root's home.
fn as_nobody(program: &Path) -> (PathBuf, Vec<String>) {
    if !rustix::process::geteuid().is_root() {
        return (program.to_owned(), Vec::new());
    }
    let (user, group) = NOBODY;
    let args = vec![
        format!("--reuid={user}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
        "--inh-caps=+dac_override".to_owned(),
        "--ambient-caps=+dac_override".to_owned(),
        "--".to_owned(),
        program.display().to_string(),
    ];
    (PathBuf::from("setpriv"), args)
}
