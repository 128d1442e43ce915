//! Whether declared objects are written, only compared, or not looked at. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ring::digest;
use vaultkeeper_crds::cluster::configuration::{Configuration, Drift};

/// What this pass does about what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The spec or a Secret is new: everything is applied, secrets too.
    Apply,
    /// What somebody changed in Vault is put right.
    Enforce,
    /// What somebody changed in Vault is told.
    Report,
    /// Nothing is looked at.
    Off,
}

impl Mode {
    /// Decides by what was applied last.
    pub(crate) fn of(drift: Drift, applied: Option<&str>, fingerprint: &str) -> Self {
        if applied != Some(fingerprint) {
            return Self::Apply;
        }
        match drift {
            Drift::Enforce => Self::Enforce,
            Drift::Report => Self::Report,
            Drift::Off => Self::Off,
        }
    }

    /// Whether what differs is written.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Apply | Self::Enforce)
    }

    /// Whether secrets, which Vault never answers, are written again.
    pub(crate) fn renews_secrets(self) -> bool {
        self == Self::Apply
    }
}

/// Identifies a declared configuration with the Secrets that it refers to: by their versions, since a hash of their
/// values in a status could be guessed from. `store` tells one initialisation from the next: a Vault that was made anew
/// holds nothing of it. How drift is treated is not part of it.
pub(crate) fn fingerprint(
    configuration: &Configuration,
    secrets: &BTreeMap<String, String>,
    store: &str,
) -> String {
    let declared = Configuration {
        drift: Drift::default(),
        ..configuration.clone()
    };
    let text = serde_json::to_vec(&(declared, secrets, store)).unwrap_or_default();
    let hash = digest::digest(&digest::SHA256, &text);
    hash.as_ref()
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_spec_is_applied_however_drift_is_treated() {
        for drift in [Drift::Enforce, Drift::Report, Drift::Off] {
            assert_eq!(
                Mode::of(drift, None, "a"),
                Mode::Apply,
                "{drift:?}, never applied"
            );
            assert_eq!(Mode::of(drift, Some("b"), "a"), Mode::Apply, "{drift:?}, changed");
        }
    }

    #[test]
    fn what_was_applied_is_then_enforced_reported_or_left() {
        assert_eq!(Mode::of(Drift::Enforce, Some("a"), "a"), Mode::Enforce);
        assert_eq!(Mode::of(Drift::Report, Some("a"), "a"), Mode::Report);
        assert_eq!(Mode::of(Drift::Off, Some("a"), "a"), Mode::Off);
        assert!(!Mode::Report.writes() && !Mode::Off.writes() && Mode::Enforce.writes());
        assert!(Mode::Apply.renews_secrets() && !Mode::Enforce.renews_secrets());
    }

    #[test]
    fn another_secret_is_another_configuration_and_another_treatment_of_drift_is_not() {
        let mut configuration = Configuration::default();
        let secrets = |version: &str| BTreeMap::from([("oidc".to_owned(), version.to_owned())]);
        let first = fingerprint(&configuration, &secrets("1"), "s");
        assert_ne!(
            first,
            fingerprint(&configuration, &secrets("2"), "s"),
            "the Secret was changed"
        );
        assert_ne!(
            first,
            fingerprint(&configuration, &secrets("1"), "t"),
            "another Vault, which is empty"
        );
        configuration.drift = Drift::Off;
        assert_eq!(
            first,
            fingerprint(&configuration, &secrets("1"), "s"),
            "only drift differs"
        );
    }
}
