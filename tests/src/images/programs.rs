//! Builds the static programs that go into images.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::cargo;
use crate::process::tail_note;
use crate::progress::Step;
use crate::wait;

/// The profile of the program that is to be small.
pub(super) const AGENT: &str = "agent";

const PAUSE_SOURCE: &str = include_str!("../../images/pause.c");

/// Where finished images lie: `images` in cargo's target folder.
pub(super) fn image_folder() -> PathBuf {
    target_folder().join("images")
}

/// Compiles the pause program, unless it is there.
pub(super) fn pause() -> anyhow::Result<PathBuf> {
    let folder = image_folder().join("pause");
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    if program.is_file() && fs::read_to_string(&source).is_ok_and(|text| text == PAUSE_SOURCE) {
        return Ok(program);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Each builder has files of its own until the program is complete: tests start several clusters at a time.
    let id = std::process::id();
    let (draft_source, draft) = (folder.join(format!("{id}.c")), folder.join(format!("{id}.draft")));
    fs::write(&draft_source, PAUSE_SOURCE)
        .with_context(|| format!("cannot write {}", draft_source.display()))?;
    let output = Command::new("cc")
        .args(["-static", "-Os", "-s", "-o"])
        .arg(&draft)
        .arg(&draft_source)
        .output()
        .context("cannot run the C compiler cc (Debian packages gcc, libc6-dev)")?;
    ensure!(
        output.status.success(),
        "cannot compile the pause program:\n{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    fs::rename(&draft, &program)?;
    fs::rename(&draft_source, &source)?;
    Ok(program)
}

/// Builds one of our programs as a static binary for this machine, and gives its path.
///
/// One package at a time: built together, each would get the features that any of them asks for.
pub(super) fn cargo_build(package: &str, profile: &str) -> anyhow::Result<PathBuf> {
    let target = host_triple()?;
    let mut command = cargo::command();
    command
        .args(["build", "--locked", "--package", package, "--bin", package])
        .args(["--profile", profile])
        .args(["--target", &target])
        // With an explicit target these flags do not reach build scripts and macros, which must stay dynamic.
        .env("RUSTFLAGS", flags(profile, glibc()))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run_to_end(package, command)?;
    Ok(target_folder().join(target).join(profile).join(package))
}

/// The compiler's flags for a static program. `glibc` is the version that it is linked with, where that is known.
fn flags(profile: &str, glibc: Option<(u32, u32)>) -> String {
    let mut flags = "-C target-feature=+crt-static".to_owned();
    if profile == AGENT {
        // It never unwinds, and without symbols nobody reads its backtraces.
        flags.push_str(" -C force-unwind-tables=no");
        // A twentieth of the file. An older libc does not undo the packing, and the program would crash at its start.
        if glibc.is_some_and(|version| version >= (2, 36)) {
            flags.push_str(" -C link-arg=-Wl,-z,pack-relative-relocs");
        }
    }
    flags
}

/// The version of this machine's C library; `None` if it is another one.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    parse_glibc(&String::from_utf8_lossy(&output.stdout))
}

fn parse_glibc(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The output goes to a log whose end an error carries.
fn run_to_end(package: &str, mut command: Command) -> anyhow::Result<()> {
    let folder = image_folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let log = folder.join(format!("{package}.log"));
    let output = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let mut step = Step::begin(format!("building {package}"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot run cargo")?;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for cargo")? {
            break status;
        }
        step.tick();
        wait::pause();
    };
    ensure!(
        status.success(),
        "cannot build {package} ({status}){}",
        tail_note(&log)
    );
    step.done();
    Ok(())
}

/// What rustc calls this machine.
fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc (https://rustup.rs)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_host(&text)
        .map(str::to_owned)
        .with_context(|| format!("rustc -vV names no host: {text}"))
}

fn parse_host(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

fn target_folder() -> PathBuf {
    // Relative to the workspace, as cargo_build runs there.
    cargo::workspace().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relocations_are_packed_only_for_a_libc_that_unpacks_them() {
        let packed = |text: &str| flags(AGENT, parse_glibc(text)).contains("pack-relative-relocs");
        for (text, expected) in [
            ("glibc 2.36\n", true),
            ("glibc 2.41", true),
            ("glibc 3.0", true),
            ("glibc 2.35\n", false),
            ("glibc 2.4", false),
            ("", false),
            ("musl", false),
        ] {
            assert_eq!(packed(text), expected, "with {text:?}");
        }
    }

    #[test]
    fn the_host_is_read_out_of_what_rustc_says_of_itself() {
        let text = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(
            parse_host(text),
            Some("x86_64-unknown-linux-gnu"),
            "the host in {text}"
        );
    }
}
