//! Why a reconcile of a VaultCluster failed.

use std::time::Duration;

use super::keys::Unreadable;
use super::tls;
use crate::sessions::SessionError;

/// One failed step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Kubernetes call failed.
    #[error("failed to {step}")]
    Kubernetes {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// What a write relied on has changed meanwhile; the next pass looks again.
    #[error("failed to {step}: the Secret has changed meanwhile")]
    Outdated {
        /// What was to be done.
        step: &'static str,
    },
    /// An object of this name belongs to somebody else.
    #[error(
        "{kind} {name} exists and does not belong to this VaultCluster: delete or rename it, or rename the VaultCluster"
    )]
    NotOurs {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The key Secret is damaged.
    #[error(transparent)]
    Keys(#[from] Unreadable),
    /// A certificate could not be made.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// There is no certificate.
    #[error(
        "Secret {secret} with the members' certificate is not there: create it with tls.crt, tls.key and ca.crt, or see why its issuer does not"
    )]
    CertificateMissing {
        /// Name of the Secret.
        secret: String,
    },
    /// The certificate cannot serve.
    #[error("Secret {secret} cannot serve the members: replace its tls.crt, tls.key and ca.crt")]
    CertificateUnusable {
        /// Name of the Secret.
        secret: String,
        /// What is wrong.
        #[source]
        source: tls::certificate::Unusable,
    },
    /// cert-manager is not there.
    #[error(
        "the API server does not know Certificates of cert-manager.io/v1: install cert-manager, or choose another source in spec.tls"
    )]
    NoCertManager,
    /// A Secret lacks a key.
    #[error("Secret {name} lacks `{key}`: restore it from a backup")]
    Incomplete {
        /// Name of the Secret.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// The key Secret lacks shares that were encrypted to custodians.
    #[error(
        "Secret {secret} lacks the encrypted shares of {names}: put them back as encrypted-share-<name>, from a backup or from Secret {copy} in namespace {namespace}, which is left as it is and holds them as <name>"
    )]
    CustodyIncomplete {
        /// Name of the key Secret.
        secret: String,
        /// Whose shares are missing.
        names: String,
        /// Name of the Secret for the custodians.
        copy: String,
        /// Its namespace.
        namespace: String,
    },
    /// A Vault call failed.
    #[error("failed to {step} at {member}")]
    Vault {
        /// What was to be done.
        step: &'static str,
        /// The member's pod.
        member: String,
        /// The cause.
        #[source]
        source: Box<vaultkeeper_vault::Error>,
    },
    /// A client could not be built.
    #[error("failed to build a client for a member")]
    Build(#[from] vaultkeeper_vault::BuildError),
    /// The operator's own login failed.
    #[error(transparent)]
    Session(#[from] Box<SessionError>),
    /// The stored shares do not open a member.
    #[error(
        "the shares in Secret {secret} do not unseal {member}: either its volume belongs to another cluster, or somebody rekeyed this Vault elsewhere. Keep the Secret as it is and find out which"
    )]
    WrongShares {
        /// The member's pod.
        member: String,
        /// Name of the key Secret.
        secret: String,
    },
    /// Nothing can be encrypted to a custodian's key any more.
    #[error(
        "the pgpKey of custodian {name} has expired: renew it (gpg --quick-set-expire) or give another in spec.seal.shamir.custodians"
    )]
    CustodianKeyExpired {
        /// Name of the custodian.
        name: String,
    },
    /// Vault does not take the custodians' keys.
    #[error(
        "Vault does not encrypt to the pgpKeys of the custodians; until then the cluster goes on with the shares that the operator holds: correct spec.seal.shamir.custodians"
    )]
    CustodianKeysRefused {
        /// What Vault said.
        #[source]
        source: Box<vaultkeeper_vault::Error>,
    },
    /// Somebody else is rekeying.
    #[error(
        "somebody else is rekeying this Vault, so that the shares cannot be handed over: let them finish, or end it with vault operator rekey -cancel"
    )]
    RekeyElsewhere,
    /// The stored shares are dead, and nothing tells which are alive.
    #[error(
        "Vault does not take the shares in Secret {secret} any more: somebody rekeyed it elsewhere. Who did holds the shares; members that restart stay sealed without them"
    )]
    SharesDead {
        /// Name of the key Secret.
        secret: String,
    },
    /// The stored shares are dead, and those of the custodians never came to be stored.
    #[error(
        "the shares in Secret {secret} do not unseal {member}: they were replaced by those of the custodians, and every member stopped before these were stored. They lie in Vault's storage, encrypted to the custodians: docs/custody.md shows how to get them out"
    )]
    HandOverInterrupted {
        /// The member's pod.
        member: String,
        /// Name of the key Secret.
        secret: String,
    },
    /// The answer of a hand-over is not what was asked for.
    #[error("the answer to the hand-over was not the expected one: the next pass looks at what is in force")]
    HandOverUnclear,
    /// The root token was lost before the operator's login worked.
    #[error(
        "the first root token is not valid any more, but the operator cannot log in either: generate a root token from the shares in Secret {secret} and store it there under `root-token`"
    )]
    BootstrapLost {
        /// Name of the key Secret.
        secret: String,
        /// Why the login failed.
        #[source]
        source: Box<SessionError>,
    },
    /// The operator's login works but may not do what it must.
    #[error("the operator's policy does not allow {path}: the root token is kept until it does")]
    LoginTooWeak {
        /// A path it must be able to write.
        path: String,
    },
    /// The root token answers after it was revoked.
    #[error("the first root token still answers after its revocation: it is revoked again")]
    RootTokenAlive,
    /// One try to store the shares did not end.
    #[error("the API server did not answer within {} s when the unseal shares were stored", .0.as_secs())]
    StoreTimedOut(Duration),
    /// The shares of an initialisation were not stored, because another operator had given that attempt up.
    #[error(
        "this initialisation was given up by another operator: its empty store is thrown away and made anew"
    )]
    Abandoned,
    /// A mount of the same path has another type.
    #[error(
        "{path} is already mounted with type {found}, not {wanted}: unmount it by hand or choose another path in {field}"
    )]
    MountDiffers {
        /// Field of the spec.
        field: String,
        /// Path of the mount.
        path: String,
        /// Its type in Vault.
        found: String,
        /// Its type in the spec.
        wanted: String,
    },
    /// Vault does not mount what the spec declares.
    #[error("failed to mount {path} with type {kind}: correct {field}")]
    Mount {
        /// Field of the spec.
        field: String,
        /// Path of the mount.
        path: String,
        /// Its type in the spec.
        kind: String,
        /// What Vault said.
        #[source]
        source: Box<vaultkeeper_vault::Error>,
    },
    /// Vault does not take an object that the spec declares.
    #[error("failed to apply {what}: correct {field}")]
    Declared {
        /// Field of the spec.
        field: String,
        /// The object.
        what: String,
        /// What Vault said.
        #[source]
        source: Box<vaultkeeper_vault::Error>,
    },
    /// A Secret that the configuration refers to cannot be used.
    #[error("{field}: Secret {secret} {problem}")]
    SecretValue {
        /// Field of the spec.
        field: String,
        /// Name of the Secret.
        secret: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The spec names an auth method that Vault does not have.
    #[error(
        "{field}: there is no auth method at {path}: declare it in spec.configuration.authMethods, or correct the path"
    )]
    UnknownAccessor {
        /// Field of the spec.
        field: String,
        /// Path that it names.
        path: String,
    },
    /// The spec names an MFA method that Vault does not have.
    #[error(
        "{field}: there is no MFA method {name}: declare it in spec.configuration.mfa.totp, or correct the name"
    )]
    UnknownMfaMethod {
        /// Field of the spec.
        field: String,
        /// Name of the method.
        name: String,
    },
    /// A device could only be changed by a moment in which nothing may log.
    #[error(
        "{field} differs, but an audit device can only be changed by taking it away for a moment, and no stream of the server would log meanwhile. Declare a second device first, with another path and file.path /dev/stderr or stdout"
    )]
    OnlyAuditDevice {
        /// Field that differs.
        field: String,
    },
    /// The CA Secret is gone while its certificates are in use.
    #[error(
        "Secret {secret} is gone, but members and clients still use certificates of that CA: restore it from a backup. To begin with a new CA instead, delete Secret {certificates} and then each pod"
    )]
    CaLost {
        /// Name of the CA Secret.
        secret: String,
        /// Name of the Secret with the members' certificate.
        certificates: String,
        /// The certificate of the CA, as the members have it.
        certificate: String,
    },
    /// The spec cannot work: what was applied of an earlier one stays as it is.
    #[error("{0}. What was applied before stays as it is")]
    Refused(super::validate::Invalid),
    /// The seal is not changed to another kind.
    #[error("{0}")]
    SealMigration(String),
    /// `spec.serverConfig` holds what is not the user's to set.
    #[error(transparent)]
    ServerConfig(#[from] super::build::server_config::Refused),
    /// The spec asks for an older version than what runs.
    #[error("{0}")]
    Downgrade(String),
    /// Something could not be encoded.
    #[error("failed to encode a request")]
    Encode(#[source] serde_json::Error),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
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
    pub fn vault(step: &'static str, member: &str, source: vaultkeeper_vault::Error) -> Self {
        Self::Vault {
            step,
            member: member.to_owned(),
            source: Box::new(source),
        }
    }

    /// The failed Vault call, where one is the cause.
    pub fn vault_cause(&self) -> Option<&vaultkeeper_vault::Error> {
        match self {
            Self::Vault { source, .. }
            | Self::Mount { source, .. }
            | Self::Declared { source, .. }
            | Self::CustodianKeysRefused { source } => Some(source),
            _ => None,
        }
    }

    /// A word for metrics and conditions, from a bounded set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } | Self::StoreTimedOut(_) => "KubernetesError",
            Self::Outdated { .. } => "Outdated",
            Self::NotOurs { .. } => "NameTaken",
            Self::Keys(_) | Self::Incomplete { .. } | Self::CustodyIncomplete { .. } => "KeySecretUnreadable",
            Self::Tls(_) => "CertificateError",
            Self::CertificateMissing { .. } => "CertificateMissing",
            Self::CertificateUnusable { .. } => "CertificateUnusable",
            Self::NoCertManager => "CertManagerMissing",
            Self::Vault { source, .. } | Self::Mount { source, .. } | Self::Declared { source, .. } => {
                source.reason()
            }
            Self::SecretValue { .. } => "SecretUnusable",
            Self::UnknownAccessor { .. } => "UnknownAuthMethod",
            Self::UnknownMfaMethod { .. } => "UnknownMfaMethod",
            Self::OnlyAuditDevice { .. } => "OnlyAuditDevice",
            Self::CaLost { .. } => "CaLost",
            Self::Build(_) => "ClientError",
            Self::Session(source) => source.reason(),
            Self::WrongShares { .. } | Self::SharesDead { .. } => "WrongShares",
            Self::CustodianKeyExpired { .. } => "CustodianKeyExpired",
            Self::CustodianKeysRefused { .. } => "CustodianKeysRefused",
            Self::RekeyElsewhere => "RekeyElsewhere",
            Self::HandOverUnclear => "HandOverUnclear",
            Self::HandOverInterrupted { .. } => "HandOverInterrupted",
            Self::BootstrapLost { .. } => "BootstrapLost",
            Self::LoginTooWeak { .. } => "LoginTooWeak",
            Self::RootTokenAlive => "RootTokenAlive",
            Self::Abandoned => "InitializationAbandoned",
            Self::MountDiffers { .. } => "MountDiffers",
            Self::Refused(_) => "InvalidSpec",
            Self::SealMigration(_) => "SealMigrationRefused",
            Self::ServerConfig(_) => "ServerConfigRefused",
            Self::Downgrade(_) => "DowngradeRefused",
            Self::Encode(_) => "EncodeError",
            Self::Random => "NoRandomness",
        }
    }

    /// Whether the API server is away. What kubelets have to tell is not known then.
    pub fn is_of_a_silent_api_server(&self) -> bool {
        let Self::Kubernetes { source, .. } = self else {
            return false;
        };
        match source.as_ref() {
            // Not 500: so fails a call whose admission webhook is away, for as long as it is.
            kube::Error::Api(status) => matches!(status.code, 502..=504),
            _ => true,
        }
    }

    /// The whole chain in one line, for a condition.
    pub fn chain(&self) -> String {
        crate::controllers::chain(self)
    }
}

/// A deletion whose object is gone, or was replaced by another one, is done.
pub(crate) fn unless_gone<T>(step: &'static str, result: Result<T, kube::Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

impl crate::controllers::ReconcileError for Error {
    fn reason(&self) -> &'static str {
        Self::reason(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_that_is_away_is_told_from_one_that_refuses() {
        let answered = |code: u16| {
            let status = kube::core::Status {
                code,
                ..kube::core::Status::default()
            };
            Error::kubernetes("read", kube::Error::Api(Box::new(status)))
        };
        for code in [502, 503, 504] {
            assert!(answered(code).is_of_a_silent_api_server(), "{code}");
        }
        for code in [403, 409, 422, 500] {
            assert!(!answered(code).is_of_a_silent_api_server(), "{code} is an answer");
        }
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let broken = Error::kubernetes("read", kube::Error::Service(Box::new(broken)));
        assert!(broken.is_of_a_silent_api_server());
        assert!(!Error::Random.is_of_a_silent_api_server());
    }
}
