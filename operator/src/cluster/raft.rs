//! Asks the active member about Raft.

use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::validate::Validated;
use crate::context::Context;
use crate::sessions::{self, Target};

/// Raft's members and autopilot's judgement. Missing numbers are no failure of the pass.
pub(super) async fn observe(
    ctx: &Context,
    cluster: &Validated,
) -> Option<(RaftConfiguration, AutopilotState)> {
    let client = ctx.sessions.active(ctx, &Target::from(cluster)).await.ok()?;
    let asked = async {
        Ok::<_, vaultkeeper_vault::Error>((
            client.raft_configuration().await?,
            client.autopilot_state().await?,
        ))
    };
    match asked.await {
        Ok(raft) => Some(raft),
        Err(error) => {
            tracing::debug!(%error, "Raft's state is not known in this pass");
            if sessions::is_spoilt_by(&error) {
                ctx.sessions.forget(&cluster.uid).await;
            }
            None
        }
    }
}
