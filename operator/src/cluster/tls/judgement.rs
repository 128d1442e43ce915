//! What the status says of the members' certificate. Pure.

use k8s_openapi::jiff::Timestamp;

use super::certificate::Facts;
use super::rollover::{Phase, Step};
use crate::conditions::Status;
use crate::members::Member;

/// The type of the condition that says whether every member shows the certificate that it is to show.
pub const CURRENT: &str = "CertificateCurrent";
/// The type of the condition that is there while two CAs are trusted.
pub const ROLLOVER: &str = "CaRollover";

/// A condition's content.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it holds.
    pub status: Status,
    /// Out of a closed list.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

fn judgement(status: Status, reason: &'static str, message: String) -> Judgement {
    Judgement {
        status,
        reason,
        message,
    }
}

/// Members that run and show another certificate than this one, with the serial that they show.
pub fn outdated<'a>(
    members: &'a [Member],
    wanted: &'a Facts,
) -> impl Iterator<Item = (&'a Member, &'a Facts)> {
    members.iter().filter_map(|member| {
        let shown = member.certificate.as_ref()?;
        (shown.der != wanted.der).then_some((member, shown))
    })
}

/// Everybody who does not show this certificate, members that cannot be asked included.
pub fn behind(members: &[Member], wanted: &Facts) -> Vec<String> {
    members
        .iter()
        .filter(|member| {
            member
                .certificate
                .as_ref()
                .is_none_or(|shown| shown.der != wanted.der)
        })
        .map(|member| member.name.clone())
        .collect()
}

