//! Finds the server among the processes and signals it, and nobody else.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, getuid, kill_process};

use super::arguments::file_name;
use crate::processes::is_owned_by;

/// One process. Its number may come again, its start not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Process id in our namespace of processes.
    pub(super) pid: i32,
    /// When it started, in ticks since the system did.
    pub(super) started: u64,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Servers {
    /// It does not run.
    None,
    /// It runs.
    One(Server),
    /// More than one process has its command line.
    Several(Vec<i32>),
}

/// The table of processes.
pub(super) struct Table {
    proc: PathBuf,
    /// Only processes of this user count.
    uid: u32,
    command: Vec<String>,
}

impl Table {
    /// The system's, for processes of our own user with this command line.
    pub(super) fn of_this_system(command: Vec<String>) -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            uid: getuid().as_raw(),
            command,
        }
    }

    /// The server's processes.
    pub(super) fn servers(&self) -> io::Result<Servers> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.proc)? {
            let name = entry?.file_name();
            // Processes come and go: one that cannot be read is none of ours.
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
                && let Some(server) = self.server(pid)
            {
                found.push(server);
            }
        }
        Ok(match found.as_slice() {
            [] => Servers::None,
            [server] => Servers::One(*server),
            several => Servers::Several(several.iter().map(|s| s.pid).collect()),
        })
    }

    /// The process of this number, if it is the server.
    fn server(&self, pid: i32) -> Option<Server> {
        let folder = self.proc.join(pid.to_string());
        let command = fs::read(folder.join("cmdline")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        (is_command(&command, &self.command) && is_owned_by(&status, self.uid)).then_some(())?;
        let started = started(&stat)?;
        Some(Server { pid, started })
    }

    /// Sends SIGHUP to the server if it is the same process still.
    pub(super) fn hang_up(&self, server: Server) -> io::Result<()> {
        if self.server(server.pid) != Some(server) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended meanwhile"));
        }
        let pid = Pid::from_raw(server.pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, Signal::HUP)?)
    }
}

/// Whether the arguments (each ended by a NUL) are this command line, wherever its program lies.
fn is_command(arguments: &[u8], wanted: &[String]) -> bool {
    let Some(arguments) = arguments.strip_suffix(b"\0") else {
        return false;
    };
    let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
    let ([program, rest @ ..], [wanted_program, wanted_rest @ ..]) = (arguments.as_slice(), wanted) else {
        return false;
    };
    let program = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    program == file_name(wanted_program).as_bytes()
        && rest.len() == wanted_rest.len()
        && rest.iter().zip(wanted_rest).all(|(a, b)| *a == b.as_bytes())
}

/// Field 22 of a stat file. The second is a name that may hold anything; it ends at the last parenthesis.
fn started(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A table with processes that are files: pid, user, command line.
    fn table(processes: &[(i32, u32, &str)]) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("uptime"), "1 1").unwrap();
        for (pid, uid, command) in processes {
            let of = folder.path().join(pid.to_string());
            fs::create_dir(&of).unwrap();
            fs::write(of.join("cmdline"), command.replace(' ', "\0") + "\0").unwrap();
            fs::write(
                of.join("status"),
                format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
            )
            .unwrap();
            let zeros = "0 ".repeat(18);
            fs::write(of.join("stat"), format!("{pid} (a ) b) S {zeros}{} 0", pid * 10)).unwrap();
        }
        let command = ["vault", "server", "-config=/c"].map(str::to_owned).to_vec();
        let proc = folder.path().to_owned();
        let uid = 100;
        (folder, Table { proc, uid, command })
    }

    #[test]
    fn the_server_is_found_by_user_and_whole_command_line() {
        let (_folder, table) = table(&[
            (1, 65535, "/pause"),
            (7, 100, "/usr/bin/vault server -config=/c"),
            (8, 100, "/bin/vaultkeeper-agent reload -- vault server -config=/c"),
        ]);
        assert_eq!(
            table.servers().unwrap(),
            Servers::One(Server { pid: 7, started: 70 })
        );
    }

    #[test]
    fn nobody_else_is_taken_for_the_server() {
        let (_folder, table) = table(&[
            (2, 0, "vault server -config=/c"),
            (3, 100, "vault server -config=/other"),
            (4, 100, "vault server"),
            (5, 100, "vault server -config=/c -dev"),
            (6, 100, "vault agent -config=/c"),
            (7, 100, "notvault server -config=/c"),
            (8, 100, "/bin/sh /bin/vault server -config=/c"),
        ]);
        assert_eq!(table.servers().unwrap(), Servers::None);
    }

    #[test]
    fn of_two_that_look_alike_none_is_chosen() {
        let (_folder, table) = table(&[
            (2, 100, "vault server -config=/c"),
            (3, 100, "/bin/vault server -config=/c"),
        ]);
        assert!(
            matches!(table.servers().unwrap(), Servers::Several(pids) if pids.len() == 2),
            "both have its command line"
        );
    }

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_signal_reaches_the_real_process_and_not_its_neighbour_or_its_successor() {
        use std::os::unix::process::ExitStatusExt as _;
        let start = |name: &str| {
            let mut command = Command::new("env");
            // Whatever runs these tests may ignore the signal, as nohup does, and hand that down.
            command.args([
                "--default-signal=HUP",
                "bash",
                "-c",
                "exec -a \"$0\" sleep 3600",
                name,
            ]);
            Ended(command.stdin(Stdio::null()).spawn().unwrap())
        };
        // A name of our own: other tests may run a real one.
        let (mut server, mut neighbour) = (start("vault-of-this-test"), start("neighbour"));
        let pid = i32::try_from(server.0.id()).unwrap();
        let table = Table::of_this_system(vec!["/x/vault-of-this-test".to_owned(), "3600".to_owned()]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        // Between fork and exec it has our command line still.
        let found = loop {
            match table.servers().unwrap() {
                Servers::One(found) => break found,
                other => assert!(
                    std::time::Instant::now() < deadline,
                    "it should be found: {other:?}"
                ),
            }
        };
        assert_eq!(found.pid, pid);
        let successor = Server {
            started: found.started + 1,
            ..found
        };
        assert!(
            table.hang_up(successor).is_err(),
            "another process of the same number"
        );
        assert!(server.0.try_wait().unwrap().is_none(), "it should be alive");
        table.hang_up(found).unwrap();
        let status = server.0.wait().unwrap();
        assert_eq!(status.signal(), Some(1), "SIGHUP should have come: {status}");
        assert!(
            neighbour.0.try_wait().unwrap().is_none(),
            "the neighbour should be alive"
        );
    }
}
