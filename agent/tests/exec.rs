//! `exec` as a program: variables, signals, exit codes, changes. The application is a shell.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const DEADLINE: Duration = Duration::from_secs(60);

/// A process that does not outlive its test, and neither does what it started: all are in one group.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        until("the program to end", || self.0.try_wait().unwrap())
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn holds(file: &Path, text: &str) {
    until(&format!("{} to hold {text:?}", file.display()), || {
        fs::read_to_string(file).ok().filter(|there| there == text)
    });
}

/// One test's folder with its file of variables.
struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    fn new(variables: &str) -> Self {
        let rig = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        rig.render(variables);
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the file as the sidecar does.
    fn render(&self, variables: &str) {
        let draft = self.path("draft");
        let mut file = fs::File::create(&draft).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o400)).unwrap();
        file.write_all(variables.as_bytes()).unwrap();
        fs::rename(draft, self.path("env")).unwrap();
    }

    fn command(&self, options: &[&str], script: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultkeeper-agent"));
        command
            .arg("exec")
            .arg(format!("-env-file={}", self.path("env").display()))
            .args(options)
            .args(["--", "/bin/sh", "-c", script])
            .env("OUT", self.path("out"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, options: &[&str], script: &str) -> Output {
        self.command(options, script).output().unwrap()
    }

    fn start(&self, options: &[&str], script: &str) -> Running {
        let mut command = self.command(options, script);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running::start(&mut command)
    }
}

#[test]
fn the_application_gets_the_variables_and_its_exit_code_is_ours() {
    let rig = Rig::new("PASSWORD=\"hunter2 \\\"x\\\"\"\nexport PORT=5432\n");
    let output = rig.run(
        &[],
        "printf '%s:%s:%s' \"$PASSWORD\" \"$PORT\" \"${OUT:+inherited}\"; exit 7",
    );
    assert_eq!(output.status.code(), Some(7), "its code");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "hunter2 \"x\":5432:inherited"
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "nothing of ours is in the application's output"
    );
}

#[test]
fn an_application_that_dies_of_a_signal_is_told_as_a_shell_tells_it() {
    let rig = Rig::new("A=1");
    let output = rig.run(&[], "kill -KILL $$");
    assert_eq!(output.status.code(), Some(137), "128 and the signal's number");
    for (program, code) in [("/nonexistent", 127), ("/etc/passwd", 126)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultkeeper-agent"));
        let file = format!("-env-file={}", rig.path("env").display());
        let output = command.args(["exec", &file, "--", program]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{program} cannot be started");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(program),
            "the program is not named"
        );
    }
}

#[test]
fn signals_reach_the_application_and_only_it_decides_when_to_end() {
    let rig = Rig::new("A=1");
    let script = "trap 'echo hup >>$OUT' HUP; trap 'echo term >>$OUT; exit 5' TERM; echo up >$OUT; \
        while :; do sleep 0.05; done";
    let mut running = rig.start(&[], script);
    let out = rig.path("out");
    holds(&out, "up\n");
    running.signal(Signal::HUP);
    holds(&out, "up\nhup\n");
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(5), "its own code for SIGTERM");
    holds(&out, "up\nhup\nterm\n");
}

#[test]
fn a_change_restarts_the_application_with_the_new_variables() {
    let rig = Rig::new("A=one");
    let script = "echo \"$A\" >>$OUT; while :; do sleep 0.05; done";
    let mut running = rig.start(&["-on-change=restart"], script);
    let out = rig.path("out");
    holds(&out, "one\n");
    rig.render("A=two");
    holds(&out, "one\ntwo\n");
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(143), "ended by SIGTERM");
}

#[test]
fn an_application_that_does_not_stop_is_killed_before_it_is_started_again() {
    let rig = Rig::new("A=one");
    let script = "trap '' TERM; echo \"$A\" >>$OUT; while :; do sleep 0.05; done";
    let _running = rig.start(&["-stop-timeout=300ms"], script);
    let out = rig.path("out");
    holds(&out, "one\n");
    rig.render("A=two");
    holds(&out, "one\ntwo\n");
}

