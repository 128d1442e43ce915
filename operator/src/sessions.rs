//! The operator's own logins: one per cluster, bound to a ServiceAccount token whose audience is that cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::Instant;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_vault::{Client, SecretString};

use crate::cluster::{key_store, keys::State, tls_store};
use crate::connect::Node;
use crate::context::Context;
use crate::members::{self, Probe};

/// Name of the operator's policy and of its role on the Kubernetes auth method.
pub const OPERATOR_ROLE: &str = "vaultkeeper-operator";
/// Limit for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The shortest life that the API server gives a ServiceAccount token.
const JWT_SECONDS: i64 = 600;

/// Why there is no session with the active member.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The cluster was not initialised or its bootstrap is not finished.
    #[error("the cluster is not set up yet")]
    NotReady,
    /// No member is active.
    #[error("no member of the cluster is active: {0}")]
    NoActive(String),
    /// A Kubernetes call failed.
    #[error("failed to {step}")]
    Kubernetes {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The key Secret or the CA is damaged.
    #[error(transparent)]
    Store(#[from] Box<crate::cluster::Error>),
    /// No client could be built.
    #[error("failed to build a client for the active member")]
    Build(#[from] vaultkeeper_vault::BuildError),
    /// Vault refused or did not answer.
    #[error("failed to log in with the operator's own ServiceAccount")]
    Login(#[source] vaultkeeper_vault::Error),
}

impl SessionError {
    /// A word for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotReady => "ClusterNotReady",
            Self::NoActive(_) => "NoActiveMember",
            Self::Kubernetes { .. } => "KubernetesError",
            Self::Store(_) => "KeySecretUnreadable",
            Self::Build(_) => "ClientError",
            Self::Login(error) => error.reason(),
        }
    }
}

#[derive(Clone)]
struct Session {
    client: Client,
    replace_at: Instant,
}

/// Logins by the UID of the VaultCluster.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Session>>>>>);

impl Sessions {
    fn slot(&self, uid: &str) -> Arc<tokio::sync::Mutex<Option<Session>>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(uid.to_owned()).or_default().clone()
    }

    /// A client of the active member with the operator's own token. Logs in where needed: once, however many ask.
    pub async fn active(&self, ctx: &Context, cluster: &VaultCluster) -> Result<Client, SessionError> {
        let slot = self.slot(&cluster.uid().unwrap_or_default());
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|s| Instant::now() < s.replace_at) {
            return Ok(session.client.clone());
        }
        let (node, identity) = locate(ctx, cluster).await?;
        let session = log_in(ctx, &node, &identity).await?;
        *slot = Some(session.clone());
        Ok(session.client)
    }

    /// Drops a session that was denied or whose member is gone.
    pub async fn forget(&self, uid: &str) {
        *self.slot(uid).lock().await = None;
    }
}

/// The active member, and what the operator's login at this cluster is bound to.
async fn locate(ctx: &Context, cluster: &VaultCluster) -> Result<(Node, String), SessionError> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let record = key_store::get(ctx, &namespace, &name).await.map_err(Box::new)?;
    let record = record
        .filter(|r| r.state == State::Initialized && r.root_token.is_none())
        .ok_or(SessionError::NotReady)?;
    let ca = tls_store::ca_certificate(ctx, &namespace, &name)
        .await
        .map_err(Box::new)?
        .ok_or(SessionError::NotReady)?;
    let replicas = u32::try_from(cluster.spec.replicas).unwrap_or_default();
    let members = members::observe(ctx, &namespace, &name, replicas, &ca)
        .await
        .map_err(|source| SessionError::Kubernetes {
            step: "list the members' pods",
            source: Box::new(source),
        })?;
    let words: Vec<String> = members
        .iter()
        .map(|m| format!("{} is {}", m.name, m.probe.word()))
        .collect();
    let active = members
        .into_iter()
        .find(|m| m.probe == Probe::Active)
        .and_then(|m| m.node);
    Ok((
        active.ok_or_else(|| SessionError::NoActive(words.join(", ")))?,
        record.identity,
    ))
}

/// Logs in with a fresh ServiceAccount token that is worth nothing at any other cluster.
async fn log_in(ctx: &Context, node: &Node, identity: &str) -> Result<Session, SessionError> {
    let jwt = own_jwt(ctx, identity).await?;
    let client = ctx.vault.connect(node, CALL_TIMEOUT)?;
    let auth = client
        .kubernetes(names::KUBERNETES_AUTH_PATH)
        .login(OPERATOR_ROLE, &jwt)
        .await
        .map_err(SessionError::Login)?;
    // Half of its life: a call that starts with this token can end with it.
    let replace_at = Instant::now() + auth.lease_duration / 2;
    Ok(Session {
        client: client.with_token(&auth.client_token),
        replace_at,
    })
}

/// Logs in outside the cache, to prove that it works before the root token goes.
pub async fn prove_login(ctx: &Context, node: &Node, identity: &str) -> Result<Client, SessionError> {
    log_in(ctx, node, identity).await.map(|session| session.client)
}

async fn own_jwt(ctx: &Context, identity: &str) -> Result<SecretString, SessionError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![names::operator_audience(identity)]),
            expiration_seconds: Some(JWT_SECONDS),
            bound_object_ref: None,
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(&ctx.service_account, &PostParams::default(), &request)
        .await
        .map_err(|source| SessionError::Kubernetes {
            step: "request a token of the operator's own ServiceAccount",
            source: Box::new(source),
        })?;
    answer
        .status
        .and_then(|s| s.token)
        .map(SecretString::from)
        .ok_or(SessionError::NotReady)
}
