//! What was applied of a configuration, object by object, and what is to be done about each. Pure.

use std::collections::BTreeSet;

use vaultkeeper_crds::cluster::ConfigurationStatus;
use vaultkeeper_crds::cluster::configuration::Drift;

use super::mode::Mode;

/// Parts of a configuration, in which objects lie.
pub(crate) const SECTIONS: [&str; 7] = [
    "audit",
    "namespaces",
    "secretsEngines",
    "authMethods",
    "passwordPolicies",
    "policies",
    "mfa",
];

/// More fields than that are told, and remembered, by their sections.
const MOST_PENDING: usize = 50;

/// What was applied, as the status keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Identifies the configuration that was applied last.
    pub fingerprint: Option<String>,
    /// What of it could not be applied: fields below `spec.configuration`, or whole sections.
    pub pending: BTreeSet<String>,
    /// Secrets that were written: see [`super::object::Wanted::print_of_secrets`].
    pub secrets: BTreeSet<String>,
}

impl Applied {
    /// As an operator that was there before has left it.
    pub(crate) fn read(status: &ConfigurationStatus) -> Self {
        let ConfigurationStatus {
            applied,
            pending,
            secrets_written,
            differences: _,
        } = status;
        let secrets = secrets_written.as_deref().unwrap_or_default();
        Self {
            fingerprint: applied.clone(),
            pending: pending.iter().cloned().collect(),
            secrets: secrets.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// For the status.
    pub(crate) fn write(&self, differences: Vec<String>) -> ConfigurationStatus {
        let Self {
            fingerprint,
            pending,
            secrets,
        } = self;
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        ConfigurationStatus {
            applied: fingerprint.clone(),
            pending: pending.iter().cloned().collect(),
            secrets_written: (!secrets.is_empty()).then(|| secrets.join(" ")),
            differences,
        }
    }
}

/// The book of one look at a configuration. An object that failed is applied again at the next look, and only that
/// one: the others are treated as `drift` says.
#[derive(Debug)]
pub(crate) struct Ledger {
    drift: Drift,
    fingerprint: String,
    before: Applied,
    failed: BTreeSet<String>,
    finished: BTreeSet<&'static str>,
    kept: BTreeSet<String>,
}

impl Ledger {
    /// Begins. A configuration other than the one that was applied is pending as a whole.
    pub(crate) fn new(drift: Drift, mut before: Applied, fingerprint: String) -> Self {
        if before.fingerprint.as_deref() != Some(&fingerprint) {
            before.pending = SECTIONS.map(str::to_owned).into();
        }
        Self {
            drift,
            fingerprint,
            before,
            failed: BTreeSet::new(),
            finished: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// What is done about the object of a field of the spec.
    pub(crate) fn mode(&self, field: &str) -> Mode {
        let field = below(field);
        if self.before.pending.iter().any(|pending| covers(pending, field)) {
            Mode::Apply
        } else {
            Mode::of(self.drift)
        }
    }

    /// Whether anything of a section is looked at.
    pub(crate) fn looks_at(&self, section: &str) -> bool {
        let is_in = |pending: &String| section_of(pending) == section;
        Mode::of(self.drift) != Mode::Off || self.before.pending.iter().any(is_in)
    }

    /// Whether anything at all is looked at.
    pub(crate) fn looks(&self) -> bool {
        SECTIONS.iter().any(|section| self.looks_at(section))
    }

    /// Whether these secrets were not written yet.
    pub(crate) fn is_new(&self, print: Option<&str>) -> bool {
        print.is_some_and(|print| !self.before.secrets.contains(print))
    }

    /// An object that is declared has these secrets, which may have been written before.
    pub(crate) fn declares(&mut self, print: Option<&str>) {
        if let Some(print) = print.filter(|print| self.before.secrets.contains(*print)) {
            self.kept.insert(print.to_owned());
        }
    }

    /// These secrets are written.
    pub(crate) fn wrote(&mut self, print: Option<&str>) {
        self.kept.extend(print.map(str::to_owned));
    }

    /// An object could not be brought to what is declared. One that was applied before stays applied: what somebody
    /// else does to it is drift, also when it could not be put right.
    pub(crate) fn failed(&mut self, field: &str) {
        if self.mode(field) == Mode::Apply {
            self.failed.insert(below(field).to_owned());
        }
    }

    /// All objects of a section were looked at.
    pub(crate) fn finished(&mut self, section: &'static str) {
        self.finished.insert(section);
    }

    /// What is applied now. What a look that was cut short did not come to stays as it was.
    pub(crate) fn end(self) -> Applied {
        let Self {
            drift: _,
            fingerprint,
            before,
            failed,
            finished,
            kept,
        } = self;
        let is_whole = finished.len() == SECTIONS.len();
        let left = before
            .pending
            .into_iter()
            .filter(|pending| !finished.contains(section_of(pending)));
        let mut pending: BTreeSet<String> = left.chain(failed).collect();
        if pending.len() > MOST_PENDING {
            pending = pending.iter().map(|field| section_of(field).to_owned()).collect();
        }
        let mut secrets = kept;
        if !is_whole {
            secrets.extend(before.secrets);
        }
        Applied {
            fingerprint: Some(fingerprint),
            pending,
            secrets,
        }
    }
}

fn below(field: &str) -> &str {
    field.strip_prefix("spec.configuration.").unwrap_or(field)
}

fn section_of(field: &str) -> &str {
    field.split(['.', '[']).next().unwrap_or(field)
}

/// Whether a field is the pending one or lies below it.
fn covers(pending: &str, field: &str) -> bool {
    field
        .strip_prefix(pending)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "spec.configuration.policies[0]";
    const GOOD: &str = "spec.configuration.policies[1]";

    fn applied(pending: &[&str], secrets: &[&str]) -> Applied {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Applied {
            fingerprint: Some("a".to_owned()),
            pending: set(pending),
            secrets: set(secrets),
        }
    }

    fn ledger(drift: Drift, before: Applied) -> Ledger {
        Ledger::new(drift, before, "a".to_owned())
    }

    fn finish(mut ledger: Ledger) -> Applied {
        for section in SECTIONS {
            ledger.finished(section);
        }
        ledger.end()
    }

    #[test]
    fn what_is_new_is_applied_however_drift_is_treated() {
        for drift in [Drift::Enforce, Drift::Report, Drift::Off] {
            let never = ledger(drift, Applied::default());
            assert_eq!(never.mode(GOOD), Mode::Apply, "{drift:?}, never applied");
            let changed = Ledger::new(drift, applied(&[], &[]), "b".to_owned());
            assert_eq!(changed.mode(GOOD), Mode::Apply, "{drift:?}, another spec");
            assert!(changed.looks());
        }
    }

    #[test]
    fn one_object_that_fails_is_applied_again_and_the_others_are_left_to_drift() {
        for (drift, mode) in [
            (Drift::Enforce, Mode::Enforce),
            (Drift::Report, Mode::Report),
            (Drift::Off, Mode::Off),
        ] {
            let mut first = ledger(drift, Applied::default());
            first.failed(BAD);
            let after = finish(first);
            assert_eq!(after, applied(&["policies[0]"], &[]), "{drift:?}");
            let second = ledger(drift, after);
            assert_eq!(second.mode(BAD), Mode::Apply, "{drift:?}: it is tried again");
            assert_eq!(second.mode(GOOD), mode, "{drift:?}: the others were applied");
            assert!(second.looks() && second.looks_at("policies"));
            assert_eq!(second.looks_at("mfa"), drift != Drift::Off);
            assert_eq!(finish(second), applied(&[], &[]), "it went well");
        }
        assert!(!ledger(Drift::Off, applied(&[], &[])).looks());
    }

    #[test]
    fn what_could_not_be_put_right_was_applied_all_the_same() {
        let mut book = ledger(Drift::Enforce, applied(&[], &[]));
        book.failed(GOOD);
        assert_eq!(finish(book), applied(&[], &[]));
    }

    #[test]
    fn secrets_are_written_once_whatever_else_of_the_spec_changes() {
        let mut first = ledger(Drift::Enforce, Applied::default());
        assert!(first.is_new(Some("ana")));
        first.wrote(Some("ana"));
        let after = finish(first);
        let mut second = Ledger::new(Drift::Enforce, after, "b".to_owned());
        assert!(!second.is_new(Some("ana")), "another policy is no reason");
        assert!(second.is_new(Some("ana's new one")), "another Secret is");
        assert!(!second.is_new(None), "an object without any");
        second.declares(Some("ana"));
        second.declares(Some("ben"));
        let after = finish(second);
        assert_eq!(
            after.secrets,
            applied(&[], &["ana"]).secrets,
            "ben's was not written"
        );
        let gone = finish(Ledger::new(Drift::Enforce, after, "c".to_owned()));
        assert_eq!(gone.secrets.len(), 0, "ana is not declared any more");
    }

    #[test]
    fn a_look_that_was_cut_short_leaves_pending_what_it_did_not_come_to() {
        let mut cut = Ledger::new(Drift::Report, applied(&[], &["ana"]), "b".to_owned());
        cut.failed("spec.configuration.audit[0]");
        cut.finished("audit");
        cut.finished("namespaces");
        let after = cut.end();
        assert_eq!(
            after.pending.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                "audit[0]",
                "authMethods",
                "mfa",
                "passwordPolicies",
                "policies",
                "secretsEngines"
            ],
        );
        assert!(after.secrets.contains("ana"), "not looked at, so not forgotten");
        let next = Ledger::new(Drift::Report, after, "b".to_owned());
        assert_eq!(next.mode("spec.configuration.audit[1]"), Mode::Report);
        assert_eq!(next.mode("spec.configuration.audit[0]"), Mode::Apply);
        assert_eq!(next.mode(GOOD), Mode::Apply);
    }

    #[test]
    fn a_field_covers_what_lies_below_it_and_no_other() {
        assert!(covers("authMethods[1]", "authMethods[1].jwt.roles[0]"));
        assert!(covers("mfa", "mfa.totp[0]"));
        assert!(!covers("authMethods[1]", "authMethods[12]"));
        assert!(!covers("authMethods[1].jwt.roles[0]", "authMethods[1]"));
    }

    #[test]
    fn a_status_stays_small_and_is_read_back_as_it_was_written() {
        let mut book = ledger(Drift::Enforce, Applied::default());
        for n in 0..2000 {
            book.failed(&format!("spec.configuration.authMethods[{n}].userpass.users[0]"));
        }
        let after = finish(book);
        assert_eq!(after.pending.len(), 1, "by its section");
        let full = applied(&["policies[0]"], &["1a", "2b"]);
        assert_eq!(Applied::read(&full.write(Vec::new())), full);
    }
}
