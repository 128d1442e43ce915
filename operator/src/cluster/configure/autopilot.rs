//! Autopilot of Raft takes out members that are gone for good, where there are more than the cluster is to have.

use std::time::Duration;

use vaultkeeper_vault::Client;
use vaultkeeper_vault::sys::raft::AutopilotConfiguration;

use crate::cluster::error::Error;
use crate::cluster::validate::{Storage, Validated};

/// Autopilot cleans up nothing with fewer members, and refuses to be told so.
const FEWEST: u32 = 3;
/// How long a member is silent before it counts as gone: longer than a node is repaired. One that comes back after it was
/// taken out has to be wiped.
const GONE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Writes autopilot's settings unless they are in place.
pub(super) async fn keep(cluster: &Validated, client: &Client, member: &str) -> Result<(), Error> {
    if !matches!(cluster.storage, Storage::Raft(_)) || cluster.replicas < FEWEST {
        return Ok(());
    }
    let found = client.autopilot_configuration().await;
    let found = found.map_err(|e| Error::vault("read autopilot's settings", member, e))?;
    match corrected(&found, cluster.replicas) {
        Some(wanted) => client
            .set_autopilot_configuration(&wanted)
            .await
            .map_err(|e| Error::vault("write autopilot's settings", member, e)),
        None => Ok(()),
    }
}

/// What is to be written. A quorum of as many as there are to be: nobody is taken out while nobody is left over. What else
/// autopilot can be told stays as it is.
fn corrected(found: &AutopilotConfiguration, members: u32) -> Option<AutopilotConfiguration> {
    let wanted = AutopilotConfiguration {
        cleanup_dead_servers: true,
        dead_server_last_contact_threshold: GONE_AFTER,
        min_quorum: members,
        ..found.clone()
    };
    (wanted != *found).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_a_new_vault() -> AutopilotConfiguration {
        AutopilotConfiguration {
            cleanup_dead_servers: false,
            last_contact_threshold: Duration::from_secs(10),
            dead_server_last_contact_threshold: GONE_AFTER,
            max_trailing_logs: 1000,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
        }
    }

    #[test]
    fn dead_members_are_taken_out_only_where_more_are_left_than_there_are_to_be() {
        let written = corrected(&of_a_new_vault(), 5).expect("a new Vault is not configured so");
        assert!(written.cleanup_dead_servers);
        assert_eq!(
            written.min_quorum, 5,
            "with the five that are wanted nobody is ever taken out"
        );
        assert_eq!(corrected(&written, 5), None, "it is in place");
        assert_eq!(corrected(&written, 7).map(|c| c.min_quorum), Some(7), "it grows");
    }

    #[test]
    fn what_somebody_else_set_is_put_right_and_what_is_not_ours_stays() {
        let by_hand = AutopilotConfiguration {
            max_trailing_logs: 5000,
            dead_server_last_contact_threshold: Duration::from_secs(60),
            ..of_a_new_vault()
        };
        let written = corrected(&by_hand, 3).expect("a minute is no time in which a node is repaired");
        assert_eq!(written.dead_server_last_contact_threshold, GONE_AFTER);
        assert_eq!(written.max_trailing_logs, 5000, "not ours");
    }
}
