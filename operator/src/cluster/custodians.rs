//! What custodians are given and told in a pass.

use std::time::Duration;

use tokio::time::Instant;
use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::names;

use super::error::Error;
use super::execute::Scope;
use super::validate::Validated;
use super::{Pass, apply, build, custody};
use crate::context::Context;
use crate::controllers::hash;
use crate::report::Reason;

/// Puts the encrypted shares where the custodians fetch them. The originals stay in the key Secret.
pub(super) async fn deliver(ctx: &Context, cluster: &Validated, pass: &mut Pass) -> Result<(), Error> {
    let Some(record) = pass.record.as_ref() else {
        return Ok(());
    };
    let Some(custody) = &record.custody else {
        return Ok(());
    };
    let Validated { namespace, name, .. } = cluster;
    let missing = custody::without_share(custody, &record.encrypted);
    if !missing.is_empty() {
        // To apply what is left would take them out of the copy as well.
        return Err(Error::CustodyIncomplete {
            secret: names::key_secret(namespace, name),
            names: missing.join(", "),
            copy: names::custodian_secret(name),
            namespace: namespace.clone(),
        });
    }
    let secret = build::custodian_secret(cluster, &record.encrypted);
    apply::secret(ctx, cluster, &secret).await?;
    pass.delivered = true;
    Ok(())
}

/// An event for each member that begins to wait for the custodians.
pub(super) async fn tell_who_waits(scope: &Scope<'_>, distribution: Distribution) {
    let Some(custody) = scope.record.and_then(|r| r.custody.as_ref()) else {
        return;
    };
    let Validated {
        namespace, name, uid, ..
    } = scope.cluster;
    let place = custody::Place {
        namespace,
        name,
        distribution,
    };
    for (waiting, progress) in custody::waiting(scope.members, scope.record) {
        let container = scope.members.iter().find(|m| m.name == waiting);
        let print = hash(&container.and_then(|m| m.container.as_ref()));
        let (key, now) = (format!("{uid}/awaits/{waiting}"), Instant::now());
        if !scope.ctx.recent.is_fresh(&key, print, Duration::MAX, now) {
            let note = custody::instructions(custody, &[(waiting, progress)], place);
            scope.event(Reason::AwaitingCustodians, waiting, &note).await;
            scope.ctx.recent.mark(key, print, now);
        }
    }
}
