//! The end of a run: processes, cgroups, mounts, namespaces and the folder, by what was recorded.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::{CGROUP_PREFIX, Kind, MARKER, RUN_VARIABLE, RunDir};
use crate::proc_table::{self, ProcessId};
use crate::wait;

/// How long the end of one run may take in all.
const DESTROY_DEADLINE: Duration = Duration::from_secs(120);

impl RunDir {
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
        if !self.path.join(MARKER).exists() {
            // Another was faster, and has just finished.
            return Ok(());
        }

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
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn of_two_that_destroy_at_a_time_both_succeed() {
        let home = tempfile::tempdir().unwrap();
        let run = RunDir::create_in(home.path(), "unit-2").unwrap();
        let first = File::open(run.join(MARKER)).unwrap();
        first.lock().unwrap();
        let second = std::thread::spawn({
            let run = run.clone();
            move || run.destroy()
        });
        // /proc/locks marks those who wait with an arrow.
        let inode = format!(":{} ", first.metadata().unwrap().ino());
        wait::until("the second's wait for the lock", Duration::from_secs(60), || {
            let locks = fs::read_to_string("/proc/locks")?;
            let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&inode);
            ensure!(locks.lines().any(waits), "nobody waits in {locks}");
            Ok(())
        })
        .unwrap();
        fs::remove_dir_all(run.path()).unwrap();
        first.unlock().unwrap();
        second.join().unwrap().unwrap();
    }

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
