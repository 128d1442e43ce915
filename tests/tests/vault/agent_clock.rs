//! The agent whose clock is wrong, or is set while it runs. Only its own process sees that: a library that is loaded before all
//! others answers its questions for the time of day.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vaultkeeper_tests::process::ProcessSpec;
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;

use crate::TESTBED;
use crate::agent_away::{through, ttl};
use crate::agent_forwarder::Forwarder;
use crate::agent_members::Members;
use crate::agent_support::{Agent, DEADLINE, Rig, program};

const SOURCE: &str = include_str!("agent_clock/clock.c");

/// How long everything may take to be right again once the clock is right enough to trust Vault's certificate.
const RECOVERY: Duration = Duration::from_secs(10);

const HOUR: i64 = 3600;
/// The tests' certificates are valid until the year 4096.
const TOO_LATE: i64 = 2100 * 366 * 24 * HOUR;

/// A clock that can be set.
struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    fn in_folder(folder: &Path) -> Self {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, SOURCE).unwrap();
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .status();
        assert!(status.unwrap().success(), "the C compiler builds the library");
        let clock = Self {
            library,
            offset: folder.join("offset"),
        };
        clock.is_wrong_by(0);
        clock
    }

    /// Sets it, in seconds. Replaced as a whole: nobody reads half of it.
    fn is_wrong_by(&self, seconds: i64) {
        let draft = self.offset.with_extension("draft");
        fs::write(&draft, seconds.to_string()).unwrap();
        fs::rename(&draft, &self.offset).unwrap();
    }

    fn of(&self, spec: ProcessSpec) -> ProcessSpec {
        spec.env("LD_PRELOAD", self.library.display().to_string())
            .env("CLOCK_OFFSET_FILE", self.offset.display().to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_moves_no_schedule_and_empties_no_file() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let members = Members::start("clock", 1, &run).await;
    let member = &members.list[0];
    let service = Forwarder::start(member.address).await;
    let rig = Rig::new("clock", &member.root, &members.ca_pem, run.path(), ttl(12)).await;
    rig.write_secret("first").await;
    let clock = Clock::in_folder(rig.folder());
    let spec = clock.of(ProcessSpec::new("agent-clock", program(), &run));
    let agent = Agent::of(spec, &through(&service, &rig), &run);
    rig.wait_for("app:first:5432");

    for (name, hours) in [("ahead", 3), ("behind", -3), ("right", 0)] {
        clock.is_wrong_by(hours * HOUR);
        let renewals = agent.count("renewed the token");
        rig.write_secret(name).await;
        rig.wait_for(&format!("app:{name}:5432"));
        agent.wait_for("renewed the token", renewals + 1);
    }
    assert_eq!(
        agent.count("logged in"),
        1,
        "a token lives as long as before, whatever the time of day:\n{}",
        agent.log()
    );
    assert_eq!(agent.count("no answer"), 0, "nothing failed:\n{}", agent.log());

    // So wrong that no certificate is valid.
    clock.is_wrong_by(TOO_LATE);
    service.cut();
    rig.write_secret("last").await;
    agent.wait_for("no answer: Vault is away", 2);
    assert!(
        agent.count("expired") > 0,
        "its clock must be the reason, else nothing was shown:\n{}",
        agent.log()
    );
    wait::until("the token to have ended meanwhile", DEADLINE, || {
        ensure!(agent.count("no login") > 0, "it still counts on it");
        Ok(())
    })
    .unwrap();
    rig.wait_for("app:right:5432");
    clock.is_wrong_by(0);
    let start = Instant::now();
    wait::until("the file to follow", RECOVERY, || {
        let there = fs::read_to_string(rig.file())?;
        ensure!(there == "app:last:5432", "it holds {there:?}");
        Ok(())
    })
    .unwrap();
    say(&format!(
        "clock set right: right again after {:.1} s",
        start.elapsed().as_secs_f64()
    ));
}
