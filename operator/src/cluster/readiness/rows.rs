//! From verdicts to what the status shows: waivers, verdicts that are held for a while, the score, and what changed.
//! Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessRuleStatus, ReadinessState, ReadinessWaiver};

use super::{HOLD, Verdict, grace, whole};
use crate::conditions::Status;

/// Builds one row per verdict. `before` is what the status shows now; `lasting` says for how long a rule has had this
/// kind of verdict at every look.
pub(crate) fn rows(
    verdicts: Vec<(ReadinessRule, Verdict)>,
    before: &[ReadinessRuleStatus],
    waivers: &[ReadinessWaiver],
    lasting: impl Fn(ReadinessRule, ReadinessState) -> Duration,
    now: Timestamp,
) -> Vec<ReadinessRuleStatus> {
    let row = |(rule, verdict): (ReadinessRule, Verdict)| {
        let before = before.iter().find(|row| row.rule == rule);
        let kind = kind(&verdict);
        let (state, message) = match waivers.iter().find(|w| w.rule == rule) {
            Some(waiver) => (ReadinessState::Waived, waived(&waiver.reason, &verdict)),
            None => settled(rule, verdict, before, lasting(rule, kind)),
        };
        let since = before
            .filter(|row| row.state == state)
            .and_then(|row| row.since.clone());
        ReadinessRuleStatus {
            rule,
            state,
            since: since.or_else(|| Some(Time(whole(now)))),
            message,
        }
    };
    verdicts.into_iter().map(row).collect()
}

/// The state that a verdict means by itself.
pub(super) fn kind(verdict: &Verdict) -> ReadinessState {
    match verdict {
        Verdict::Met(_) => ReadinessState::Met,
        Verdict::Failed(_) => ReadinessState::Failed,
        Verdict::Unknown(_) => ReadinessState::Unknown,
    }
}

fn waived(reason: &str, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Met(_) => format!("waived ({reason}), though it is met at present"),
        Verdict::Failed(text) => format!("waived: {reason}. Otherwise: {text}"),
        Verdict::Unknown(_) => format!("waived: {reason}"),
    }
}

/// One look that failed changes nothing, nor does a failure that passes within its grace.
fn settled(
    rule: ReadinessRule,
    verdict: Verdict,
    before: Option<&ReadinessRuleStatus>,
    lasting: Duration,
) -> (ReadinessState, String) {
    let state = kind(&verdict);
    let kept = before.filter(|row| match (state, row.state) {
        (ReadinessState::Unknown, ReadinessState::Met | ReadinessState::Failed) => lasting < HOLD,
        (ReadinessState::Failed, ReadinessState::Met) => lasting < grace(rule),
        _ => false,
    });
    let (Verdict::Met(text) | Verdict::Failed(text) | Verdict::Unknown(text)) = verdict;
    match kept {
        Some(row) => (row.state, row.message.clone()),
        None => (state, text),
    }
}

/// Whether a rule counts.
fn counts(state: ReadinessState) -> bool {
    matches!(state, ReadinessState::Met | ReadinessState::Waived)
}

/// For example `7/10`.
pub(crate) fn score(rows: &[ReadinessRuleStatus]) -> String {
    let counted = rows.iter().filter(|row| counts(row.state)).count();
    format!("{counted}/{}", rows.len())
}

/// The rules that do not count, by name; none when all do.
pub(crate) fn unmet(rows: &[ReadinessRuleStatus]) -> Option<String> {
    let names: Vec<&str> = unmet_rows(rows).map(|row| row.rule.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn unmet_rows(rows: &[ReadinessRuleStatus]) -> impl Iterator<Item = &ReadinessRuleStatus> {
    rows.iter().filter(|row| !counts(row.state))
}

/// The condition ProductionReady: status, reason, message.
pub(crate) fn condition(rows: &[ReadinessRuleStatus]) -> (Status, &'static str, String) {
    let score = score(rows);
    let said: Vec<String> = unmet_rows(rows)
        .map(|row| format!("{}: {}", row.rule.as_str(), row.message))
        .collect();
    if said.is_empty() {
        return (
            Status::True,
            "AllRulesMet",
            format!("{score} rules for production are met or waived"),
        );
    }
    let (status, reason) = if rows.iter().any(|row| row.state == ReadinessState::Failed) {
        (Status::False, "RulesFailed")
    } else {
        (Status::Unknown, "RulesUnknown")
    };
    (status, reason, format!("{score}. {}", said.join(". ")))
}

/// A rule that fell, or counts again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The rule.
    pub rule: ReadinessRule,
    /// Whether it counts now.
    pub met: bool,
    /// For a person.
    pub note: String,
}

/// What is different in a way that moves the score. A rule that was never judged before makes no change.
pub(crate) fn changes(before: &[ReadinessRuleStatus], after: &[ReadinessRuleStatus]) -> Vec<Change> {
    let score = score(after);
    let change = |row: &ReadinessRuleStatus| {
        let old = before.iter().find(|old| old.rule == row.rule)?;
        let word = match (counts(old.state), counts(row.state), row.state) {
            (true, false, ReadinessState::Unknown) => "is not known any more:",
            (true, false, _) => "is not met any more:",
            // Its message begins with that word.
            (false, true, ReadinessState::Waived) => "is",
            (false, true, _) => "is met:",
            _ => return None,
        };
        let rule = row.rule.as_str();
        Some(Change {
            rule: row.rule,
            met: counts(row.state),
            note: format!("readiness {score}: {rule} {word} {}", row.message),
        })
    };
    after.iter().filter_map(change).collect()
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
