//! The control plane that all tests of this tier share. Each test works in namespaces of its own.

use std::path::Path;

use tokio::sync::OnceCell;
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;

/// The program that the reaper runs.
pub(crate) const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

struct Shared {
    control_plane: ControlPlane,
    // A static is never dropped: the reaper ends the servers when this process ends, however it does.
    _reaper: Reaper,
}

// The failure is kept, too: one start is tried, not one per test.
static SHARED: OnceCell<Result<Shared, String>> = OnceCell::const_new();

/// The shared control plane, started by whoever asks first.
pub(crate) async fn control_plane() -> &'static ControlPlane {
    match SHARED
        .get_or_init(|| async { start().await.map_err(|error| format!("{error:#}")) })
        .await
    {
        Ok(shared) => &shared.control_plane,
        Err(error) => panic!("the control plane does not start: {error}"),
    }
}

async fn start() -> anyhow::Result<Shared> {
    let run = RunDir::create("api")?;
    let reaper = Reaper::start(Path::new(TESTBED), &run)?;
    let control_plane = ControlPlane::start(Options::loopback()?, &run).await?;
    Ok(Shared {
        control_plane,
        _reaper: reaper,
    })
}
