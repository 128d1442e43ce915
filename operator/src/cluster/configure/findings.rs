//! What a look at the configuration found, for the status and for events.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vaultkeeper_crds::cluster::ConfigurationStatus;

use super::Declaration;
use super::ledger::Applied;
use super::mode::Mode;
use super::object::Difference;
use crate::backoff;
use crate::cluster::error::Error;
use crate::context::Recent;
use crate::controllers::hash;
use crate::report::Reason;

/// How many differences a status or an event names.
const NAMED: usize = 5;
/// How often the configuration is read back.
const REPEAT: Duration = Duration::from_secs(60);

/// What a look at the configuration found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What is applied now.
    pub applied: Applied,
    /// What was left as it is though it differs from what was applied.
    pub left: Vec<String>,
    /// Why not everything that is declared is in place: a reason and a text for a person.
    pub problem: Option<(&'static str, String)>,
}

impl Findings {
    /// As an operator that was there before has left them.
    pub(crate) fn read(status: &ConfigurationStatus) -> Self {
        Self {
            applied: Applied::read(status),
            left: status.differences.clone(),
            problem: None,
        }
    }

    /// For the status.
    pub(crate) fn write(&self) -> ConfigurationStatus {
        self.applied.write(self.left.clone())
    }

    /// The same, with another problem.
    pub(crate) fn with_problem(self, reason: &'static str, text: String) -> Self {
        Self {
            problem: Some((reason, text)),
            ..self
        }
    }
}

/// What differs and was left.
pub(crate) fn left(differences: &[(Mode, Difference)]) -> Vec<String> {
    shortened(&of(differences, Mode::Report))
}

/// The first error; how many more there are stands behind it.
pub(crate) fn problem(errors: &[Error]) -> Option<(&'static str, String)> {
    let first = errors.first()?;
    let text = match errors.len() {
        1 => first.chain(),
        more => format!("{}; and {} more", first.chain(), more - 1),
    };
    Some((first.reason(), text))
}

/// The last look, kept until the next one.
#[derive(Debug)]
struct Known {
    /// Identifies what was looked at: the spec and the initialisation of Vault.
    print: u64,
    /// What was found.
    pub findings: Findings,
    /// Looks in a row with a problem.
    failures: u32,
    /// When to look again.
    next: Instant,
}

impl Known {
    /// After a look. A problem is looked at again after 1 s, 2 s, 4 s … 60 s, everything else after a minute.
    fn new(print: u64, findings: Findings, before: Option<&Self>, uid: &str, now: Instant) -> Self {
        let earlier = before
            .filter(|known| known.print == print)
            .map_or(0, |known| known.failures);
        let (failures, pause) = match &findings.problem {
            None => (0, REPEAT),
            Some(_) => (earlier.saturating_add(1), backoff::pause(earlier, uid)),
        };
        Self {
            print,
            findings,
            failures,
            next: now + pause,
        }
    }

    /// Whether it still stands for what is declared.
    fn is_fresh(&self, print: u64, now: Instant) -> bool {
        self.print == print && now < self.next
    }
}

/// What is remembered of the looks at what one VaultCluster declares.
pub(crate) struct Looks<'a> {
    recent: &'a Recent,
    uid: &'a str,
    key: String,
    print: u64,
    last: Option<Arc<Known>>,
}

impl<'a> Looks<'a> {
    /// `store` tells one Vault from another that holds nothing of it yet.
    pub(crate) fn recall(recent: &'a Recent, uid: &'a str, configuration: &impl Debug, store: &str) -> Self {
        let key = format!("{uid}/configure");
        Self {
            last: recent.kept::<Known>(&key),
            print: hash(&(format!("{configuration:?}"), store)),
            recent,
            uid,
            key,
        }
    }

    /// What was found last, by this operator or, as the status says, by one before it.
    pub(crate) fn findings(&self, applied: Option<&ConfigurationStatus>) -> Findings {
        match (&self.last, applied) {
            (Some(known), _) => known.findings.clone(),
            (None, Some(status)) => Findings::read(status),
            (None, None) => Findings::default(),
        }
    }

    /// Whether the last look still stands for what is declared.
    pub(crate) fn are_fresh(&self) -> bool {
        let is_fresh = |known: &Known| known.is_fresh(self.print, Instant::now());
        self.last.as_deref().is_some_and(is_fresh)
    }

