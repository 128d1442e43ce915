//! Applies the spec. Another kind of seal in it is noted before.

use vaultkeeper_crds::VaultCluster;

use super::certificates::{self, Held};
use super::error::Error;
use super::keys::KeyRecord;
use super::validate::Validated;
use super::{apply, build, migration, rollout};
use crate::context::Context;

/// What was applied of the spec, and how.
pub(super) struct Applied {
    /// The cluster with what its members need beside the spec.
    pub bound: Validated,
    /// Whether the key Secret was written.
    pub is_new: bool,
    /// What became of it.
    pub result: Result<(), Error>,
}

impl Applied {
    pub(super) fn nothing(cluster: &Validated) -> Self {
        Self {
            bound: cluster.clone(),
            is_new: false,
            result: Ok(()),
        }
    }
}

/// Applies the spec. Another kind of seal in it is noted before.
pub(super) async fn note_and_apply(
    ctx: &Context,
    object: &VaultCluster,
    cluster: &Validated,
    held: &Held,
    record: Option<&KeyRecord>,
) -> Applied {
    let noted = match rollout::version::check(object) {
        Ok(()) => migration::act::begin(ctx, object, cluster, record).await,
        Err(error) => Err(error),
    };
    match noted {
        Ok(migration::act::Noted { note, is_new }) => {
            let bound = migration::bind(cluster, note.as_ref());
            let result = Box::pin(build_and_apply(ctx, &bound, held, is_sealed_on_purpose(record))).await;
            Applied {
                bound,
                is_new,
                result,
            }
        }
        Err(error) => Applied {
            bound: migration::bind(cluster, record.and_then(|r| r.seal.as_ref())),
            is_new: false,
            result: Err(error),
        },
    }
}

/// Whether a member is latched, or may be for all that is known.
fn is_sealed_on_purpose(record: Option<&KeyRecord>) -> bool {
    record.is_some_and(|record| record.seals.damaged || !record.seals.latched.is_empty())
}

/// Nothing is applied while our own certificate cannot be made; one from elsewhere is the kubelet's to wait for.
async fn build_and_apply(
    ctx: &Context,
    cluster: &Validated,
    held: &Held,
    sealed_on_purpose: bool,
) -> Result<(), Error> {
    if let Some(invalid) = cluster.unbuildable() {
        return Err(Error::Refused(invalid.clone()));
    }
    let certificate = match (&held.issued, &held.trust) {
        (Some(leaf), Some(trust)) => Some(build::Certificate { leaf, trust }),
        _ if cluster.tls.is_managed() => return Ok(()),
        // Told as the problem that it is.
        _ if certificates::would_strand(ctx, cluster, held).await? => return Ok(()),
        _ => None,
    };
    let around = build::Around {
        operator_namespace: &ctx.namespace,
        helper: &ctx.helper,
        sealed_on_purpose,
    };
    let objects = Box::new(build::build(cluster, certificate, around)?);
    apply::apply(ctx, cluster, &objects).await
}
