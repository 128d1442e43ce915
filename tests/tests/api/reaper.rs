//! Whatever ends the owner of a run, its processes end, too.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use vaultkeeper_tests::proc_table::ProcessId;
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;

use crate::shared::TESTBED;

/// On a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Not a test: the owner that the tests below start, a process of its own, and end in different ways.
#[test]
#[ignore = "started by the other tests of this file"]
fn an_owner_of_a_run() {
    let Ok(how) = std::env::var("OWNER_ENDS_BY") else {
        return;
    };
    let run = RunDir::create("owner").unwrap();
    let _reaper = Reaper::start(Path::new(TESTBED), &run).unwrap();
    // Its own child is recorded nowhere: only the environment tells that it belongs to the run.
    let shell = ProcessSpec::new("shell", "sh", &run).args(["-c", "sleep 300 & wait"]);
    let shell = Process::start(shell, &run).unwrap();
    // Standard error: the test harness keeps standard output to itself.
    eprintln!("RUN {} {}", shell.pid(), run.path().display());
    match how.as_str() {
        "panic" => panic!("as asked"),
        "abort" => std::process::abort(),
        _ => drop(std::io::stdin().read_line(&mut String::new())),
    }
}

fn nothing_is_left_after(how: &str) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reaper::an_owner_of_a_run", "--ignored", "--nocapture"])
        .env("OWNER_ENDS_BY", how)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // As a shell does: what a Ctrl-C interrupts is a whole group.
        .process_group(0)
        .spawn()
        .unwrap();
    let stderr = BufReader::new(owner.stderr.take().unwrap());
    let said = stderr
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("RUN ").map(str::to_owned));
    let (pid, run) = said
        .as_deref()
        .and_then(|said| said.split_once(' '))
        .expect("the owner says what it started");
    let (shell, run) = (ProcessId::living(pid.parse().unwrap()), PathBuf::from(run));
    if how == "kill" {
        assert!(
            shell.is_some(),
            "the owner's process should run before the owner is killed"
        );
        owner.kill().unwrap();
    }
    if how == "interrupt" {
        let group = Pid::from_child(&owner);
        kill_process_group(group, Signal::INT).unwrap();
    }
    owner.wait().unwrap();
    wait::until(&format!("the end of the run after {how}"), DEADLINE, || {
        anyhow::ensure!(!run.exists(), "{} is still there", run.display());
        Ok(())
    })
    .unwrap();
    let marked =
        vaultkeeper_tests::proc_table::with_environment("VAULTKEEPER_TESTBED_RUN", run.to_str().unwrap());
    assert_eq!(
        marked.unwrap(),
        [],
        "no process of the run should be left after {how}"
    );
}

#[test]
fn nothing_is_left_after_a_sigkill() {
    nothing_is_left_after("kill");
}

#[test]
fn nothing_is_left_after_a_ctrl_c() {
    nothing_is_left_after("interrupt");
}

#[test]
fn nothing_is_left_after_a_panic() {
    nothing_is_left_after("panic");
}

#[test]
fn nothing_is_left_after_an_abort() {
    nothing_is_left_after("abort");
}

#[test]
fn a_run_whose_reaper_was_killed_is_removed_by_the_next() {
    let abandoned = RunDir::create("abandoned").unwrap();
    let reaper = Reaper::start(Path::new(TESTBED), &abandoned).unwrap();
    let process = Process::start(
        ProcessSpec::new("sleep", "sleep", &abandoned).args(["300"]),
        &abandoned,
    )
    .unwrap();
    assert!(process.is_running(), "it runs as long as its reaper does");
    ProcessId::living(reaper.pid())
        .expect("the reaper runs")
        .kill()
        .unwrap();

    // The next one is perhaps that of another test, which is still at it.
    let next = RunDir::create("next").unwrap();
    let next_reaper = Reaper::start(Path::new(TESTBED), &next).unwrap();
    wait::until("the abandoned run to be removed", DEADLINE, || {
        let path = abandoned.path();
        anyhow::ensure!(!path.exists(), "{} is still there", path.display());
        anyhow::ensure!(!process.is_running(), "its process still runs");
        Ok(())
    })
    .unwrap();
    assert!(next.path().exists(), "but not touch a run whose reaper lives");
    next_reaper.reap().unwrap();
}
