//! A spec that cannot work: nothing is begun with it, and nothing that was begun is left alone.

use vaultkeeper_crds::VaultCluster;

use super::claim::Claim;
use super::error::Error;
use super::key_store;
use super::keys::State;
use super::validate::{self, Invalid, Validated};
use crate::context::Context;

/// The checked spec. Of a cluster that was initialised before also what is left of one that is refused, so that its
/// members are looked at, labelled and unsealed; otherwise the refusal.
pub(super) async fn examine(
    ctx: &Context,
    cluster: &VaultCluster,
    claim: &Claim,
) -> Result<Result<Validated, Invalid>, Error> {
    let examined = validate::examine(cluster);
    let (invalid, held) = match examined {
        Ok(validated) => match validated.refusal().cloned() {
            None => return Ok(Ok(validated)),
            Some(invalid) => (invalid, Some(validated)),
        },
        Err(invalid) => (invalid.clone(), validate::held(cluster, invalid)),
    };
    let Some(held) = held.filter(|_| *claim == Claim::Ours) else {
        return Ok(Err(invalid));
    };
    let record = key_store::get(ctx, &held.namespace, &held.name).await?;
    let was_begun = record.is_some_and(|record| record.state == State::Initialized);
    Ok(if was_begun { Ok(held) } else { Err(invalid) })
}
