//! The members' volumes grow with the spec, and never become smaller. Pure.
//!
//! Every claim is judged by itself, from what it asks for and what its volume has: there is no state to lose, so that
//! whoever is killed half way goes on where it was.

pub(crate) mod act;
mod quantity;
mod report;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use vaultkeeper_crds::{annotations, names};

use super::build;
use super::validate::Validated;

pub(crate) use report::{GROWING, Report};

/// How the part of a claim is called that has its size.
const STORAGE: &str = "storage";
/// The longest words of a driver or of the API server that are repeated.
const WORDS: usize = 300;

/// A claim of a member, and the size that the spec gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// Name of the claim.
    pub claim: String,
    /// The size.
    pub size: String,
}

/// A claim that is to ask for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Name of the claim.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// The version that this was decided on.
    pub resource_version: String,
    /// What it asks for.
    pub from: String,
    /// What it is to ask for.
    pub to: String,
}

/// Why a claim is not as large as the spec says: reasons of the condition, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It asks for more, and the driver makes the volume larger.
    VolumeGrowing,
    /// It has no volume yet.
    VolumeAwaited,
    /// The volume is larger, its file system is not yet.
    FileSystemAwaited,
    /// The driver failed.
    ExpansionFailed,
    /// The API server does not take another size.
    GrowthRefused,
    /// The quota of the namespace is used up.
    QuotaExceeded,
    /// The StorageClass forbids it.
    ExpansionForbidden,
}

/// What is said of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Name of the claim.
    pub claim: String,
    /// The reason.
    pub reason: Reason,
    /// What stands behind it.
    pub words: String,
}

/// What is done and said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Claims that are to ask for more.
    pub grow: Vec<Growth>,
    /// What is said of others.
    pub notes: Vec<Note>,
}

/// The claims of all members that run, or are to run now.
pub(crate) fn wanted(cluster: &Validated) -> Vec<Wanted> {
    let mut all = Vec::new();
    for template in build::claim_templates(cluster) {
        let Some(size) = asked(&template) else { continue };
        all.extend((0..cluster.replicas).map(|ordinal| Wanted {
            claim: format!(
                "{}-{}",
                template.name_any(),
                names::member(&cluster.name, ordinal)
            ),
            size: size.0.clone(),
        }));
    }
    all
}

/// Decides for each claim. Those of nobody, of others, and those that go are left alone.
pub(crate) fn decide(cluster: &str, wanted: &[Wanted], claims: &[PersistentVolumeClaim]) -> Plan {
    let mut plan = Plan::default();
    for Wanted { claim: name, size } in wanted {
        let is_ours = |claim: &&PersistentVolumeClaim| {
            claim.metadata.name.as_ref() == Some(name)
                && claim.metadata.deletion_timestamp.is_none()
                && claim.labels().get(annotations::CLUSTER).map(String::as_str) == Some(cluster)
        };
        let Some(claim) = claims.iter().find(is_ours) else {
            continue;
        };
        match judge(claim, size) {
            Judged::Enough => {}
            Judged::Grow(growth) => plan.grow.push(growth),
            Judged::Waits(reason, words) => plan.notes.push(Note {
                claim: name.clone(),
                reason,
                words,
            }),
        }
    }
    plan
}

/// How it stands with one claim.
enum Judged {
    Enough,
    Grow(Growth),
    Waits(Reason, String),
}

fn judge(claim: &PersistentVolumeClaim, size: &str) -> Judged {
    let Some(from) = asked(claim) else {
        return Judged::Enough;
    };
    let (Some(has), Some(wants)) = (quantity::bytes(&from.0), quantity::bytes(size)) else {
        // Of a size that cannot be read nobody knows whether another one is larger.
        return Judged::Enough;
    };
    let none = PersistentVolumeClaimStatus::default();
    let status = claim.status.as_ref().unwrap_or(&none);
    let is_bound = status.phase.as_deref() == Some("Bound");
    if has >= wants {
        // More, where somebody has asked for it by hand.
        let capacity = status.capacity.as_ref().and_then(|all| all.get(STORAGE));
        let capacity = capacity.filter(|c| is_bound && quantity::bytes(&c.0).is_some_and(|c| c < wants));
        return capacity.map_or(Judged::Enough, |capacity| under_way(status, &capacity.0, size));
    }
    if !is_bound {
        // The API server takes another size for bound claims only.
        let words = format!(
            "it asks for {} and has no volume yet; it grows to {size} then",
            from.0
        );
        return Judged::Waits(Reason::VolumeAwaited, words);
    }
    Judged::Grow(Growth {
        claim: claim.name_any(),
        uid: claim.uid().unwrap_or_default(),
        resource_version: claim.resource_version().unwrap_or_default(),
        from: from.0.clone(),
        to: size.to_owned(),
    })
}

/// What the driver and the kubelet say of a claim that asks for more than its volume has.
fn under_way(status: &PersistentVolumeClaimStatus, capacity: &str, size: &str) -> Judged {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let told = |word: &str| {
        conditions
            .iter()
            .find(|c| c.status == "True" && c.type_.contains(word))
            .map(|c| cut(c.message.as_deref().unwrap_or_default()))
    };
    let states = status.allocated_resource_statuses.as_ref();
    let state = states.and_then(|all| all.get(STORAGE)).map_or("", String::as_str);
    let has = format!("its volume has {capacity} of {size}");
    let is_given_up = state.ends_with("ResizeFailed") || state.ends_with("ResizeInfeasible");
    match told("ResizeError") {
        Some(words) if !words.is_empty() => {
            return Judged::Waits(
                Reason::ExpansionFailed,
                format!("{has}; its driver says: {words}"),
            );
        }
        None if !is_given_up => {}
        _ => {
            let words = format!("{has}; its driver could not make it larger");
            return Judged::Waits(Reason::ExpansionFailed, words);
        }
    }
    if told("FileSystemResizePending").is_some() {
        return Judged::Waits(Reason::FileSystemAwaited, has);
    }
    Judged::Waits(Reason::VolumeGrowing, has)
}

/// What a claim asks for.
fn asked(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    resources.requests.as_ref()?.get(STORAGE)
}

fn cut(text: &str) -> String {
    text.trim().chars().take(WORDS).collect()
}
