//! What the status says of a roll-out. Pure.

use super::{Reason, Verdict};
use crate::conditions::Draft;
use crate::members::Member;

/// Type of the condition: every member runs the present pod template.
pub(crate) const ROLLED_OUT: &str = "RolledOut";

impl Reason {
    /// The word in the condition.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::Rolling => "Rolling",
            Self::TemplatePending => "TemplatePending",
            Self::WaitingForMember => "WaitingForMember",
            Self::WaitingForLeader => "WaitingForLeader",
            Self::WaitingForRaft => "WaitingForRaft",
            Self::Stuck => "Stuck",
            Self::Held => "Held",
            Self::NotSetUp => "NotSetUp",
            Self::NotApplied => "NotApplied",
            Self::DowngradeRefused => "DowngradeRefused",
            Self::DataInMemory => "DataInMemory",
        }
    }

    /// Whether what is waited for comes without a person, and mostly without an event in Kubernetes.
    pub(crate) fn goes_on_by_itself(self) -> bool {
        match self {
            Self::Rolling
            | Self::TemplatePending
            | Self::WaitingForMember
            | Self::WaitingForLeader
            | Self::WaitingForRaft => true,
            Self::UpToDate
            | Self::Stuck
            | Self::Held
            | Self::NotSetUp
            | Self::NotApplied
            | Self::DowngradeRefused
            | Self::DataInMemory => false,
        }
    }
}

impl Verdict {
    /// Whether what it waits for comes without a person, and mostly without an event in Kubernetes.
    pub(crate) fn goes_on_by_itself(&self) -> bool {
        self.reason.goes_on_by_itself()
    }

    /// Whether every member runs the present template and serves.
    pub(crate) fn is_over(&self) -> bool {
        self.reason == Reason::UpToDate
    }

    /// Whether a member's pod is made from the present template. None: there is no pod, or the template is not known.
    pub(crate) fn is_current(&self, member: &Member) -> Option<bool> {
        let outdated = self.outdated.as_ref()?;
        member.revision.as_ref().map(|_| !outdated.contains(&member.name))
    }
}

/// Sets the condition.
pub(crate) fn tell(draft: &mut Draft, verdict: &Verdict) {
    // A roll-out ends when the last member serves. What happens to members after that is none of its business, nor what
    // fails later while the same spec is applied again.
    let is_new = draft.is_outdated(ROLLED_OUT);
    let is_unapplied = matches!(verdict.reason, Reason::NotApplied | Reason::DowngradeRefused);
    let is_over = draft.is_true(ROLLED_OUT)
        && verdict.outdated.as_ref().is_some_and(Vec::is_empty)
        && !(is_new && is_unapplied);
    let (holds, reason, message) = if is_over {
        let message = "every member runs the present pod template";
        (true, Reason::UpToDate, message)
    } else {
        (
            verdict.reason == Reason::UpToDate,
            verdict.reason,
            verdict.message.as_str(),
        )
    };
    draft.set(ROLLED_OUT, holds, reason.as_str(), message);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::conditions;

    fn verdict(reason: Reason, outdated: &[&str]) -> Verdict {
        Verdict {
            act: None,
            reason,
            message: "words".to_owned(),
            outdated: Some(outdated.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    fn after(list: &mut Vec<Condition>, verdict: &Verdict) -> (String, String) {
        after_edit(list, verdict, 1)
    }

    fn after_edit(list: &mut Vec<Condition>, verdict: &Verdict, generation: i64) -> (String, String) {
        let mut draft = Draft::new(std::mem::take(list), Some(generation), Timestamp::UNIX_EPOCH);
        tell(&mut draft, verdict);
        *list = draft.finish();
        let condition = conditions::get(list, ROLLED_OUT).unwrap();
        (condition.status.clone(), condition.reason.clone())
    }

    #[test]
    fn a_new_spec_that_is_not_applied_is_not_rolled_out_and_a_later_failure_of_the_same_is_none() {
        let word = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
        let mut list = Vec::new();
        let done = verdict(Reason::UpToDate, &[]);
        assert_eq!(after_edit(&mut list, &done, 1), word("True", "UpToDate"));
        for (generation, reason) in [(2, Reason::NotApplied), (3, Reason::DowngradeRefused)] {
            let refused = verdict(reason, &[]);
            for _ in 0..2 {
                assert_eq!(
                    after_edit(&mut list, &refused, generation),
                    word("False", reason.as_str()),
                    "who waits for it must not be told that it runs"
                );
            }
        }
        assert_eq!(after_edit(&mut list, &done, 4), word("True", "UpToDate"));
        let interrupted = verdict(Reason::NotApplied, &[]);
        assert_eq!(
            after_edit(&mut list, &interrupted, 4),
            word("True", "UpToDate"),
            "the API server was away for a moment"
        );
    }

    #[test]
    fn a_roll_out_ends_when_the_last_member_serves_and_a_later_crash_is_none() {
        let word = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
        let mut list = Vec::new();
        let away = verdict(Reason::WaitingForMember, &[]);
        assert_eq!(
            after(&mut list, &away),
            word("False", "WaitingForMember"),
            "the last one is not back yet"
        );
        let done = verdict(Reason::UpToDate, &[]);
        assert_eq!(after(&mut list, &done), word("True", "UpToDate"));
        assert_eq!(
            after(&mut list, &away),
            word("True", "UpToDate"),
            "a member has crashed"
        );
        let next = verdict(Reason::WaitingForMember, &["main-1"]);
        assert_eq!(
            after(&mut list, &next),
            word("False", "WaitingForMember"),
            "there is another template"
        );
    }
}
