//! What a contender does about a Lease. Pure: time is a parameter.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

/// The next step of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no Lease: create it.
    Create,
    /// Nobody holds it, or its holder has been silent for too long: take it.
    Take,
    /// It is held under our own name. A process of that name that is not this one is dead: the name is that of
    /// our pod, and the kubelet starts a container anew only when it has ended. So we go on where it stopped.
    Resume,
    /// Another one holds it.
    Wait,
}

/// Decides by the Lease as last read, and by how long it has been seen unchanged on our own clock. The times
/// inside the Lease are those of another machine's clock and are not judged.
pub fn decide(lease: Option<&Lease>, unchanged_for: Duration, identity: &str) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let Some(spec) = &lease.spec else {
        return Step::Take;
    };
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Resume,
        Some(_) if unchanged_for >= duration_of(spec) => Step::Take,
        Some(_) => Step::Wait,
    }
}

/// Who holds the Lease.
pub fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

fn duration_of(spec: &LeaseSpec) -> Duration {
    Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0))
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}

/// A new Lease held by `identity`.
pub fn created(name: &str, identity: &str, duration: Duration, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: Some(seconds(duration)),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }),
    }
}

/// `lease` in the hands of `identity`, renewed at `now`. Keeps the resourceVersion, so that the API server
/// refuses it if somebody else was faster.
pub fn held(mut lease: Lease, identity: &str, duration: Duration, now: Timestamp) -> Lease {
    let changed_hands = holder(&lease) != Some(identity);
    let spec = lease.spec.get_or_insert_default();
    if changed_hands {
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = Some(seconds(duration));
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// `lease` in nobody's hands, for a successor to take at once.
pub fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(now));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(15);

    fn lease_of(identity: &str) -> Lease {
        created("lease", identity, TTL, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_lease_that_is_not_there_is_created() {
        assert_eq!(decide(None, Duration::ZERO, "a"), Step::Create);
    }

    #[test]
    fn another_holder_is_waited_for_until_it_was_silent_for_the_whole_duration() {
        let lease = lease_of("b");
        assert_eq!(
            decide(Some(&lease), Duration::from_millis(14_999), "a"),
            Step::Wait,
            "still in time"
        );
        assert_eq!(decide(Some(&lease), TTL, "a"), Step::Take, "silent for 15 s");
    }

    #[test]
    fn the_clock_of_the_holder_is_not_judged() {
        let old = created("lease", "b", TTL, Timestamp::from_second(-1_000_000).unwrap());
        assert_eq!(
            decide(Some(&old), Duration::ZERO, "a"),
            Step::Wait,
            "an old renewTime may be a slow clock"
        );
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let lease = released(lease_of("b"), Timestamp::UNIX_EPOCH);
        assert_eq!(decide(Some(&lease), Duration::ZERO, "a"), Step::Take);
        assert_eq!(holder(&lease), None, "nobody holds it");
    }

    #[test]
    fn a_lease_under_our_own_name_is_resumed_without_a_transition() {
        let lease = lease_of("a");
        assert_eq!(decide(Some(&lease), Duration::ZERO, "a"), Step::Resume);
        let again = held(lease, "a", TTL, Timestamp::UNIX_EPOCH);
        assert_eq!(
            again.spec.unwrap().lease_transitions,
            Some(0),
            "it did not change hands"
        );
    }

    #[test]
    fn taking_counts_a_transition_and_keeps_the_resource_version() {
        let mut lease = lease_of("b");
        lease.metadata.resource_version = Some("7".to_owned());
        let taken = held(lease, "a", TTL, Timestamp::from_second(5).unwrap());
        assert_eq!(
            taken.metadata.resource_version.as_deref(),
            Some("7"),
            "or two could take it"
        );
        let spec = taken.spec.unwrap();
        assert_eq!(spec.lease_transitions, Some(1), "it changed hands");
        assert_eq!(
            spec.acquire_time,
            Some(MicroTime(Timestamp::from_second(5).unwrap()))
        );
    }
}
