//! What a look at the configuration found, for the status and for events.

use super::mode::Mode;
use super::object::Difference;
use crate::cluster::execute::Scope;
use crate::report::Reason;

/// How many differences a status or an event names.
const NAMED: usize = 5;

/// What a look at the configuration found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Identifies what is applied now.
    pub applied: String,
    /// What was left as it is though it differs from what was applied. None: it is not looked at.
    pub left: Option<Vec<String>>,
}

impl Findings {
    /// Of a look that ended well.
    pub(crate) fn new(mode: Mode, applied: String, differences: &[Difference]) -> Self {
        let left = match mode {
            Mode::Report => Some(shortened(differences)),
            Mode::Apply | Mode::Enforce => Some(Vec::new()),
            Mode::Off => None,
        };
        Self { applied, left }
    }
}

/// An event that names what differed. The same differences within minutes are counted in one event.
pub(crate) async fn publish(scope: &Scope<'_>, mode: Mode, differences: &[Difference]) {
    if differences.is_empty() {
        return;
    }
    let named = shortened(differences).join("; ");
    let (reason, note) = match mode {
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
    };
    // Events that differ in their subject are kept apart.
    let subject = differences.first().map(|d| d.field.as_str()).unwrap_or_default();
    scope.event(reason, subject, &note).await;
}

fn shortened(differences: &[Difference]) -> Vec<String> {
    let mut texts: Vec<String> = differences.iter().take(NAMED).map(ToString::to_string).collect();
    if differences.len() > NAMED {
        texts.push(format!("and {} more", differences.len() - NAMED));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(count: usize) -> Vec<Difference> {
        let one = |n| Difference {
            field: format!("spec.configuration.policies[{n}].hcl"),
            what: "policy".to_owned(),
            found: "a".to_owned(),
            wanted: "b".to_owned(),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn only_a_report_leaves_something_and_off_says_nothing() {
        let left = |mode| Findings::new(mode, "x".to_owned(), &differences(1)).left;
        assert_eq!(left(Mode::Report).unwrap().len(), 1);
        assert_eq!(left(Mode::Enforce).unwrap().len(), 0, "put right");
        assert_eq!(left(Mode::Off), None);
    }

    #[test]
    fn many_differences_are_counted() {
        let texts = shortened(&differences(12));
        assert_eq!((texts.len(), texts[5].as_str()), (6, "and 7 more"));
    }
}
