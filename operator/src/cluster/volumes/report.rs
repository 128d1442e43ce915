//! What is said of volumes that are not as large as the spec says. Pure.

use super::{Note, Reason};
use crate::cluster::validate::Validated;
use vaultkeeper_crds::annotations;

/// Type of the condition, which is there only while a volume is smaller than the spec says.
pub(crate) const GROWING: &str = "VolumesGrowing";

/// What a look at the claims has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Reason and message of the condition. None: every volume is as large as the spec says, or larger.
    pub told: Option<(Reason, String)>,
}

impl Report {
    /// Says each thing once, the worst first.
    pub(super) fn of(cluster: &Validated, mut notes: Vec<Note>) -> Self {
        notes.sort_by(|a, b| (b.reason, &b.words).cmp(&(a.reason, &a.words)));
        let Some(worst) = notes.first().map(|note| note.reason) else {
            return Self::default();
        };
        let mut parts = Vec::new();
        for same in notes.chunk_by(|a, b| a.reason == b.reason && a.words == b.words) {
            let claims: Vec<&str> = same.iter().map(|note| note.claim.as_str()).collect();
            parts.push(format!("{}: {}", claims.join(", "), same[0].words));
        }
        let message = match worst.remedy(cluster) {
            Some(remedy) => format!("{}. {remedy}", parts.join("; ")),
            None => parts.join("; "),
        };
        Self {
            told: Some((worst, message)),
        }
    }

    /// Whether something is under way that ends without a person.
    pub(crate) fn goes_on(&self) -> bool {
        self.told.as_ref().is_some_and(|(reason, _)| reason.goes_on())
    }
}

impl Reason {
    /// The word in the condition.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::VolumeGrowing => "VolumeGrowing",
            Self::VolumeAwaited => "VolumeAwaited",
            Self::FileSystemAwaited => "FileSystemAwaited",
            Self::ExpansionFailed => "ExpansionFailed",
            Self::GrowthRefused => "GrowthRefused",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::ExpansionForbidden => "ExpansionForbidden",
        }
    }

    fn goes_on(self) -> bool {
        matches!(
            self,
            Self::VolumeGrowing | Self::VolumeAwaited | Self::FileSystemAwaited
        )
    }

    /// What a person can do.
    fn remedy(self, cluster: &Validated) -> Option<String> {
        let Validated { name, namespace, .. } = cluster;
        match self {
            Self::VolumeGrowing | Self::VolumeAwaited => None,
            Self::FileSystemAwaited => Some(format!(
                "The node makes the file system larger within minutes; a driver that does so only when a pod starts needs a restart of the members, one by one: kubectl annotate --overwrite vc {name} -n {namespace} {}=\"$(date)\"",
                annotations::RESTART
            )),
            Self::ExpansionFailed => Some(format!(
                "See kubectl describe pvc -n {namespace} and the log of the driver, which tries again by itself"
            )),
            Self::GrowthRefused => Some("It is tried again every minute".to_owned()),
            Self::QuotaExceeded => Some(format!(
                "Raise the ResourceQuota in namespace {namespace}; it is tried again every minute"
            )),
            Self::ExpansionForbidden => Some(
                "Set allowVolumeExpansion: true in that StorageClass if its driver can do it; it is tried again every minute. The members go on with the volumes they have"
                    .to_owned(),
            ),
        }
    }
}