    /// Remembers another look.
    pub(crate) fn keep(self, findings: Findings, looked: &Result<(), Error>) {
        let now = Instant::now();
        let mut next = Known::new(self.print, findings, self.last.as_deref(), self.uid, now);
        if looked.is_err() {
            // Of the session: the next pass looks again.
            next.next = now;
        }
        self.recent.keep(self.key, next);
    }
}

/// An event for each way in which differences were treated. The same differences within minutes are counted in one
/// event.
pub(crate) async fn publish(declaration: &Declaration<'_>, differences: &[(Mode, Difference)]) {
    for mode in [Mode::Apply, Mode::Enforce, Mode::Report] {
        let differences = of(differences, mode);
        // Events that differ in their subject are kept apart.
        let Some(subject) = differences.first().map(|d| d.field.as_str()) else {
            continue;
        };
        let (reason, note) = words(mode, &shortened(&differences).join("; "));
        let Declaration { ctx, reference, .. } = declaration;
        ctx.reporter.publish(reference, reason, subject, &note).await;
    }
}

fn words(mode: Mode, named: &str) -> (Reason, String) {
    match mode {
        Mode::Apply => (
            Reason::Configured,
            format!("the configuration is applied: {named}"),
        ),
        Mode::Enforce => (
            Reason::ConfigurationDrift,
            format!("changed in Vault by somebody else and put right: {named}"),
        ),
        Mode::Report | Mode::Off => (
            Reason::ConfigurationDrift,
            format!(
                "changed in Vault by somebody else and left, since spec.configuration.drift is Report: {named}"
            ),
        ),
    }
}

fn of(differences: &[(Mode, Difference)], mode: Mode) -> Vec<&Difference> {
    let of_mode = differences.iter().filter(|(m, _)| *m == mode);
    of_mode.map(|(_, difference)| difference).collect()
}

fn shortened(differences: &[&Difference]) -> Vec<String> {
    let mut texts: Vec<String> = differences.iter().take(NAMED).map(ToString::to_string).collect();
    if differences.len() > NAMED {
        texts.push(format!("and {} more", differences.len() - NAMED));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(count: usize, mode: Mode) -> Vec<(Mode, Difference)> {
        let one = |n| Difference {
            field: format!("spec.configuration.policies[{n}].hcl"),
            what: "policy".to_owned(),
            found: "a".to_owned(),
            wanted: "b".to_owned(),
        };
        (0..count).map(|n| (mode, one(n))).collect()
    }

    #[test]
    fn only_a_report_leaves_something() {
        assert_eq!(left(&differences(1, Mode::Report)).len(), 1);
        assert_eq!(left(&differences(1, Mode::Enforce)).len(), 0, "put right");
        assert_eq!(left(&differences(1, Mode::Apply)).len(), 0, "applied");
    }

    #[test]
    fn many_differences_are_counted() {
        let texts = left(&differences(12, Mode::Report));
        assert_eq!((texts.len(), texts[5].as_str()), (6, "and 7 more"));
    }

    #[test]
    fn a_problem_is_looked_at_again_less_and_less_often_and_a_change_of_the_spec_at_once() {
        let now = Instant::now();
        let bad = || Findings::default().with_problem("Bad", "x".to_owned());
        let mut known = Known::new(1, bad(), None, "uid", now);
        let mut pauses = vec![known.next - now];
        for _ in 0..9 {
            known = Known::new(1, bad(), Some(&known), "uid", now);
            pauses.push(known.next - now);
        }
        assert!(pauses[0] <= Duration::from_secs(1), "{pauses:?}");
        assert!(
            pauses[9] <= REPEAT && pauses[9] >= Duration::from_secs(40),
            "{pauses:?}"
        );
        assert!(known.is_fresh(1, now) && !known.is_fresh(2, now), "another spec");
        let other = Known::new(2, bad(), Some(&known), "uid", now);
        assert_eq!(other.failures, 1, "another spec begins anew");
        let well = Known::new(1, Findings::default(), Some(&known), "uid", now);
        assert_eq!((well.failures, well.next - now), (0, REPEAT));
    }
}
