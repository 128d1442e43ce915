//! The state of one run on disk: what was started, mounted and made, so that any process can remove every trace.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::proc_table::{self, ProcessId};
use crate::wait;

/// Present in the environment of every process of a run, and so of all their children: nothing can slip away.
pub const RUN_VARIABLE: &str = "VAULTKEEPER_TESTBED_RUN";

/// A folder without this file is never destroyed, whatever its path.
const MARKER: &str = ".vaultkeeper-testbed-run";

/// How long the end of one run may take in all.
const DESTROY_DEADLINE: Duration = Duration::from_secs(30);

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

    /// Ends and removes everything of this run: processes (newest first), cgroups, mounts, namespaces, the folder.
    ///
    /// Nothing of a run is kept, so processes get SIGKILL: none can hang, and none can write on its way out.
    /// Idempotent; works from any process of the same user; of two at a time one waits for the other.
    pub fn destroy(&self) -> anyhow::Result<()> {
        let lock = match File::open(self.path.join(MARKER)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", self.path.display())),
        };
        lock.lock()
            .with_context(|| format!("cannot lock {}", self.path.display()))?;

        for (_, id) in self.processes()?.into_iter().rev() {
            id.kill()?;
        }
        self.kill_marked()?;
        for folder in self.records(Kind::Cgroup)?.into_iter().rev() {
            remove_cgroup(Path::new(&folder))?;
        }
        self.unmount_all()?;
        for name in self.records(Kind::Netns)?.into_iter().rev() {
            delete_netns(&name)?;
        }
        self.remove_folder()
    }

    /// Ends whatever carries this run's variable, until nothing does: children may still be making children.
    fn kill_marked(&self) -> anyhow::Result<()> {
        let value = self.path.to_string_lossy();
        wait::until("the end of the run's processes", DESTROY_DEADLINE, || {
            let found = proc_table::with_environment(RUN_VARIABLE, &value)?;
            for id in &found {
                id.kill()?;
            }
            ensure!(found.is_empty(), "{} were still running", found.len());
            Ok(())
        })
    }

    fn unmount_all(&self) -> anyhow::Result<()> {
        let recorded = self.records(Kind::Mount)?;
        let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        // Newest first: a later mount may lie on top of an earlier one.
        for point in mount_points(&table).into_iter().rev() {
            let ours = Path::new(&point).starts_with(&self.path) || recorded.contains(&point);
            if !ours {
                continue;
            }
            match unmount(point.as_str(), UnmountFlags::DETACH) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot unmount {point}")),
            }
        }
        Ok(())
    }

    /// The marker goes last, so that an interrupted removal can be done again.
    fn remove_folder(&self) -> anyhow::Result<()> {
        wait::until("an empty run folder", DESTROY_DEADLINE, || {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_name() == MARKER {
                    continue;
                }
                let removed = if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())
                } else {
                    fs::remove_file(entry.path())
                };
                removed.with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
            Ok(())
        })?;
        fs::remove_file(self.path.join(MARKER))?;
        fs::remove_dir(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
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

/// The mount points of a mountinfo table, in its order. The kernel writes space, tab, newline and backslash as octal.
fn mount_points(table: &str) -> Vec<String> {
    let point = |line: &str| {
        let escaped = line.split(' ').nth(4)?;
        Some(
            escaped
                .replace("\\040", " ")
                .replace("\\011", "\t")
                .replace("\\012", "\n")
                .replace("\\134", "\\"),
        )
    };
    table.lines().filter_map(point).collect()
}

/// What a cgroup of a testbed run is called. Nothing else is ever emptied: a hierarchy's root holds the whole machine.
pub const CGROUP_PREFIX: &str = "vaultkeeper-testbed-";

fn is_our_cgroup(folder: &Path) -> bool {
    folder.starts_with("/sys/fs/cgroup")
        && folder
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(CGROUP_PREFIX))
}

/// Ends every process in and below a cgroup, then removes it. One that is gone is no error.
fn remove_cgroup(folder: &Path) -> anyhow::Result<()> {
    ensure!(
        is_our_cgroup(folder),
        "{} is not a cgroup of a testbed run",
        folder.display()
    );
    wait::until(
        &format!("an empty cgroup {}", folder.display()),
        DESTROY_DEADLINE,
        || {
            let Ok(below) = cgroup_tree(folder) else {
                return Ok(());
            };
            for cgroup in &below {
                for line in fs::read_to_string(cgroup.join("cgroup.procs"))
                    .unwrap_or_default()
                    .lines()
                {
                    if let Some(id) = line.parse().ok().and_then(ProcessId::living) {
                        id.kill()?;
                    }
                }
            }
            for cgroup in below.iter().rev() {
                match fs::remove_dir(cgroup) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("cannot remove {}", cgroup.display()));
                    }
                    _ => {}
                }
            }
            Ok(())
        },
    )
}

/// A cgroup and all below it, parents before children.
fn cgroup_tree(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(cgroup) = found.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&cgroup)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn delete_netns(name: &str) -> anyhow::Result<()> {
    if !Path::new("/run/netns").join(name).exists() {
        return Ok(());
    }
    let output = Command::new("ip")
        .args(["netns", "delete", name])
        .output()
        .context("cannot run ip (Debian package iproute2)")?;
    ensure!(
        output.status.success(),
        "cannot delete the network namespace {name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_run_is_never_destroyed() {
        let stranger = tempfile::tempdir().unwrap();
        fs::write(stranger.path().join("precious"), "data").unwrap();
        assert!(
            RunDir::open(stranger.path()).is_err(),
            "a folder without the marker should be refused"
        );
        RunDir {
            path: stranger.path().to_owned(),
        }
        .destroy()
        .unwrap();
        assert!(
            stranger.path().join("precious").exists(),
            "destroy should leave a folder without the marker alone"
        );
    }

    #[test]
    fn destroying_twice_is_no_error() {
        let home = tempfile::tempdir().unwrap();
        let run = RunDir::create_in(home.path(), "unit-1").unwrap();
        run.destroy().unwrap();
        run.destroy().unwrap();
        assert!(!run.path().exists(), "the folder should be gone");
    }

    #[test]
    fn mount_points_with_spaces_are_read_back_as_they_were() {
        let table =
            "36 35 98:0 / /mnt/a\\040b rw - ext4 /dev/root rw\n37 35 98:0 / /proc rw - proc proc rw\n";
        assert_eq!(
            mount_points(table),
            ["/mnt/a b", "/proc"],
            "mount points of {table}"
        );
    }

    #[test]
    fn a_cgroup_that_is_not_a_runs_own_is_refused() {
        // Asks the guard alone: if it were wrong, removing a whole hierarchy would end every process of the machine.
        for stranger in [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/memory",
            "/sys/fs/cgroup/pids/k8s.io",
        ] {
            assert!(
                !is_our_cgroup(Path::new(stranger)),
                "{stranger} should be refused"
            );
        }
        assert!(
            is_our_cgroup(Path::new("/sys/fs/cgroup/memory/vaultkeeper-testbed-1")),
            "a run's own cgroup should be accepted"
        );
    }
}
