//! Members found sealed, and for how long in which container.

use std::collections::BTreeSet;

use tokio::time::Instant;
use vaultkeeper_crds::{annotations, names};

use super::keys::{self, SealRecord};
use super::seals;
use super::validate::Validated;
use crate::context::Context;
use crate::controllers::hash;
use crate::members::{self, Member};

/// Members found sealed, pass after pass, in the container that was seen unsealed. Their pods are read again after
/// they have answered: what was read before may be of a process that had ended by then.
pub(super) async fn sealed_on_purpose(
    ctx: &Context,
    cluster: &Validated,
    members: &[Member],
    seals: &SealRecord,
) -> BTreeSet<String> {
    let suspects = seals::suspects(members, seals);
    let key = |member: &str| sighting(cluster, &format!("{member}/"));
    for member in members {
        if !suspects.contains_key(member.name.as_str()) {
            ctx.recent.forget(&key(&member.name));
        }
    }
    if suspects.is_empty() {
        return BTreeSet::new();
    }
    let containers = match members::containers(ctx, &cluster.namespace, &cluster.name).await {
        Ok(containers) => containers,
        Err(error) => {
            tracing::debug!(%error, "the pods of sealed members could not be read again");
            ctx.recent.forget(&sighting(cluster, ""));
            return BTreeSet::new();
        }
    };
    let is_confirmed = |member: &str, container: &str| {
        if containers.get(member).is_none_or(|now| now != container) {
            ctx.recent.forget(&key(member));
            return false;
        }
        seals::is_deliberate(ctx.recent.look(&key(member), hash(&container), Instant::now()))
    };
    suspects
        .into_iter()
        .filter(|(member, container)| is_confirmed(member, container))
        .map(|(member, _)| member.to_owned())
        .collect()
}

/// Where it is remembered since when a member is seen sealed in the same container.
pub(super) fn sighting(cluster: &Validated, member: &str) -> String {
    format!("{}/sealed/{member}", cluster.uid)
}

pub(super) fn damaged_note(cluster: &Validated) -> String {
    let Validated { namespace, name, .. } = cluster;
    format!(
        "the annotation {} of Secret {} is gone or could not be read, so that nobody knows which members were sealed on purpose: it is written anew, and members that did not serve are held. To release them: kubectl annotate vc {name} -n {namespace} {}=\"<reason>\"",
        keys::SEAL_RECORD,
        names::key_secret(namespace, name),
        annotations::RELEASE_SEAL,
    )
}
