//! Whether a declared object is written, only compared, or not looked at. Pure.

use std::collections::BTreeMap;

use vaultkeeper_crds::cluster::configuration::{Configuration, Drift};

use crate::hex::short_hash;

/// What this pass does about an object that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It was not applied yet: it is, with its secrets unless they were written before.
    Apply,
    /// What somebody changed in Vault is put right.
    Enforce,
    /// What somebody changed in Vault is told.
    Report,
    /// It is not looked at.
    Off,
}

impl Mode {
    /// For an object that was applied before.
    pub(crate) fn of(drift: Drift) -> Self {
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
    short_hash(&text, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_then_enforced_reported_or_left() {
        assert_eq!(Mode::of(Drift::Enforce), Mode::Enforce);
        assert_eq!(Mode::of(Drift::Report), Mode::Report);
        assert_eq!(Mode::of(Drift::Off), Mode::Off);
        assert!(Mode::Apply.writes() && Mode::Enforce.writes());
        assert!(!Mode::Report.writes() && !Mode::Off.writes());
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
