//! The images that the testbed's pods run, built from scratch on this machine: no engine, no registry.

pub mod archive;
mod programs;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

pub use archive::Archive;
use archive::{Config, Entry};

use crate::servers::{self, Server};

/// The name of the image that holds a pod's namespaces open.
pub const PAUSE: &str = concat!("docker.io/vaultkeeper/pause:", env!("CARGO_PKG_VERSION"));

/// The version of Vault in the image `hashicorp/vault`.
const VAULT_VERSION: &str = "1.21.1";

const BUSYBOX: &str = "/bin/busybox";
const BUSYBOX_REMEDY: &str = "install the Debian package busybox-static";

/// What the testbed can build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Image {
    /// Holds a pod's namespaces open.
    Pause,
    /// Vault, under the name of the official image; with a shell, as that one.
    Vault,
    /// Our operator.
    Operator,
    /// Our webhook.
    Injector,
    /// Our sidecar.
    Agent,
    /// Busybox: an application for tests and the quickstart.
    DemoApp,
}

impl Image {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pause,
        Self::Vault,
        Self::Operator,
        Self::Injector,
        Self::Agent,
        Self::DemoApp,
    ];

    /// The name with tag, as a pod says it.
    pub fn reference(self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match self {
            Self::Pause => PAUSE.to_owned(),
            Self::Vault => format!("docker.io/hashicorp/vault:{VAULT_VERSION}"),
            Self::Operator => format!("docker.io/vaultkeeper/operator:{version}"),
            Self::Injector => format!("docker.io/vaultkeeper/injector:{version}"),
            Self::Agent => format!("docker.io/vaultkeeper/agent:{version}"),
            Self::DemoApp => format!("docker.io/vaultkeeper/demo-app:{version}"),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Pause => "pause.tar",
            Self::Vault => "vault.tar",
            Self::Operator => "operator.tar",
            Self::Injector => "injector.tar",
            Self::Agent => "agent.tar",
            Self::DemoApp => "demo-app.tar",
        }
    }

    /// Builds what goes into the image, and packs it if anything has changed since the last time.
    pub fn build(self) -> anyhow::Result<Archive> {
        let (entries, config) = self.content()?;
        let tar = programs::image_folder().join(self.file());
        let note = tar.with_extension("inputs");
        let inputs = fingerprint(&self.reference(), &entries, &config)?;
        if tar.is_file() && fs::read_to_string(&note).is_ok_and(|packed| packed == inputs) {
            return Ok(Archive {
                reference: self.reference(),
                digest: archive::digest_of(&tar)?,
                tar,
            });
        }
        let archive = archive::write(&self.reference(), &entries, &config, &tar)?;
        fs::write(&note, inputs).with_context(|| format!("cannot write {}", note.display()))?;
        Ok(archive)
    }

    fn content(self) -> anyhow::Result<(Vec<Entry>, Config)> {
        Ok(match self {
            Self::Pause => (
                vec![Entry::Program("/bin/pause".to_owned(), pause_program()?)],
                Config {
                    user: "65535:65535",
                    entrypoint: vec!["/bin/pause".to_owned()],
                    command: Vec::new(),
                },
            ),
            Self::Vault => (
                vec![
                    Entry::Program("/bin/vault".to_owned(), servers::path(Server::Vault)?),
                    // What README asks of the official image, which has busybox, too.
                    Entry::Program("/bin/busybox".to_owned(), static_busybox()?),
                    Entry::Link("/bin/sh".to_owned(), "busybox"),
                    Entry::Link("/bin/cat".to_owned(), "busybox"),
                    Entry::Text(
                        "/etc/passwd",
                        "root:x:0:0:root:/:\nvault:x:100:1000:vault:/home/vault:\n",
                    ),
                    Entry::Text("/etc/group", "root:x:0:\nvault:x:1000:\n"),
                    Entry::Folder("/tmp", 0o1777),
                ],
                Config {
                    user: "100:1000",
                    entrypoint: Vec::new(),
                    command: vec!["vault".to_owned(), "version".to_owned()],
                },
            ),
            Self::Operator => program_image("vaultkeeper-operator", "release")?,
            Self::Injector => program_image("vaultkeeper-injector", "release")?,
            Self::Agent => program_image("vaultkeeper-agent", programs::AGENT)?,
            Self::DemoApp => (
                busybox_entries()?,
                Config {
                    user: "65532:65532",
                    entrypoint: Vec::new(),
                    command: vec!["sleep".to_owned(), "infinity".to_owned()],
                },
            ),
        })
    }
}

/// The static program that holds a pod's namespaces open, and is process 1 of a node.
pub fn pause_program() -> anyhow::Result<PathBuf> {
    programs::pause()
}

/// Our agent as its image holds it: static, optimised for size.
pub fn agent_program() -> anyhow::Result<PathBuf> {
    programs::cargo_build("vaultkeeper-agent", programs::AGENT)
}

/// One static program and the user that it runs as.
fn program_image(package: &str, profile: &str) -> anyhow::Result<(Vec<Entry>, Config)> {
    let program = format!("/bin/{package}");
    Ok((
        vec![
            Entry::Program(program.clone(), programs::cargo_build(package, profile)?),
            Entry::Text("/etc/passwd", "nonroot:x:65532:65532:nonroot:/:\n"),
            Entry::Text("/etc/group", "nonroot:x:65532:\n"),
        ],
        Config {
            user: "65532:65532",
            entrypoint: vec![program],
            command: Vec::new(),
        },
    ))
}

/// Busybox of the distribution. An error if it would not run in an image from scratch.
fn static_busybox() -> anyhow::Result<PathBuf> {
    let busybox = fs::read(BUSYBOX).with_context(|| format!("cannot read {BUSYBOX}: {BUSYBOX_REMEDY}"))?;
    // A program that needs a dynamic loader names it; in an image from scratch there is none.
    let loader = b"/ld-linux";
    ensure!(
        !busybox.windows(loader.len()).any(|window| window == loader),
        "{BUSYBOX} is not static: {BUSYBOX_REMEDY}"
    );
    Ok(BUSYBOX.into())
}

fn busybox_entries() -> anyhow::Result<Vec<Entry>> {
    let busybox = static_busybox()?;
    let list = Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot run {BUSYBOX}"))?;
    ensure!(list.status.success(), "{BUSYBOX} --list failed");
    let mut entries = vec![
        Entry::Folder("/tmp", 0o1777),
        Entry::Program("/bin/busybox".to_owned(), busybox),
        Entry::Text(
            "/etc/passwd",
            "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/bin/sh\n",
        ),
        Entry::Text("/etc/group", "root:x:0:\nnonroot:x:65532:\n"),
    ];
    for applet in String::from_utf8_lossy(&list.stdout).lines() {
        if applet != "busybox" {
            entries.push(Entry::Link(format!("/bin/{applet}"), "busybox"));
        }
    }
    if entries.len() < 20 {
        bail!("{BUSYBOX} has hardly any applets: {BUSYBOX_REMEDY}");
    }
    Ok(entries)
}

/// Changes whenever the image would: names, texts, and size and time of every file that goes in.
fn fingerprint(reference: &str, entries: &[Entry], config: &Config) -> anyhow::Result<String> {
    let mut text = format!("{reference}\n{config:?}\n");
    for entry in entries {
        let _ = writeln!(text, "{entry:?}");
        if let Entry::Program(_, source) = entry {
            let _ = writeln!(text, "{}", file_state(source)?);
        }
    }
    Ok(text)
}

fn file_state(file: &Path) -> anyhow::Result<String> {
    let metadata = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(format!(
        "{} bytes, {}.{:09}",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    ))
}
