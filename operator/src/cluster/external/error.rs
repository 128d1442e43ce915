//! Why a Vault that runs elsewhere cannot be used. Its own words are left out of what concerns the login: it has seen the
//! token by then, and could repeat it.

use super::AddressError;

/// Why a Vault that runs elsewhere cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no address.
    #[error("spec.external.address")]
    Address(#[from] AddressError),
    /// It is not on the list. Nothing was sent.
    #[error(
        "spec.external.address: the operator may not call {address}, and has not: whoever installed it must add this address to its settings (chart value operator.externalAddresses, argument --external-addresses), or correct the spec"
    )]
    NotAllowed {
        /// The address.
        address: String,
    },
    /// The CA certificates cannot be used.
    #[error("the CA of spec.external: {object} {problem}")]
    Ca {
        /// Where they were looked for.
        object: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A Kubernetes call failed.
    #[error("failed to {step}")]
    Kubernetes {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// No client could be built.
    #[error("failed to build a client for spec.external.address")]
    Build(#[from] vaultkeeper_vault::BuildError),
    /// The server would ignore the namespace.
    #[error(
        "{address} is a community edition of Vault, which ignores spec.external.namespace and would do everything in its root namespace: remove the namespace, or correct the address"
    )]
    NamespaceIgnored {
        /// The address.
        address: String,
    },
    /// What answers is no Vault.
    #[error(
        "{address} does not answer as a Vault does ({reason}): correct spec.external.address, or see what listens there. Its words are left out"
    )]
    NoVault {
        /// The address.
        address: String,
        /// What kind of answer it was.
        reason: &'static str,
    },
    /// The login was refused.
    #[error(
        "{address} refuses the operator's login at auth/{path} as role {role} ({reason}). Who runs that Vault must create the role once, bound to this ServiceAccount and this audience (docs/external.md has the policy): vault write auth/{path}/role/{role} audience={audience} bound_service_account_names={account} bound_service_account_namespaces={account_namespace} token_policies=vaultkeeper-operator token_no_default_policy=true token_ttl=30m"
    )]
    LoginRefused {
        /// The address.
        address: String,
        /// Path of the auth method.
        path: String,
        /// Name of the role.
        role: String,
        /// Audience of the token that was shown.
        audience: String,
        /// The operator's ServiceAccount.
        account: String,
        /// Its namespace.
        account_namespace: String,
        /// What kind of answer it was.
        reason: &'static str,
    },
}

impl Error {
    /// A failed Kubernetes call.
    pub(super) fn kubernetes(step: &'static str, source: kube::Error) -> Self {
        Self::Kubernetes {
            step,
            source: Box::new(source),
        }
    }

    /// A word for metrics and conditions, from a bounded set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Address(_) => "InvalidSpec",
            Self::NotAllowed { .. } => "AddressNotAllowed",
            Self::Ca { .. } => "CaUnusable",
            Self::Kubernetes { .. } => "KubernetesError",
            Self::Build(_) => "ClientError",
            Self::NamespaceIgnored { .. } => "NamespaceIgnored",
            Self::NoVault { reason, .. } => reason,
            Self::LoginRefused { .. } => "LoginRefused",
        }
    }

    /// Whether only another spec, or other settings of the operator, can help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Address(_) | Self::NotAllowed { .. })
    }
}
