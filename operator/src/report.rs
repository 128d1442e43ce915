//! Events on the objects that people look at. Reasons come from a bounded set, and an event never fails a
//! reconcile: what must be known is in the status.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};

/// Name of the operator in events.
pub const CONTROLLER: &str = "vaultkeeper";

/// Why an event was made: every reason that the operator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A Vault was initialised and its keys are stored.
    Initialized,
    /// Keys of an initialisation were lost; the empty store is made anew.
    InitializationRepeated,
    /// A member was unsealed.
    Unsealed,
    /// A member was sealed on purpose and stays so.
    SealLatched,
    /// A person released a deliberate seal.
    SealReleased,
    /// The seal is changed to another kind, or that is taken back.
    SealMigrationBegun,
    /// The data is under another kind of seal.
    SealMigrated,
    /// Every member has started with the new seal alone.
    SealMigrationEnded,
    /// The first root token was revoked and proven dead.
    RootTokenRevoked,
    /// The custodians hold the unseal shares now.
    SharesHandedOver,
    /// A member waits for people with shares.
    AwaitingCustodians,
    /// Engines, auth methods and policies were brought to the declared state.
    Configured,
    /// Somebody changed an object in Vault that the spec declares.
    ConfigurationDrift,
    /// A rule for production is not met any more.
    ReadinessFell,
    /// A rule for production is met now, or waived.
    ReadinessMet,
    /// A certificate was issued.
    CertificateIssued,
    /// A member's pod was deleted, so that it comes back with the present template.
    MemberRestarted,
    /// The active member was made to give up its leadership.
    SteppedDown,
    /// A member was taken out of Raft.
    MemberRemoved,
    /// The StatefulSet has one member fewer.
    ScaledDown,
    /// The volume claim of a member that was taken out was deleted.
    VolumeCleared,
    /// Volume claims of members ask for more.
    VolumesGrown,
    /// A restarted member does not come back.
    RolloutStuck,
    /// A new CA is trusted beside the old one.
    CaReplacementBegun,
    /// The new CA signs.
    CaPromoted,
    /// The old CA is trusted no more.
    CaRetired,
    /// The members' volumes, or keys, were left where they are.
    Retained,
    /// A policy or role was written to Vault.
    IdentityWritten,
    /// A secret-id was made and stored.
    CredentialsIssued,
    /// Secret-ids that nobody holds any more were destroyed.
    CredentialsDestroyed,
    /// Tokens that were given to a role were revoked.
    TokensRevoked,
    /// Pods of a workload are restarted for a new secret-id.
    WorkloadRestarted,
    /// Pods of a workload cannot be restarted for a new secret-id.
    RestartFailed,
    /// What was granted before is refused now and was taken away.
    AccessWithdrawn,
    /// The spec is refused.
    Refused,
    /// Something could not be removed and was left behind.
    LeftBehind,
    /// A backup was stored.
    BackedUp,
    /// No backup could be made.
    BackupFailed,
    /// A backup was read back as a restore would.
    RestoreRehearsed,
    /// A backup could not be read back.
    RehearsalFailed,
    /// A step failed and will be tried again.
    Failed,
}

