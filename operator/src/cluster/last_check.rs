//! The last look before volumes are deleted and keys are put aside: is this still wanted, and is it this cluster's own
//! data? Pure. What is in doubt is kept; nothing here makes a deletion wait.

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::DeletionPolicy;

use super::keys::KeyRecord;
use crate::conditions;

/// What may go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of it: this cluster opened the data.
    All,
    /// Volumes made since this moment, when the object came to be. Older ones are an earlier cluster's, which this one
    /// never opened.
    Since(Timestamp),
    /// Nothing, and why.
    Keep(&'static str),
}

/// Judges by the object as it is now. `uid` is that of the object whose deletion is being carried out.
pub(crate) fn judge(now: Option<&VaultCluster>, uid: &str) -> Verdict {
    let Some(cluster) = now.filter(|c| c.metadata.uid.as_deref() == Some(uid)) else {
        return Verdict::Keep("another VaultCluster has taken its name");
    };
    if cluster.metadata.deletion_timestamp.is_none() {
        return Verdict::Keep("it is not being deleted any more");
    }
    if cluster.spec.paused {
        return Verdict::Keep("spec.paused is true, and the deletion has waited long enough");
    }
    if cluster.spec.deletion_policy != DeletionPolicy::Delete {
        return Verdict::Keep("spec.deletionPolicy was changed to Retain meanwhile");
    }
    let opened = cluster
        .status
        .as_ref()
        .is_some_and(|s| s.cluster_id.is_some() || conditions::is_true(&s.conditions, "Initialized"));
    match (opened, &cluster.metadata.creation_timestamp) {
        (true, _) => Verdict::All,
        (false, Some(made)) => Verdict::Since(made.0),
        (false, None) => Verdict::Keep("nobody knows when it was made"),
    }
}

impl Verdict {
    /// Whether a volume claim that was made at this moment goes.
    pub(crate) fn takes_claim(&self, made: Option<Timestamp>) -> bool {
        match self {
            Self::All => true,
            Self::Since(moment) => made.is_some_and(|made| made >= *moment),
            Self::Keep(_) => false,
        }
    }

    /// Whether the keys are put aside, so that a new cluster of this name begins anew.
    pub(crate) fn retires_keys(&self, record: Option<&KeyRecord>, uid: &str) -> bool {
        match self {
            Self::All => true,
            Self::Since(_) => record.is_some_and(|record| record.identity == uid),
            Self::Keep(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::super::validate::tests::cluster;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A cluster that is being deleted with its data, made at second 100.
    fn doomed(status: &str) -> VaultCluster {
        let mut cluster = cluster("  deletionPolicy: Delete");
        cluster.metadata.creation_timestamp = Some(Time(at(100)));
        cluster.metadata.deletion_timestamp = Some(Time(at(200)));
        cluster.status = Some(serde_yaml::from_str(status).unwrap());
        cluster
    }

    #[test]
    fn the_data_that_a_cluster_opened_goes_with_it() {
        let verdict = judge(Some(&doomed("{clusterId: a}")), "u-1");
        assert_eq!(verdict, Verdict::All);
        assert!(
            verdict.takes_claim(Some(at(5))),
            "also volumes that it took over from an earlier one"
        );
        assert!(verdict.retires_keys(None, "u-1"));
    }

    #[test]
    fn a_policy_that_was_changed_while_the_deletion_ran_keeps_everything() {
        let mut changed = doomed("{clusterId: a}");
        changed.spec.deletion_policy = DeletionPolicy::Retain;
        let verdict = judge(Some(&changed), "u-1");
        assert!(
            matches!(verdict, Verdict::Keep(why) if why.contains("Retain")),
            "{verdict:?}"
        );
        assert!(!verdict.takes_claim(Some(at(150))) && !verdict.retires_keys(None, "u-1"));
    }

    #[test]
    fn a_paused_cluster_keeps_everything() {
        let mut paused = doomed("{clusterId: a}");
        paused.spec.paused = true;
        let verdict = judge(Some(&paused), "u-1");
        assert!(
            matches!(verdict, Verdict::Keep(why) if why.contains("spec.paused")),
            "{verdict:?}"
        );
    }

    #[test]
    fn another_object_of_the_name_keeps_everything() {
        let verdict = judge(Some(&doomed("{clusterId: a}")), "u-0");
        assert!(matches!(verdict, Verdict::Keep(_)), "{verdict:?}");
        assert!(matches!(judge(None, "u-1"), Verdict::Keep(_)), "it is gone");
    }

    #[test]
    fn a_cluster_that_opened_nothing_takes_only_the_volumes_made_for_it() {
        let verdict = judge(Some(&doomed("{}")), "u-1");
        assert!(
            !verdict.takes_claim(Some(at(99))),
            "an earlier cluster's volume, which was kept"
        );
        assert!(verdict.takes_claim(Some(at(100))), "made for this one");
        assert!(!verdict.takes_claim(None), "nobody knows whose it is");
        assert!(
            !verdict.retires_keys(None, "u-1"),
            "the keys of an earlier cluster stay in their place"
        );
    }
}
