//! Why a reconcile of a VaultRole failed. A refused spec is no failure: see `validate`.

use super::mount_limits::Bent;
use crate::controllers::{ReconcileError, chain};
use crate::sessions::SessionError;

/// One failed step; all are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object lacks what the API server gives every object.
    #[error("the VaultRole has no {0}: it was not read from an API server")]
    Incomplete(&'static str),
    /// A Kubernetes call failed.
    #[error("failed to {step}")]
    Kubernetes {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object of this name belongs to somebody else.
    #[error("{kind} {name} exists and does not belong to this VaultRole: {remedy}")]
    NameTaken {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A Secret of ours cannot become what it is to be.
    #[error("Secret {name} {what}: delete it, or choose another spec.appRole.secretName")]
    SecretFixed {
        /// Its name.
        name: String,
        /// What is in the way.
        what: &'static str,
    },
    /// Vault made a secret-id that it does not show.
    #[error("Vault does not know the secret-id that it has just made")]
    SecretIdUnknown,
    /// The state of the credentials cannot be written down: a defect.
    #[error("failed to write the state of the credentials as JSON")]
    State(#[source] serde_json::Error),
    /// The CA of the cluster cannot be read.
    #[error("failed to read the CA of the cluster")]
    Ca(#[source] Box<crate::cluster::Error>),
    /// The CA for client certificates cannot be used.
    #[error("failed to issue or revoke a client certificate")]
    ClientCa(#[source] super::certificate::ca::Error),
    /// A role of a PKI engine signs something else than it was asked for.
    #[error("the PKI role {issuer} cannot be used: {problem}")]
    PkiRoleUnfit {
        /// Path of the role.
        issuer: String,
        /// What is wrong, and the remedy.
        problem: &'static str,
    },
    /// There is no login at Vault.
    #[error("Vault cannot be reached at present")]
    Session(#[source] Box<SessionError>),
    /// There is no password to write.
    #[error("spec.userpass.passwordSecret: Secret {secret} {problem}")]
    Password {
        /// Name of the Secret.
        secret: String,
        /// What is wrong with it, and the remedy.
        problem: &'static str,
    },
    /// The tokens would not be what the spec says.
    #[error(transparent)]
    Bent(Box<Bent>),
    /// A Vault call failed.
    #[error("failed to {step}")]
    Vault {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<vaultkeeper_vault::Error>,
    },
}

impl Error {
    /// A failed Kubernetes call.
    pub fn kubernetes(step: &'static str, source: kube::Error) -> Self {
        Self::Kubernetes {
            step,
            source: Box::new(source),
        }
    }

    /// A failed Vault call.
    pub fn vault(step: &'static str, source: vaultkeeper_vault::Error) -> Self {
        Self::Vault {
            step,
            source: Box::new(source),
        }
    }

    /// Whether Vault, as opposed to Kubernetes, stands in the way.
    pub fn is_about_vault(&self) -> bool {
        matches!(self, Self::Vault { .. } | Self::Session(_) | Self::Ca(_))
    }

    /// Whether Vault is away: nothing is then known to be wrong with the role.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Session(_) => true,
            Self::Vault { source, .. } => {
                crate::sessions::is_spoilt_by(source)
                    && !matches!(**source, vaultkeeper_vault::Error::Denied { .. })
            }
            Self::Incomplete(_)
            | Self::Kubernetes { .. }
            | Self::NameTaken { .. }
            | Self::SecretFixed { .. }
            | Self::SecretIdUnknown
            | Self::State(_)
            | Self::Ca(_)
            | Self::Password { .. }
            | Self::ClientCa(_)
            | Self::PkiRoleUnfit { .. }
            | Self::Bent(_) => false,
        }
    }

    /// Whether the operator's session may be at fault: its token, or the member that it leads to.
    pub fn spoils_the_session(&self) -> bool {
        matches!(self, Self::Vault { source, .. } if crate::sessions::is_spoilt_by(source))
    }

    /// The error and its causes in one line, for a condition.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

impl ReconcileError for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::Incomplete(_) | Self::State(_) => "Incomplete",
            Self::Kubernetes { .. } => "KubernetesError",
            Self::NameTaken { .. } => "NameTaken",
            Self::SecretFixed { .. } => "SecretFixed",
            Self::SecretIdUnknown => "SecretIdUnknown",
            Self::Ca(error) => error.reason(),
            Self::ClientCa(_) => "ClientCaUnusable",
            Self::PkiRoleUnfit { .. } => "PkiRoleUnfit",
            Self::Session(error) => error.reason(),
            Self::Password { .. } => "PasswordMissing",
            Self::Bent(_) => "MountDiffers",
            Self::Vault { source, .. } => source.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use vaultkeeper_vault::{Call, Error as Vault};

    use super::*;

    fn call() -> Call {
        Call {
            operation: "PUT auth/approle/role/a.b".to_owned(),
            node: "https://main.vault.svc:8200".to_owned(),
        }
    }

    #[test]
    fn a_refused_request_keeps_the_session_and_a_sealed_member_does_not() {
        let errors = vaultkeeper_vault::error::ServerErrors::default();
        let refused = Error::vault(
            "write the role",
            Vault::BadRequest {
                call: call(),
                errors: errors.clone(),
            },
        );
        assert!(!refused.spoils_the_session(), "another login changes nothing");
        let sealed = Error::vault("write the role", Vault::Sealed { call: call(), errors });
        assert!(sealed.spoils_the_session(), "another member may be active");
    }

    #[test]
    fn a_vault_that_is_away_is_no_fault_of_the_role_and_a_denial_is_to_be_told() {
        let errors = vaultkeeper_vault::error::ServerErrors::default();
        let of = |source| Error::vault("read the policy", source);
        assert!(of(Vault::NoActive { call: call() }).is_absence());
        assert!(
            !of(Vault::Denied {
                call: call(),
                errors: errors.clone(),
                invalid_token: false
            })
            .is_absence()
        );
        assert!(!of(Vault::BadRequest { call: call(), errors }).is_absence());
    }

    #[test]
    fn the_chain_says_step_and_cause_once() {
        let error = Error::vault("write the AppRole role", Vault::NoActive { call: call() });
        assert_eq!(
            error.chain(),
            "failed to write the AppRole role: PUT auth/approle/role/a.b at https://main.vault.svc:8200: \
             the cluster has no active node"
        );
        assert_eq!(error.reason(), "VaultNoActiveNode");
    }
}