impl Reason {
    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::InitializationRepeated => "InitializationRepeated",
            Self::Unsealed => "Unsealed",
            Self::SealLatched => "SealLatched",
            Self::SealReleased => "SealReleased",
            Self::SealMigrationBegun => "SealMigrationBegun",
            Self::SealMigrated => "SealMigrated",
            Self::SealMigrationEnded => "SealMigrationEnded",
            Self::RootTokenRevoked => "RootTokenRevoked",
            Self::SharesHandedOver => "SharesHandedOver",
            Self::AwaitingCustodians => "AwaitingCustodians",
            Self::Configured => "Configured",
            Self::ConfigurationDrift => "ConfigurationDrift",
            Self::ReadinessFell => "ReadinessFell",
            Self::ReadinessMet => "ReadinessMet",
            Self::CertificateIssued => "CertificateIssued",
            Self::MemberRestarted => "MemberRestarted",
            Self::SteppedDown => "SteppedDown",
            Self::MemberRemoved => "MemberRemoved",
            Self::ScaledDown => "ScaledDown",
            Self::VolumeCleared => "VolumeCleared",
            Self::VolumesGrown => "VolumesGrown",
            Self::RolloutStuck => "RolloutStuck",
            Self::CaReplacementBegun => "CaReplacementBegun",
            Self::CaPromoted => "CaPromoted",
            Self::CaRetired => "CaRetired",
            Self::Retained => "Retained",
            Self::IdentityWritten => "IdentityWritten",
            Self::CredentialsIssued => "CredentialsIssued",
            Self::CredentialsDestroyed => "CredentialsDestroyed",
            Self::TokensRevoked => "TokensRevoked",
            Self::WorkloadRestarted => "WorkloadRestarted",
            Self::RestartFailed => "RestartFailed",
            Self::AccessWithdrawn => "AccessWithdrawn",
            Self::Refused => "Refused",
            Self::LeftBehind => "LeftBehind",
            Self::BackedUp => "BackedUp",
            Self::BackupFailed => "BackupFailed",
            Self::RestoreRehearsed => "RestoreRehearsed",
            Self::RehearsalFailed => "RehearsalFailed",
            Self::Failed => "Failed",
        }
    }

    fn severity(self) -> EventType {
        match self {
            Self::Initialized
            | Self::Unsealed
            | Self::SealReleased
            | Self::SealMigrationBegun
            | Self::SealMigrated
            | Self::SealMigrationEnded
            | Self::RootTokenRevoked
            | Self::SharesHandedOver
            | Self::Configured
            | Self::ReadinessMet
            | Self::CertificateIssued
            | Self::MemberRestarted
            | Self::SteppedDown
            | Self::MemberRemoved
            | Self::ScaledDown
            | Self::VolumeCleared
            | Self::VolumesGrown
            | Self::CaReplacementBegun
            | Self::CaPromoted
            | Self::CaRetired
            | Self::Retained
            | Self::IdentityWritten
            | Self::CredentialsIssued
            | Self::CredentialsDestroyed
            | Self::TokensRevoked
            | Self::BackedUp
            | Self::RestoreRehearsed
            | Self::WorkloadRestarted => EventType::Normal,
            Self::InitializationRepeated
            | Self::SealLatched
            | Self::AwaitingCustodians
            | Self::ConfigurationDrift
            | Self::ReadinessFell
            | Self::AccessWithdrawn
            | Self::BackupFailed
            | Self::RehearsalFailed
            | Self::RestartFailed
            | Self::RolloutStuck
            | Self::Refused
            | Self::LeftBehind
            | Self::Failed => EventType::Warning,
        }
    }
}

/// After so many events the ones before are forgotten: the recorder keeps each for minutes to count its repetitions, and looks
/// through all of them with every new one.
const REMEMBERED: usize = 256;

/// Publishes events. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    recorder: Arc<Mutex<(Recorder, usize)>>,
    client: Client,
    whose: kube::runtime::events::Reporter,
}

impl Reporter {
    /// A reporter in the name of this replica (its pod's name).
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = kube::runtime::events::Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(cut(instance, 128)),
        };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self {
            recorder: Arc::new(Mutex::new((recorder, 0))),
            client,
            whose: reporter,
        }
    }

    fn recorder(&self) -> Recorder {
        let mut kept = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.1 >= REMEMBERED {
            *kept = (Recorder::new(self.client.clone(), self.whose.clone()), 0);
        }
        kept.1 += 1;
        kept.0.clone()
    }

    /// Publishes an event about `object`. `subject` is the part of it that is meant (a member, a policy), or
    /// empty: events that differ in it are kept apart, others soon after are counted in one. `note` is
    /// for a person. Neither ever holds a secret.
    pub async fn publish(&self, object: &ObjectReference, reason: Reason, subject: &str, note: &str) {
        let action = if subject.is_empty() {
            reason.as_str().to_owned()
        } else {
            format!("{} {subject}", reason.as_str())
        };
        let event = Event {
            type_: reason.severity(),
            reason: reason.as_str().to_owned(),
            note: Some(cut(note, 1024)),
            action: cut(&action, 128),
            secondary: None,
        };
        if let Err(error) = self.recorder().publish(&event, object).await {
            tracing::warn!(%error, reason = reason.as_str(), "failed to publish an event");
        }
    }
}

/// At most `max` bytes of `text`: longer events are refused by the API server.
fn cut(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod witnessed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_to_what_the_api_server_takes() {
        assert_eq!(cut("abc", 10), "abc", "short texts stay");
        assert_eq!(cut("aä", 2), "a", "never inside a character");
        assert_eq!(cut(&"x".repeat(2000), 1024).len(), 1024, "the limit itself");
    }
}
