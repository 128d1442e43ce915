//! Tests of what the status shows of verdicts.

use super::*;

use ReadinessState::{Failed, Met, Unknown, Waived};

const RULE: ReadinessRule = ReadinessRule::Audit;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn row(state: ReadinessState, message: &str) -> ReadinessRuleStatus {
    ReadinessRuleStatus {
        rule: RULE,
        state,
        since: Some(Time(at(100))),
        message: message.to_owned(),
    }
}

/// One rule's row, after so many seconds with this kind of verdict.
fn next(
    verdict: Verdict,
    before: Option<&ReadinessRuleStatus>,
    waivers: &[ReadinessWaiver],
    seconds: u64,
) -> ReadinessRuleStatus {
    next_of(RULE, verdict, before, waivers, seconds)
}

fn next_of(
    rule: ReadinessRule,
    verdict: Verdict,
    before: Option<&ReadinessRuleStatus>,
    waivers: &[ReadinessWaiver],
    seconds: u64,
) -> ReadinessRuleStatus {
    let before: Vec<_> = before.into_iter().cloned().collect();
    let lasting = |_, _| Duration::from_secs(seconds);
    rows(vec![(rule, verdict)], &before, waivers, lasting, at(500)).remove(0)
}

fn met() -> Verdict {
    Verdict::Met("fine".to_owned())
}

fn failed() -> Verdict {
    Verdict::Failed("gone".to_owned())
}

fn unknown() -> Verdict {
    Verdict::Unknown("denied".to_owned())
}

fn waiver() -> ReadinessWaiver {
    ReadinessWaiver {
        rule: RULE,
        reason: "OPS-12".to_owned(),
    }
}

#[test]
fn a_failed_look_keeps_the_verdict_for_ten_minutes_and_no_longer() {
    for before in [
        row(ReadinessState::Met, "fine"),
        row(ReadinessState::Failed, "gone"),
    ] {
        assert_eq!(
            next(unknown(), Some(&before), &[], 599),
            before,
            "as if nothing had happened"
        );
        let later = next(unknown(), Some(&before), &[], 600);
        assert_eq!(
            (later.state, later.message.as_str(), later.since),
            (ReadinessState::Unknown, "denied", Some(Time(at(500)))),
            "ten minutes without a look"
        );
    }
    let first = next(unknown(), None, &[], 0);
    assert_eq!(first.state, ReadinessState::Unknown, "never looked at");
}

#[test]
fn a_failure_counts_at_once_but_for_members_that_may_be_rolled() {
    let before = row(ReadinessState::Met, "fine");
    assert_eq!(
        next(failed(), Some(&before), &[], 0).state,
        ReadinessState::Failed,
        "an audit device is not away by chance"
    );
    let mut before = before;
    before.rule = ReadinessRule::HighAvailability;
    let of = |before: Option<&ReadinessRuleStatus>, seconds| {
        next_of(ReadinessRule::HighAvailability, failed(), before, &[], seconds).state
    };
    assert_eq!(of(Some(&before), 119), ReadinessState::Met, "a member restarts");
    assert_eq!(of(Some(&before), 120), ReadinessState::Failed, "it stays away");
    assert_eq!(of(None, 0), ReadinessState::Failed, "there was nothing to keep");
}

#[test]
fn the_time_moves_only_with_the_state() {
    let before = row(ReadinessState::Met, "fine");
    assert_eq!(
        next(met(), Some(&before), &[], 9),
        before,
        "an equal row, or it is written for ever"
    );
    let after = next(failed(), Some(&before), &[], 9);
    assert_eq!(after.since, Some(Time(at(500))));
}

#[test]
fn a_waived_rule_shows_its_reason_and_what_is_waived() {
    let waived = next(failed(), None, &[waiver()], 0);
    assert_eq!(
        (waived.state, waived.message.as_str()),
        (ReadinessState::Waived, "waived: OPS-12. Otherwise: gone")
    );
    let needless = next(met(), None, &[waiver()], 0);
    assert_eq!(needless.state, ReadinessState::Waived);
    assert!(
        needless.message.contains("OPS-12") && needless.message.contains("met at present"),
        "{needless:?}"
    );
    let mut other = waiver();
    other.rule = ReadinessRule::Mfa;
    assert_eq!(
        next(failed(), None, &[other], 0).state,
        ReadinessState::Failed,
        "a waiver of another rule"
    );
    let gone = next(unknown(), Some(&waived), &[], 0);
    assert_eq!(
        gone.state,
        ReadinessState::Unknown,
        "a waiver that was taken back leaves no verdict"
    );
}

#[test]
fn the_score_counts_met_and_waived_rules_and_names_the_others() {
    let states = [
        (ReadinessRule::Audit, ReadinessState::Met),
        (ReadinessRule::Backups, ReadinessState::Waived),
        (ReadinessRule::Mfa, ReadinessState::Failed),
        (ReadinessRule::Rotation, ReadinessState::Unknown),
    ];
    let mut rows: Vec<_> = states
        .map(|(rule, state)| ReadinessRuleStatus {
            rule,
            ..row(state, "words")
        })
        .into();
    assert_eq!(score(&rows), "2/4");
    assert_eq!(unmet(&rows).as_deref(), Some("MFA, Rotation"));
    assert_eq!(
        condition(&rows),
        (
            Status::False,
            "RulesFailed",
            "2/4. MFA: words. Rotation: words".to_owned()
        )
    );
    rows.remove(2);
    assert_eq!(
        condition(&rows).0,
        Status::Unknown,
        "nothing is known to be wrong, and not all is known"
    );
    rows.remove(2);
    let (status, reason, _) = condition(&rows);
    assert_eq!(
        (status, reason, unmet(&rows)),
        (Status::True, "AllRulesMet", None)
    );
}

#[test]
fn what_moves_the_score_is_told_once_and_what_was_never_judged_is_not() {
    let waived = vec![row(Waived, "waived: OPS-12")];
    let row = |state| vec![row(state, "words")];
    let change = |before: Vec<_>, after: Vec<_>| {
        let changes = changes(&before, &after);
        changes.into_iter().next().map(|c| (c.met, c.note))
    };
    let told = |before, after| change(row(before), row(after));
    assert_eq!(
        told(Met, Failed),
        Some((
            false,
            "readiness 0/1: Audit is not met any more: words".to_owned()
        ))
    );
    assert_eq!(
        told(Failed, Met),
        Some((true, "readiness 1/1: Audit is met: words".to_owned()))
    );
    assert_eq!(
        change(row(Failed), waived),
        Some((true, "readiness 1/1: Audit is waived: OPS-12".to_owned()))
    );
    assert!(told(Met, Unknown).is_some_and(|(met, note)| !met && note.contains("not known any more")));
    for (before, after) in [(Met, Met), (Failed, Failed), (Failed, Unknown), (Met, Waived)] {
        assert_eq!(
            told(before, after),
            None,
            "{before:?} and {after:?} count the same"
        );
    }
    assert_eq!(change(Vec::new(), row(Failed)), None, "judged for the first time");
}
