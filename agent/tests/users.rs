//! The agent and the system's users: its memory is closed to others of its own, and a file of another one is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Somebody without rights.
const NOBODY: u32 = 65534;

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // With all that it started.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A folder that everybody may look into, with a copy of the program.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("agent");
    fs::copy(env!("CARGO_BIN_EXE_vaultkeeper-agent"), &program).unwrap();
    (folder, program)
}

fn start(program: &Path, arguments: &[&str], log: Stdio) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).uid(NOBODY).gid(NOBODY).stderr(log);
    Running(command.process_group(0).spawn().unwrap())
}

/// Whether we may start programs as somebody else.
fn is_root() -> bool {
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        let _ = writeln!(
            std::io::stderr(),
            "not run: only root starts programs as somebody else"
        );
    }
    is_root
}

#[test]
fn the_agents_memory_is_closed_to_others_of_its_user() {
    if !is_root() {
        return;
    }
    let (folder, program) = folder();
    let config = folder.path().join("config.hcl");
    let text = "vault { address = \"http://127.0.0.1:1\" }
        auto_auth { method \"kubernetes\" { config { role = \"app\" token_path = \"/nonexistent\" } } }";
    fs::write(&config, text).unwrap();
    let env = folder.path().join("env");
    fs::write(&env, "A=1").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o444)).unwrap();
    let run = format!("-config={}", config.display());
    let exec = format!("-env-file={}", env.display());
    // The files of a process whose memory is closed belong to root.
    let owner = |running: &Running| {
        fs::metadata(format!("/proc/{}/mem", running.0.id()))
            .unwrap()
            .uid()
    };
    let other = start(Path::new("/bin/sleep"), &["600"], Stdio::null());
    assert_eq!(owner(&other), NOBODY, "any other program's is open");
    for arguments in [vec!["run", &run], vec!["exec", &exec, "--", "/bin/sleep", "600"]] {
        let mut running = start(&program, &arguments, Stdio::null());
        let end = Instant::now() + Duration::from_secs(60);
        while owner(&running) != 0 {
            assert!(Instant::now() < end, "{arguments:?}: the memory is open");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        // A process that has ended has no memory that could be open.
        assert!(
            running.0.try_wait().unwrap().is_none(),
            "{arguments:?}: it must run"
        );
    }
}

#[test]
fn a_file_of_another_user_is_told_with_what_to_do() {
    if !is_root() {
        return;
    }
    let (folder, program) = folder();
    let env = folder.path().join("env");
    fs::write(&env, "A=1").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o400)).unwrap();
    let log = folder.path().join("log");
    let file = format!("-env-file={}", env.display());
    let arguments = ["exec", &file, "--", "/bin/sleep", "600"];
    let _running = start(&program, &arguments, fs::File::create(&log).unwrap().into());
    let end = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&log).unwrap().contains("runAsUser") {
        assert!(Instant::now() < end, "nothing was said");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
