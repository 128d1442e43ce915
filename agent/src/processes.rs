//! The processes that we see and may signal: those of our own user. Reads `/proc`.

use std::fs;
use std::io;
use std::path::Path;

/// One process of our user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// What it is called: at most 15 bytes.
    name: String,
    /// The first of its arguments, without folders.
    program: String,
}

impl Process {
    /// Whether somebody who says this name means it.
    pub(crate) fn is_called(&self, wanted: &str) -> bool {
        let wanted = base(wanted);
        // The kernel cuts the name; the program's own name is whole.
        self.name == wanted || self.program == wanted
    }

    /// Whether its name holds this.
    pub(crate) fn is_called_like(&self, part: &str) -> bool {
        self.name.contains(part) || self.program.contains(part)
    }
}

/// All processes whose real and effective user is `uid`, and which are not this one.
pub(crate) fn of_user(proc: &Path, uid: u32, own: i32) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        // Processes come and go: one that cannot be read is none of ours.
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && pid != own
            && let Some(process) = one(proc, pid, uid)
        {
            found.push(process);
        }
    }
    Ok(found)
}

fn one(proc: &Path, pid: i32, uid: u32) -> Option<Process> {
    let folder = proc.join(pid.to_string());
    let status = fs::read_to_string(folder.join("status")).ok()?;
    // A zombie has no command line any more, and nothing reaches it.
    let arguments = fs::read(folder.join("cmdline")).ok()?;
    let program = arguments
        .split(|byte| *byte == 0)
        .next()
        .filter(|program| !program.is_empty())?;
    is_owned_by(&status, uid).then(|| Process {
        pid,
        name: field(&status, "Name:").unwrap_or_default().to_owned(),
        program: base(&String::from_utf8_lossy(program)).to_owned(),
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether real and effective user are this one, by a process's `status` file.
pub(crate) fn is_owned_by(status: &str, uid: u32) -> bool {
    let Some(ids) = field(status, "Uid:") else {
        return false;
    };
    let mut ids = ids.split_whitespace().map(|id| id.parse() == Ok(uid));
    ids.next() == Some(true) && ids.next() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(processes: &[(i32, u32, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (pid, uid, name, command) in processes {
            let of = folder.path().join(pid.to_string());
            fs::create_dir(&of).unwrap();
            fs::write(of.join("cmdline"), command.replace(' ', "\0")).unwrap();
            fs::write(
                of.join("status"),
                format!("Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
            )
            .unwrap();
        }
        folder
    }

    #[test]
    fn only_processes_of_the_same_user_count_and_never_ourselves() {
        let table = table(&[
            (1, 7, "app", "/bin/app -x"),
            (2, 8, "app", "/bin/app"),
            (3, 7, "agent", "/bin/agent"),
            (4, 7, "zombie", ""),
        ]);
        let found = of_user(table.path(), 7, 3).unwrap();
        let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [1], "found {found:?}");
    }

    #[test]
    fn a_process_is_known_by_its_name_or_its_program() {
        let table = table(&[(1, 7, "a-very-long-nam", "/usr/bin/a-very-long-name --x")]);
        let found = of_user(table.path(), 7, 3).unwrap();
        for name in ["a-very-long-name", "/usr/bin/a-very-long-name", "a-very-long-nam"] {
            assert!(found[0].is_called(name), "{name}");
        }
        assert!(!found[0].is_called("long"), "a part is not the name");
        assert!(found[0].is_called_like("long"), "a part was asked for");
    }
}
