//! The control plane and Vault need no privilege.

use std::path::Path;
use std::process::{Command, Stdio};

use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::vault_server::{Config, VaultServer};

use crate::shared::TESTBED;

const MARK: &str = "HAS_NO_CAPABILITY";

/// Not a test: what the test below runs without privileges.
#[tokio::test]
#[ignore = "started by the other test of this file"]
async fn an_owner_without_privileges() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    assert_eq!(
        effective.map(str::trim),
        Some("0000000000000000"),
        "this process should have no capability"
    );
    let run = RunDir::create("unprivileged").unwrap();
    let reaper = Reaper::start(Path::new(TESTBED), &run).unwrap();
    let control_plane = ControlPlane::start(Options::loopback().unwrap(), &run)
        .await
        .unwrap();
    let client = control_plane.client().await.unwrap();
    let version = client.apiserver_version().await.unwrap();
    let ca = Ca::new("vault-ca").unwrap();
    let vault = VaultServer::start(Config::single("alone").unwrap(), &ca, &run)
        .await
        .unwrap();
    eprintln!("SERVED {} and {}", version.git_version, vault.url());
    drop((vault, control_plane));
    reaper.reap().unwrap();
    assert!(!run.path().exists(), "the run is removed without privileges, too");
}

#[test]
fn the_tiers_api_and_vault_start_their_servers_without_any_capability() {
    // setpriv is in Debian's util-linux, which is essential.
    let output = Command::new("setpriv")
        .args(if rustix::process::geteuid().is_root() {
            &["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"][..]
        } else {
            &["--no-new-privs"]
        })
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "unprivileged::an_owner_without_privileges",
            "--ignored",
            "--nocapture",
        ])
        .env(MARK, "yes")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("SERVED v"),
        "the servers should start without privileges, but: {said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
