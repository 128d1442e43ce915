//! The state of one run on disk: what was started, mounted and made, so that any process can remove every trace.

mod destroy;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::proc_table::ProcessId;

/// Present in the environment of every process of a run, and so of all their children: nothing can slip away.
pub const RUN_VARIABLE: &str = "VAULTKEEPER_TESTBED_RUN";

/// What a cgroup of a testbed run is called. Nothing else is ever emptied: a hierarchy's root holds the whole machine.
pub const CGROUP_PREFIX: &str = "vaultkeeper-testbed-";

/// A folder without this file is never destroyed, whatever its path.
const MARKER: &str = ".vaultkeeper-testbed-run";

/// A folder that holds everything of one run: logs, data, and records of processes, mounts, cgroups and namespaces.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `<state>/vaultkeeper/testbed/<kind>-<random>`, where `<state>` is $XDG_STATE_HOME or ~/.local/state.
    pub fn create(kind: &str) -> anyhow::Result<Self> {
        let mut random = [0_u8; 4];
        if SystemRandom::new().fill(&mut random).is_err() {
            bail!("the system gives no random numbers");
        }
        Self::create_named(&format!("{kind}-{:08x}", u32::from_ne_bytes(random)))
    }

    /// Makes the folder of that name. It is an error when there is one already.
    pub fn create_named(name: &str) -> anyhow::Result<Self> {
        Self::create_in(&Self::home()?, name)
    }

    /// Makes the folder of that name under `home`.
    pub(crate) fn create_in(home: &Path, name: &str) -> anyhow::Result<Self> {
        let mut private = fs::DirBuilder::new();
        private.mode(0o755);
        fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
        let path = home
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", home.display()))?
            .join(name);
        private
            .create(&path)
            .with_context(|| format!("cannot make the run folder {}", path.display()))?;
        let run = Self { path };
        for folder in [
            Kind::Process.folder(),
            Kind::Mount.folder(),
            Kind::Netns.folder(),
            Kind::Cgroup.folder(),
            "logs",
        ] {
            fs::create_dir(run.path.join(folder))
                .with_context(|| format!("cannot make {folder} in {}", run.path.display()))?;
        }
        // Last: a folder that carries the marker is complete.
        File::create_new(run.path.join(MARKER))
            .with_context(|| format!("cannot mark {}", run.path.display()))?;
        Ok(run)
    }

    /// The run at this path, as [`RunDir::path`] gave it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        ensure!(
            path.is_absolute() && path.join(MARKER).is_file(),
            "{} is not the folder of a testbed run",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// All runs on this machine of this user, by name.
    pub fn list() -> anyhow::Result<Vec<Self>> {
        let home = Self::home()?;
        let entries = match fs::read_dir(&home) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", home.display())),
        };
        let home = home.canonicalize()?;
        let mut runs = Vec::new();
        for entry in entries {
            runs.extend(Self::open(&home.join(entry?.file_name())).ok());
        }
        runs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(runs)
    }

    /// The folder under which all runs live.
    pub fn home() -> anyhow::Result<PathBuf> {
        let state = match std::env::var_os("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute()) {
            Some(path) => PathBuf::from(path),
            None => std::env::home_dir()
                .context("there is no home folder: set HOME or XDG_STATE_HOME")?
                .join(".local/state"),
        };
        Ok(state.join("vaultkeeper/testbed"))
    }

    /// The folder itself: absolute, no symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last part of the path, `<kind>-<random>`.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// A path inside the folder.
    pub fn join(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.path.join(inside)
    }

    /// Makes a folder inside and gives its path.
    pub fn folder(&self, inside: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let path = self.path.join(inside);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Where the process of this name logs to.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// The last lines of every log of the run, for a person who looks for the reason of a failure.
    pub fn log_tails(&self, lines: usize) -> String {
        let mut logs: Vec<PathBuf> = match fs::read_dir(self.path.join("logs")) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error) => return format!("(cannot read the logs of {}: {error})", self.path.display()),
        };
        logs.sort();
        let tail = |log: &PathBuf| {
            format!(
                "--- the end of {}\n{}\n",
                log.display(),
                crate::process::tail(log, lines)
            )
        };
        logs.iter().map(tail).collect()
    }

    /// Notes a process, to be ended by [`RunDir::destroy`].
    pub fn record_process(&self, name: &str, id: ProcessId) -> anyhow::Result<Record> {
        self.record(Kind::Process, &format!("{} {} {name}", id.pid, id.start))
    }

    /// Notes a mount point outside of the folder. What lies inside is found without a record.
    pub fn record_mount(&self, mount_point: &Path) -> anyhow::Result<Record> {
        self.record(Kind::Mount, &mount_point.to_string_lossy())
    }

    /// Notes a network namespace by its name under /run/netns. Call it before the namespace is made.
    pub fn record_netns(&self, name: &str) -> anyhow::Result<Record> {
        self.record(Kind::Netns, name)
    }

    /// Notes a cgroup folder (under /sys/fs/cgroup): all processes in and below it are ended, then it is removed.
    pub fn record_cgroup(&self, folder: &Path) -> anyhow::Result<Record> {
        self.record(Kind::Cgroup, &folder.to_string_lossy())
    }

    /// The recorded processes that still run, oldest first, with their names.
    pub fn processes(&self) -> anyhow::Result<Vec<(String, ProcessId)>> {
        let records = self.records(Kind::Process)?;
        Ok(records
            .iter()
            .filter_map(|text| parse_process(text))
            .filter(|(_, id)| id.is_running())
            .collect())
    }

    fn record(&self, kind: Kind, text: &str) -> anyhow::Result<Record> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let folder = self.path.join(kind.folder());
        // Two records in the same nanosecond: the second takes the next number.
        for number in now..now + 1000 {
            let path = folder.join(format!("{number:030}"));
            // Written under another name first: a reader sees whole records only.
            let draft = folder.join(format!(".{number:030}"));
            match File::create_new(&draft) {
                Ok(mut file) => {
                    file.write_all(text.as_bytes())?;
                    if path.exists() {
                        fs::remove_file(&draft)?;
                        continue;
                    }
                    fs::rename(&draft, &path)?;
                    return Ok(Record { path });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot write to {}", folder.display()));
                }
            }
        }
        bail!("cannot find a free record number in {}", folder.display())
    }

    /// The texts of the records of one kind, oldest first.
    fn records(&self, kind: Kind) -> anyhow::Result<Vec<String>> {
        let folder = self.path.join(kind.folder());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // An earlier removal was interrupted: it had ended everything before it began to remove.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
            {
                paths.push(path);
            }
        }
        paths.sort();
        let mut texts = Vec::new();
        for path in paths {
            match fs::read_to_string(&path) {
                Ok(text) => texts.push(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        Ok(texts)
    }
}

/// A note in a run folder. Dropping it changes nothing; [`Record::forget`] takes it back.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// Takes the note back: what it names is gone.
    pub fn forget(&self) {
        // Not removed is harmless: what it names is looked for again, and not found.
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Process,
    Mount,
    Netns,
    Cgroup,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Process => "processes",
            Self::Mount => "mounts",
            Self::Netns => "netns",
            Self::Cgroup => "cgroups",
        }
    }
}

fn parse_process(text: &str) -> Option<(String, ProcessId)> {
    let mut parts = text.splitn(3, ' ');
    let pid = parts.next()?.parse().ok()?;
    let start = parts.next()?.parse().ok()?;
    Some((parts.next()?.to_owned(), ProcessId { pid, start }))
}
