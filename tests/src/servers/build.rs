//! Builds a server with the Go toolchain, once for all checkouts and all runs of this user.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use super::{Server, cache};
use crate::process::tail_note;
use crate::progress::{Step, say};
use crate::wait;

/// The oldest Go that can build the pinned modules: major and minor.
const OLDEST_GO: (u32, u32) = (1, 26);

/// Builds the server into the cache and gives its path. Of two builds at a time one waits and uses the other's.
pub(super) fn build(server: Server) -> anyhow::Result<PathBuf> {
    let entry = cache::entry(server)?;
    let program = entry.join(server.name());
    let home = cache::home()?;
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let _lock = lock(&home.join(format!("{}.lock", server.module())), server)?;
    if program.is_file() {
        return Ok(program);
    }
    check_go()?;
    fs::create_dir_all(&entry).with_context(|| format!("cannot make {}", entry.display()))?;
    // Under another name until complete. What an interrupted build left there is overwritten: the lock is ours.
    let draft = entry.join(format!(".{}.building", server.name()));
    compile(server, &draft, &home.join(format!("{}.log", server.name())))?;
    fs::rename(&draft, &program).with_context(|| format!("cannot write {}", program.display()))?;
    cache::remove_old(&entry, server.module())?;
    Ok(program)
}

fn compile(server: Server, output: &Path, log: &Path) -> anyhow::Result<()> {
    let mut step = Step::begin(format!("building {}", server.name()));
    let log_file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    // Go's own place for temporary files is /tmp, where an interrupted build would leave gigabytes.
    let temporary = output.with_extension("tmp");
    remove_if_there(&temporary)?;
    fs::create_dir_all(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    let mut go = go_build(server, output, &temporary)?
        .stdin(Stdio::null())
        .stdout(log_file.try_clone()?)
        .stderr(log_file)
        .spawn()
        .context("cannot run go")?;
    let status = loop {
        if let Some(status) = go.try_wait().context("cannot wait for go build")? {
            break status;
        }
        step.tick();
        wait::pause();
    };
    remove_if_there(&temporary)?;
    ensure!(
        status.success(),
        "cannot build {} ({status}){}",
        server.name(),
        tail_note(log)
    );
    step.done();
    Ok(())
}

fn go_build(server: Server, output: &Path, temporary: &Path) -> anyhow::Result<Command> {
    let mut go = Command::new("go");
    go.arg("build")
        .args(cache::FLAGS)
        .args(["-ldflags", &cache::ldflags(server)?, "-o"])
        .arg(output)
        .arg(server.package())
        .current_dir(cache::module_folder(server))
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOTMPDIR", temporary)
        // Not the user's. A main package of ours would be stamped with the state of the checkout, and git tells that to
        // nobody but the checkout's owner.
        .env("GOFLAGS", "-buildvcs=false");
    Ok(go)
}

fn remove_if_there(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Waits until no other process builds servers of this module.
fn lock(path: &Path, server: Server) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        say(&format!(
            "{}: waiting for another build of the {} servers …",
            server.name(),
            server.module()
        ));
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Says what to install when Go is absent or too old.
pub(crate) fn check_go() -> anyhow::Result<()> {
    let (major, minor) = OLDEST_GO;
    let remedy =
        format!("install Go {major}.{minor} or newer from https://go.dev/dl/ and put it first in PATH");
    // In a folder without go.mod: the version that is installed, not one that it would fetch.
    let output = match Command::new("go")
        .args(["env", "GOVERSION"])
        .current_dir("/")
        .output()
    {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => bail!("the servers of the testbed are built with Go, which is not here: {remedy}"),
    };
    match parse_go_version(&output) {
        Some(version) if version >= OLDEST_GO => Ok(()),
        _ => bail!("{output} is too old to build the servers of the testbed: {remedy}"),
    }
}

/// Major and minor of `go1.26.8`, `go1.27rc1`, `go1.28`, `devel go1.27-…`.
fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.split_once("go")?;
    let (major, rest) = version.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_build_does_not_ask_git_about_the_checkout() {
        for server in Server::ALL {
            let go = go_build(server, Path::new("/out"), Path::new("/tmp")).unwrap();
            let flags = go.get_envs().find(|(key, _)| *key == "GOFLAGS");
            assert_eq!(
                flags,
                Some((OsStr::new("GOFLAGS"), Some(OsStr::new("-buildvcs=false")))),
                "the flags from the environment for {}",
                server.name()
            );
        }
    }

    #[test]
    fn go_versions_of_all_shapes_are_compared_by_number() {
        for (text, version) in [
            ("go1.26.8", Some((1, 26))),
            ("go1.27rc1", Some((1, 27))),
            ("go1.28", Some((1, 28))),
            ("devel go1.27-abcdef", Some((1, 27))),
            ("gccgo", None),
        ] {
            assert_eq!(parse_go_version(text), version, "the version in {text}");
        }
        assert!((1, 9) < OLDEST_GO, "1.9 is older than 1.26");
    }
}
