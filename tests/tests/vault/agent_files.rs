//! The agent on volumes that are full or read-only: its file stays, the fault is shown, and all is right again afterwards.
//! The volumes are real, in a mount namespace of the agent's own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use vaultkeeper_tests::process::ProcessSpec;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;

use crate::TESTBED;
use crate::agent_support::{Agent, DEADLINE, Rig, program};
use crate::client_support::solo;

/// An agent whose destination lies on a small volume that nobody else sees.
struct Boxed {
    agent: Agent,
    file: PathBuf,
}

impl Boxed {
    fn start(rig: &Rig, config: &serde_json::Value, run: &RunDir) -> Self {
        let folder = rig.file().parent().unwrap().to_owned();
        let script = "mount -t tmpfs -o size=64k,mode=0777 small \"$1\" && exec \"$2\"";
        let mut arguments = vec!["--mount", "--propagation", "private"];
        if !rustix::process::getuid().is_root() {
            arguments.extend(["--user", "--map-root-user"]);
        }
        arguments.extend(["sh", "-c", script, "sh"]);
        let spec = ProcessSpec::new("agent-boxed", "unshare", run)
            .args(arguments)
            .args([folder.display().to_string(), program().display().to_string()]);
        Self {
            agent: Agent::of(spec, config, run),
            file: rig.file(),
        }
    }

    /// A file of the agent as the agent sees it.
    fn inside(&self, file: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.agent.process.pid());
        Path::new(&root).join(file.strip_prefix("/").unwrap())
    }

    fn wait_for(&self, text: &str) {
        crate::agent_support::wait_for(&self.inside(&self.file), text);
    }

    /// Mounts the volume again with this option.
    fn remount(&self, option: &str) {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.agent.process.pid()))
            .arg("--mount");
        if !rustix::process::getuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        let folder = self.file.parent().unwrap();
        let output = command
            .args(["mount", "-o", &format!("remount,{option}")])
            .arg(folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

async fn boxed(name: &str) -> (Rig, Boxed, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), TokenParams::default()).await;
    rig.write_secret("first").await;
    let boxed = Boxed::start(&rig, &rig.config(&rig.template()), &run);
    boxed.wait_for("app:first:5432");
    (rig, boxed, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_is_shown_and_the_file_follows_once_there_is_room() {
    let (rig, boxed, _run) = boxed("full").await;
    let filler = boxed.inside(&rig.folder().join("secrets/filler"));
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    rig.write_secret("second").await;
    boxed.agent.wait_for("No space left on device", 2);
    boxed.wait_for("app:first:5432");
    let folder = filler.parent().unwrap();
    let names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().ends_with(".vaultkeeper")),
        "half a file was left on a full volume: {names:?}"
    );
    // Open, it would keep its room.
    drop(file);
    fs::remove_file(&filler).unwrap();
    boxed.wait_for("app:second:5432");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_became_read_only_is_shown_and_the_file_follows_once_it_is_writable() {
    let (rig, boxed, _run) = boxed("readonly").await;
    boxed.remount("ro");
    rig.write_secret("second").await;
    boxed.agent.wait_for("Read-only file system", 2);
    boxed.wait_for("app:first:5432");
    boxed.remount("rw");
    boxed.wait_for("app:second:5432");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_on_the_way_is_refused_until_it_is_gone() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(
        "link",
        &solo.root,
        &solo.ca_pem,
        run.path(),
        TokenParams::default(),
    )
    .await;
    rig.write_secret("first").await;
    let (elsewhere, link) = (rig.folder().join("elsewhere"), rig.folder().join("secrets/sub"));
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    let mut config = rig.config(&rig.template());
    let file = link.join("app.conf");
    config["template"][0]["destination"] = file.display().to_string().into();
    let agent = rig.start(&config, &run);
    agent.wait_for("symbolic link", 2);
    assert_eq!(
        fs::read_dir(&elsewhere).unwrap().count(),
        0,
        "something was written through the link"
    );
    fs::remove_file(&link).unwrap();
    wait::until("the file", DEADLINE, || {
        ensure!(
            fs::read_to_string(&file)? == "app:first:5432",
            "it holds something else"
        );
        Ok(())
    })
    .unwrap();
}
