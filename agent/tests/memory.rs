//! The agent's memory and variables are not open to other programs of its user.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
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

#[test]
fn the_agents_memory_is_closed_to_others_of_its_user() {
    if !rustix::process::getuid().is_root() {
        writeln!(
            std::io::stderr(),
            "not run: only root starts programs as somebody else"
        )
        .unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("agent");
    fs::copy(env!("CARGO_BIN_EXE_vaultkeeper-agent"), &program).unwrap();
    let config = folder.path().join("config.hcl");
    let text = "vault { address = \"http://127.0.0.1:1\" }
        auto_auth { method \"kubernetes\" { config { role = \"app\" token_path = \"/nonexistent\" } } }";
    fs::write(&config, text).unwrap();
    let env = folder.path().join("env");
    fs::write(&env, "A=1").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o444)).unwrap();
    let run = format!("-config={}", config.display());
    let exec = format!("-env-file={}", env.display());
    let start = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .uid(NOBODY)
            .gid(NOBODY)
            .stderr(Stdio::null());
        Running(command.process_group(0).spawn().unwrap())
    };
    // The files of a process whose memory is closed belong to root.
    let owner = |running: &Running| {
        fs::metadata(format!("/proc/{}/mem", running.0.id()))
            .unwrap()
            .uid()
    };
    let other = start(Path::new("/bin/sleep"), &["600"]);
    assert_eq!(owner(&other), NOBODY, "any other program's is open");
    for arguments in [vec!["run", &run], vec!["exec", &exec, "--", "/bin/sleep", "600"]] {
        let mut running = start(&program, &arguments);
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
