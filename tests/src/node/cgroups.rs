//! The cgroup under which all pods of a node run: with it their processes are found, limited and ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::run_dir::RunDir;

/// What the kubelet limits pods with. On cgroup v2 a parent has to pass them on.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "memory", "hugetlb", "pids"];

/// Makes the cgroup `name` in every hierarchy, recorded before it is there.
pub(super) fn make(run: &RunDir, name: &str) -> anyhow::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let folders = folders(&table, name);
    ensure!(
        !folders.is_empty(),
        "no cgroups are mounted under /sys/fs/cgroup: a node cannot run here"
    );
    pass_controllers_on(Path::new("/sys/fs/cgroup"))?;
    for folder in folders {
        run.record_cgroup(&folder)?;
        fs::create_dir(&folder).with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
    }
    Ok(())
}

/// On cgroup v2: lets the root's children have the controllers, as container runtimes do, too. Nothing on v1.
fn pass_controllers_on(root: &Path) -> anyhow::Result<()> {
    let available = match fs::read_to_string(root.join("cgroup.controllers")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot read the controllers of cgroup v2"),
    };
    let control = root.join("cgroup.subtree_control");
    let passed_on = fs::read_to_string(&control).context("cannot read which controllers are passed on")?;
    let missing = missing(&available, &passed_on);
    if missing.is_empty() {
        return Ok(());
    }
    fs::write(&control, &missing).with_context(|| {
        format!(
            "cannot write {missing:?} to {}; inside a container, first move its processes to a cgroup below the root",
            control.display()
        )
    })
}

/// What to write so that children get the controllers that there are and that they do not have yet.
fn missing(available: &str, passed_on: &str) -> String {
    let has = |list: &str, wanted: &str| list.split_whitespace().any(|controller| controller == wanted);
    let missing: Vec<String> = CONTROLLERS
        .into_iter()
        .filter(|controller| has(available, controller) && !has(passed_on, controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    missing.join(" ")
}

/// The cgroups of this name in every hierarchy (cgroup v1) or in the one there is (v2), out of a mountinfo table.
fn folders(mountinfo: &str, name: &str) -> Vec<PathBuf> {
    let mount_point = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let kind = filesystem.split(' ').next()?;
        let point = Path::new(mount.split(' ').nth(4)?);
        (matches!(kind, "cgroup" | "cgroup2") && point.starts_with("/sys/fs/cgroup"))
            .then(|| point.join(name))
    };
    let mut folders: Vec<PathBuf> = mountinfo.lines().filter_map(mount_point).collect();
    folders.sort();
    folders.dedup();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_get_the_controllers_that_they_lack() {
        assert_eq!(
            missing("cpuset cpu io memory pids rdma", "cpu memory"),
            "+cpuset +pids",
            "there are no huge pages here, and the kubelet does not limit io"
        );
        assert_eq!(missing("cpu memory", "memory cpu"), "", "they have all there are");
    }

    #[test]
    fn every_hierarchy_of_cgroup_v1_gets_a_folder() {
        let table = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                     31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n";
        assert_eq!(
            folders(table, "x"),
            [
                PathBuf::from("/sys/fs/cgroup/cpu/x"),
                PathBuf::from("/sys/fs/cgroup/unified/x")
            ],
            "one folder per cgroup mount, none for the tmpfs"
        );
    }

    #[test]
    fn cgroup_v2_has_one_folder() {
        let table = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            folders(table, "x"),
            [PathBuf::from("/sys/fs/cgroup/x")],
            "the unified hierarchy is the only one"
        );
    }
}