/// Judges what the members show. `problem`: what is wrong with the stored certificate, with its reason.
pub fn current(
    members: &[Member],
    wanted: Option<&Facts>,
    problem: Option<(&'static str, String)>,
    now: Timestamp,
) -> Judgement {
    let expired: Vec<String> = members
        .iter()
        .filter_map(|member| {
            let shown = member.certificate.as_ref()?;
            (shown.not_after <= now).then(|| format!("{} (since {})", member.name, shown.not_after))
        })
        .collect();
    // Whatever is stored: clients are turned away now.
    if !expired.is_empty() {
        let why = problem.map_or_else(
            || "a good one is stored and reaches them within two minutes. If not, see the log of their container `reload`".to_owned(),
            |(_, message)| message,
        );
        return judgement(
            Status::False,
            "Expired",
            format!(
                "an expired certificate is shown by {}: no client accepts it; {why}",
                expired.join(", ")
            ),
        );
    }
    if let Some((reason, message)) = problem {
        return judgement(Status::False, reason, message);
    }
    let Some(wanted) = wanted else {
        return judgement(
            Status::Unknown,
            "NotIssued",
            "there is no certificate yet".to_owned(),
        );
    };
    let old: Vec<String> = outdated(members, wanted)
        .map(|(member, shown)| format!("{} (serial {})", member.name, shown.serial))
        .collect();
    if !old.is_empty() {
        return judgement(
            Status::False,
            "MembersShowOld",
            format!(
                "the certificate with serial {} is not yet shown by {}. The kubelet brings it within two minutes; if it takes longer, see the log of the container `reload` of that pod",
                wanted.serial,
                old.join(", ")
            ),
        );
    }
    let asked = members.iter().filter(|m| m.certificate.is_some()).count();
    if asked == 0 {
        return judgement(
            Status::Unknown,
            "NotObserved",
            "no member shows a certificate at present".to_owned(),
        );
    }
    judgement(
        Status::True,
        "AllShowIt",
        format!(
            "{asked} of {} members can be asked, and show the certificate with serial {}, good until {}",
            members.len(),
            wanted.serial,
            wanted.not_after
        ),
    )
}

/// Reason, what is so, and what comes then.
fn words(phase: Phase) -> Option<(&'static str, &'static str, &'static str)> {
    match phase {
        Phase::AtRest => None,
        Phase::Distributing => Some((
            "Distributing",
            "the old and the new CA are trusted, the old one signs",
            "the new one signs",
        )),
        Phase::Retiring => Some((
            "Retiring",
            "the new CA signs, the old one is trusted still",
            "the old one is dropped",
        )),
    }
}

/// The condition while two CAs are trusted and something keeps the operator from going on.
pub fn interrupted(phase: Phase) -> Option<Judgement> {
    let (reason, begun, then) = words(phase)?;
    let message = format!(
        "{begun}; {then} when what the conditions Configured and CertificateCurrent tell is put right"
    );
    Some(judgement(Status::True, reason, message))
}

/// The condition while two CAs are trusted.
pub fn rollover(phase: Phase, step: &Step, behind: &[String]) -> Option<Judgement> {
    let (reason, begun, then) = words(phase)?;
    let next = match step {
        Step::AwaitThem => format!(
            "before {then}, these must have taken over what is stored: {}",
            behind.join(", ")
        ),
        Step::AwaitTime(end) => format!("{then} from {end} on (spec.tls.managed.caOverlap)"),
        Step::Rest | Step::Begin(_) | Step::Note | Step::Promote | Step::Finish => format!("{then} soon"),
    };
    Some(judgement(Status::True, reason, format!("{begun}; {next}")))
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::{tests::cluster, validate};
    use super::super::certificate::examine;
    use super::super::{new_ca, new_leaf};
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn facts() -> Facts {
        let v = validate(&cluster("")).unwrap();
        let ca = new_ca("vault", "main", NOW).unwrap();
        examine(&new_leaf(&ca, &v, NOW).unwrap().certificate).unwrap()
    }

    fn member(name: &str, shown: Option<&Facts>) -> Member {
        Member {
            name: name.to_owned(),
            certificate: shown.cloned(),
            ..Member::default()
        }
    }

    #[test]
    fn members_with_the_old_certificate_are_named_with_its_serial() {
        let (new, old) = (facts(), facts());
        let members = [member("main-0", Some(&new)), member("main-1", Some(&old))];
        let judged = current(&members, Some(&new), None, NOW);
        assert_eq!((judged.status, judged.reason), (Status::False, "MembersShowOld"));
        assert!(
            judged
                .message
                .contains(&format!("main-1 (serial {})", old.serial)),
            "{}",
            judged.message
        );
        assert!(!judged.message.contains("main-0"), "{}", judged.message);
    }

    #[test]
    fn all_is_well_when_everybody_who_can_be_asked_shows_it() {
        let new = facts();
        let members = [member("main-0", Some(&new)), member("main-1", None)];
        let judged = current(&members, Some(&new), None, NOW);
        assert_eq!((judged.status, judged.reason), (Status::True, "AllShowIt"));
        assert!(judged.message.contains("1 of 2"), "{}", judged.message);
        assert_eq!(
            behind(&members, &new),
            ["main-1"],
            "but it is not known to have it"
        );
    }

    #[test]
    fn an_expired_certificate_is_told_before_anything_else() {
        let mut over = facts();
        over.not_after = NOW;
        let members = [member("main-0", Some(&over))];
        let broken = || Some(("CertificateUnusable", "Secret x holds nothing".to_owned()));
        for (wanted, problem) in [(Some(&over), None), (None, broken())] {
            let judged = current(&members, wanted, problem, NOW);
            assert_eq!((judged.status, judged.reason), (Status::False, "Expired"));
            assert!(judged.message.contains("main-0"), "{}", judged.message);
        }
    }

    #[test]
    fn without_members_or_certificate_nothing_is_known() {
        let new = facts();
        assert_eq!(current(&[], Some(&new), None, NOW).reason, "NotObserved");
        assert_eq!(current(&[], None, None, NOW).status, Status::Unknown);
    }

    #[test]
    fn a_rollover_that_cannot_go_on_is_not_over() {
        assert_eq!(interrupted(Phase::AtRest), None);
        for (phase, reason) in [
            (Phase::Distributing, "Distributing"),
            (Phase::Retiring, "Retiring"),
        ] {
            let told = interrupted(phase).unwrap();
            assert_eq!((told.status, told.reason), (Status::True, reason));
            assert!(told.message.contains("Configured"), "{}", told.message);
        }
    }

    #[test]
    fn a_rollover_says_what_it_waits_for() {
        assert_eq!(rollover(Phase::AtRest, &Step::Rest, &[]), None);
        let waits = rollover(Phase::Distributing, &Step::AwaitThem, &["main-2".to_owned()]).unwrap();
        assert!(waits.message.contains("main-2"), "{}", waits.message);
        let waits = rollover(Phase::Retiring, &Step::AwaitTime(NOW), &[]).unwrap();
        assert!(waits.message.contains("caOverlap"), "{}", waits.message);
    }
}