#[test]
fn a_change_signals_the_application_when_asked() {
    let rig = Rig::new("A=one");
    let script = "trap 'echo \"usr1 $A\" >>$OUT' USR1; echo up >$OUT; while :; do sleep 0.05; done";
    let _running = rig.start(&["-on-change=USR1"], script);
    let out = rig.path("out");
    holds(&out, "up\n");
    // The same content in a new file is no change.
    rig.render("A=one");
    rig.render("A=two");
    holds(&out, "up\nusr1 one\n");
}

#[test]
fn a_file_with_a_mistake_leaves_the_application_running_and_shows_no_value() {
    let rig = Rig::new("A=one");
    let script = "echo \"$A\" >>$OUT; while :; do sleep 0.05; done";
    let log = fs::File::create(rig.path("log")).unwrap();
    let mut command = rig.command(&[], script);
    command.stdout(Stdio::null()).stderr(log);
    let _running = Running::start(&mut command);
    holds(&rig.path("out"), "one\n");
    rig.render("A='hunter2");
    until("the mistake to be logged", || {
        let log = fs::read_to_string(rig.path("log")).unwrap();
        assert!(!log.contains("hunter2"), "the value is in the log:\n{log}");
        log.contains("line 1").then_some(())
    });
    holds(&rig.path("out"), "one\n");
    rig.render("A=two");
    holds(&rig.path("out"), "one\ntwo\n");
}

#[test]
fn it_waits_for_the_file_and_no_longer_than_it_is_told() {
    let rig = Rig::new("A=one");
    fs::remove_file(rig.path("env")).unwrap();
    let output = rig.run(&["-wait=300ms"], "echo up >$OUT");
    assert_eq!(output.status.code(), Some(75), "it gave up");
    assert!(
        !rig.path("out").exists(),
        "nothing may be started without variables"
    );
    let mut running = rig.start(&[], "echo \"$A\" >$OUT");
    rig.render("A=late");
    assert_eq!(running.end().code(), Some(0), "it starts when the file is there");
    holds(&rig.path("out"), "late\n");
}

#[test]
fn it_ends_when_told_to_while_it_waits() {
    let rig = Rig::new("A=one");
    fs::remove_file(rig.path("env")).unwrap();
    let log = fs::File::create(rig.path("log")).unwrap();
    let mut command = rig.command(&[], "echo up >$OUT");
    command.env("VAULT_LOG_LEVEL", "info").stderr(log);
    let mut running = Running::start(&mut command);
    until("it to wait", || {
        let log = fs::read_to_string(rig.path("log")).unwrap();
        log.contains("waiting for the file").then_some(())
    });
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(143), "as the application would have");
}

#[test]
fn the_program_puts_itself_where_another_container_starts_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bin/vaultkeeper-agent");
    let install = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultkeeper-agent"));
        command
            .arg("install")
            .args(arguments)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(install(&[&file.display().to_string()]), Some(0));
    let output = Command::new(&file).arg("version").output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("vaultkeeper-agent "),
        "the copy does not work"
    );
    assert_eq!(install(&[]), Some(64), "a file must be named");
    let inside = file.join("x").display().to_string();
    assert_eq!(install(&[&inside]), Some(1), "a file is no folder");
}

#[test]
fn as_the_first_process_of_a_container_it_reaps_orphans() {
    // In namespaces of its own it is process 1, as in a pod.
    let probe = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
            "true",
        ])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        writeln!(
            std::io::stderr(),
            "not run: this system gives no namespaces to us"
        )
        .unwrap();
        return;
    }
    let rig = Rig::new("A=1");
    // The inner shell ends at once, and the sleep becomes an orphan of process 1.
    let script = "(sleep 0.2 & echo $! >$OUT.pid) ; pid=$(cat $OUT.pid); \
        while [ -e /proc/$pid ]; do sleep 0.05; done; echo reaped >$OUT";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"])
        .arg(env!("CARGO_BIN_EXE_vaultkeeper-agent"))
        .arg("exec")
        .arg(format!("-env-file={}", rig.path("env").display()))
        .args(["--", "/bin/sh", "-c", script])
        .env("OUT", rig.path("out"));
    let mut running = Running::start(&mut command);
    holds(&rig.path("out"), "reaped\n");
    assert_eq!(running.end().code(), Some(0));
}
