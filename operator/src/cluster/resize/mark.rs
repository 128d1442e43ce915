//! The mark on the volume claim of a member that was taken out of Raft. Pure.
//!
//! It holds the identity of the Vault and the UID of the claim: a copy of the claim, or the claim of another Vault, is never
//! taken for one that may go.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;
use vaultkeeper_crds::annotations::REMOVED_FROM;

use super::Left;

/// Value of the annotation.
pub(super) fn text(vault: &str, claim: &str) -> String {
    format!("{vault}/{claim}")
}

/// What a claim says, if the mark is its own.
pub(super) fn read(claim: &PersistentVolumeClaim, ordinal: u32) -> Option<Left> {
    let (vault, marked) = claim.annotations().get(REMOVED_FROM)?.split_once('/')?;
    let uid = claim.uid().filter(|uid| uid == marked)?;
    Some(Left {
        ordinal,
        claim: claim.name_any(),
        uid,
        resource_version: claim.resource_version().unwrap_or_default(),
        vault: vault.to_owned(),
        deleting: claim.metadata.deletion_timestamp.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(uid: &str, mark: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"metadata": {
            "name": "data-main-3", "uid": uid, "resourceVersion": "7", "annotations": {REMOVED_FROM: mark},
        }}))
        .unwrap()
    }

    #[test]
    fn only_the_very_claim_that_was_marked_counts() {
        let mark = text("v-1", "c-1");
        let left = read(&claim("c-1", &mark), 3).expect("it was marked");
        assert_eq!((left.vault.as_str(), left.uid.as_str()), ("v-1", "c-1"));
        assert_eq!(
            read(&claim("c-2", &mark), 3),
            None,
            "restored from a backup with its annotations"
        );
        assert_eq!(read(&claim("c-1", "yes"), 3), None, "somebody's own words");
        assert_eq!(read(&claim("c-1", ""), 3), None);
    }
}
