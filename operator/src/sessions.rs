//! The operator's own logins: one per cluster, bound to a ServiceAccount token whose audience is that cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::Instant;
use vaultkeeper_crds::cluster::{ExternalLogin, ExternalVault};
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_vault::{Auth, Client, SecretString};

use crate::cluster::external::{self, Opened};
use crate::cluster::validate::Validated;
use crate::cluster::{key_store, keys::State, tls_store};
use crate::connect::Node;
use crate::context::Context;
use crate::controllers::chain;
use crate::members::{self, Member, Probe};

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
    /// A Vault that runs elsewhere cannot be used.
    #[error(transparent)]
    External(#[from] external::Error),
    /// No client could be built.
    #[error("failed to build a client for the active member")]
    Build(#[from] vaultkeeper_vault::BuildError),
    /// A login failed a moment ago, for somebody else who asked.
    #[error("{text}")]
    Lately {
        /// Its reason.
        reason: &'static str,
        /// Its words.
        text: String,
    },
    /// Vault refused or did not answer.
    #[error("failed to log in with the operator's own ServiceAccount")]
    Login(#[source] vaultkeeper_vault::Error),
    /// Vault denied the login, most likely because it is bound to another ServiceAccount.
    #[error(
        "Vault denies the operator's own login as ServiceAccount {account}: its role `{OPERATOR_ROLE}` is bound to the ServiceAccount of the operator that set this Vault up. If the operator was installed anew under another name or in another namespace, generate a root token from the shares in Secret {secret} and store it there under `root-token`: the login is then bound to the present ServiceAccount and that token revoked"
    )]
    LoginDenied {
        /// Namespace and name of the operator's ServiceAccount.
        account: String,
        /// Name of the key Secret.
        secret: String,
        /// What Vault said.
        #[source]
        source: vaultkeeper_vault::Error,
    },
}

impl SessionError {
    /// A word for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotReady => "ClusterNotReady",
            Self::NoActive(_) => "NoActiveMember",
            Self::Kubernetes { .. } => "KubernetesError",
            Self::Store(_) => "KeySecretUnreadable",
            Self::External(error) => error.reason(),
            Self::Build(_) => "ClientError",
            Self::Lately { reason, .. } => reason,
            Self::Login(error) | Self::LoginDenied { source: error, .. } => error.reason(),
        }
    }

    /// Whether only another spec, or other settings of the operator, can help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::External(error) if error.is_final())
    }
}

/// Which cluster to log in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// UID of the VaultCluster.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub place: Place,
}

/// Where a Vault runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this Kubernetes cluster, with so many members.
    Here {
        /// Number of its members.
        replicas: u32,
    },
    /// Somewhere else, run by somebody else.
    Elsewhere(Box<ExternalVault>),
}

impl From<&VaultCluster> for Target {
    fn from(cluster: &VaultCluster) -> Self {
        // One that goes may lead until it is gone.
        let rows = cluster.status.as_ref().map_or(0, |status| status.members.len());
        let running = u32::try_from(rows).unwrap_or_default();
        Self {
            uid: cluster.uid().unwrap_or_default(),
            namespace: cluster.namespace().unwrap_or_default(),
            name: cluster.name_any(),
            place: match &cluster.spec.external {
                Some(vault) => Place::Elsewhere(Box::new(vault.clone())),
                None => Place::Here {
                    replicas: u32::try_from(cluster.spec.replicas)
                        .unwrap_or_default()
                        .max(running),
                },
            },
        }
    }
}

impl From<&Validated> for Target {
    fn from(cluster: &Validated) -> Self {
        Self {
            uid: cluster.uid.clone(),
            namespace: cluster.namespace.clone(),
            name: cluster.name.clone(),
            place: Place::Here {
                replicas: cluster.replicas,
            },
        }
    }
}

#[derive(Clone)]
struct Session {
    client: Client,
    replace_at: Instant,
}

impl Session {
    fn new(client: &Client, auth: &Auth) -> Self {
        Self {
            client: client.with_token(&auth.client_token),
            // Half of its life: a call that starts with this token can end with it. Whatever a server says of that
            // life, it is neither asked with every call nor believed for ever.
            replace_at: Instant::now() + auth.lease_duration.clamp(SHORTEST_LIFE, LONGEST_LIFE) / 2,
        }
    }
}

/// A token is taken to live at least so long, unless it is refused.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// And at most so long.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The last login, or why the last attempt failed.
#[derive(Default)]
struct Slot {
    /// Where it leads to: a spec that names another place needs another login.
    place: Option<Place>,
    session: Option<Session>,
    failed: Option<(Instant, &'static str, String)>,
}

/// How long a failed login speaks for all who wait: each would otherwise wait for a failure of its own, in turn.
const FAILURE_HOLDS: Duration = Duration::from_secs(2);

/// Logins by the UID of the VaultCluster.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>);

impl Sessions {
    fn slot(&self, uid: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(uid.to_owned()).or_default().clone()
    }

    /// A client of the active member with the operator's own token. Logs in where needed: once, however many ask.
    pub async fn active(&self, ctx: &Context, target: &Target) -> Result<Client, SessionError> {
        let slot = self.slot(&target.uid);
        let mut slot = slot.lock().await;
        if !leads_to(slot.place.as_ref(), &target.place) {
            *slot = Slot::default();
        }
        if let Some(session) = slot.session.as_ref().filter(|s| Instant::now() < s.replace_at) {
            return Ok(session.client.clone());
        }
        if let Some((at, reason, text)) = &slot.failed
            && at.elapsed() < FAILURE_HOLDS
        {
            return Err(SessionError::Lately {
                reason,
                text: text.clone(),
            });
        }
        match renew(ctx, target).await {
            Ok(session) => {
                *slot = Slot {
                    place: Some(target.place.clone()),
                    session: Some(session.clone()),
                    failed: None,
                };
                Ok(session.client)
            }
            Err(error) => {
                // "Not set up yet" costs nothing to find out, and ends at any moment.
                if !matches!(error, SessionError::NotReady) {
                    slot.place = Some(target.place.clone());
                    slot.failed = Some((Instant::now(), error.reason(), chain(&error)));
                }
                Err(error)
            }
        }
    }

    /// Drops a session that was denied or whose member is gone.
    pub async fn forget(&self, uid: &str) {
        *self.slot(uid).lock().await = Slot::default();
    }
}

/// Whether a failed call may be the fault of the session: its token, or the member that it leads to.
pub fn is_spoilt_by(error: &vaultkeeper_vault::Error) -> bool {
    use vaultkeeper_vault::Error as Vault;
    !matches!(
        error,
        Vault::NotFound { .. } | Vault::BadRequest { .. } | Vault::Unsupported { .. }
    )
}

/// Whether a login that led to `known` serves for `wanted`. Members of a cluster are all the same to it.
fn leads_to(known: Option<&Place>, wanted: &Place) -> bool {
    match (known, wanted) {
        (None | Some(Place::Here { .. }), Place::Here { .. }) | (None, Place::Elsewhere(_)) => true,
        (Some(Place::Elsewhere(known)), Place::Elsewhere(wanted)) => known == wanted,
        (Some(Place::Here { .. }), Place::Elsewhere(_)) | (Some(Place::Elsewhere(_)), Place::Here { .. }) => {
            false
        }
    }
}

async fn renew(ctx: &Context, target: &Target) -> Result<Session, SessionError> {
    let replicas = match &target.place {
        Place::Here { replicas } => *replicas,
        Place::Elsewhere(vault) => return log_in_elsewhere(ctx, target, vault).await,
    };
    let (node, identity) = locate(ctx, target, replicas).await?;
    log_in(ctx, &node, &identity).await.map_err(|error| match error {
        SessionError::Login(source @ vaultkeeper_vault::Error::Denied { .. }) => SessionError::LoginDenied {
            account: format!("{}/{}", ctx.namespace, ctx.service_account),
            secret: names::key_secret(&target.namespace, &target.name),
            source,
        },
        error => error,
    })
}

/// The active member, and what the operator's login at this cluster is bound to.
async fn locate(ctx: &Context, target: &Target, replicas: u32) -> Result<(Node, String), SessionError> {
    let Target {
        uid: _,
        namespace,
        name,
        place: _,
    } = target;
    let record = key_store::get(ctx, namespace, name).await.map_err(Box::new)?;
    let record = record
        .filter(|r| r.state == State::Initialized && r.root_token.is_none())
        .ok_or(SessionError::NotReady)?;
    let ca = tls_store::trusted(ctx, namespace, name).await.map_err(Box::new)?;
    let ca = ca.ok_or(SessionError::NotReady)?;
    let members = members::observe(ctx, namespace, name, replicas, &ca).await;
    let members = members.map_err(|source| SessionError::Kubernetes {
        step: "list the members' pods",
        source: Box::new(source),
    })?;
    let words: Vec<String> = members.iter().map(Member::says).collect();
    let active = members
        .into_iter()
        .find(|m| m.probe == Probe::Active)
        .and_then(|m| m.node);
    let active = active.ok_or_else(|| SessionError::NoActive(words.join(", ")))?;
    Ok((active, record.identity))
}

/// Logs in with a fresh ServiceAccount token that is worth nothing at any other cluster.
async fn log_in(ctx: &Context, node: &Node, identity: &str) -> Result<Session, SessionError> {
    let jwt = own_jwt(ctx, &names::operator_audience(identity)).await?;
    let client = ctx.vault.connect(node, CALL_TIMEOUT)?;
    let auth = client
        .kubernetes(names::KUBERNETES_AUTH_PATH)
        .login(OPERATOR_ROLE, &jwt)
        .await
        .map_err(SessionError::Login)?;
    Ok(Session::new(&client, &auth))
}

/// Logs in at a Vault that somebody else runs. The token that it is shown is made for this very VaultCluster and address,
/// so that it opens nothing elsewhere; it is made only after the address was found on the list.
async fn log_in_elsewhere(
    ctx: &Context,
    target: &Target,
    vault: &ExternalVault,
) -> Result<Session, SessionError> {
    let Opened {
        client,
        address,
        ca: _,
    } = external::open(ctx, &target.namespace, vault).await?;
    let audience = names::external_audience(&target.uid, &address);
    let jwt = own_jwt(ctx, &audience).await?;
    let ExternalLogin { path, role } = &vault.kubernetes_auth;
    let auth = client.kubernetes(path).login(role, &jwt).await;
    let auth = auth.map_err(|error| match error {
        silent if !silent.is_answer() => SessionError::Login(silent),
        // It has seen the token, and could repeat it: its words go nowhere.
        refused => SessionError::External(external::Error::LoginRefused {
            address,
            path: path.clone(),
            role: role.clone(),
            audience,
            account: ctx.service_account.clone(),
            account_namespace: ctx.namespace.clone(),
            reason: refused.reason(),
        }),
    })?;
    // It may say in any later answer what it was shown.
    Ok(Session::new(&client.never_repeating(&jwt), &auth))
}

/// Logs in outside the cache, to prove that it works before the root token goes.
pub async fn prove_login(ctx: &Context, node: &Node, identity: &str) -> Result<Client, SessionError> {
    log_in(ctx, node, identity).await.map(|session| session.client)
}

/// A token of the operator's ServiceAccount that only who expects this audience takes.
async fn own_jwt(ctx: &Context, audience: &str) -> Result<SecretString, SessionError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![audience.to_owned()]),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(address: &str) -> Place {
        let vault = serde_json::json!({"address": address, "ca": {"bundle": "x"}});
        Place::Elsewhere(serde_json::from_value(vault).unwrap())
    }

    #[test]
    fn a_login_never_serves_for_another_address() {
        let a = elsewhere("https://a.example.com");
        assert!(leads_to(Some(&a), &elsewhere("https://a.example.com")));
        assert!(!leads_to(Some(&a), &elsewhere("https://b.example.com")));
        assert!(!leads_to(Some(&a), &Place::Here { replicas: 3 }));
        assert!(!leads_to(Some(&Place::Here { replicas: 3 }), &a));
        assert!(
            leads_to(Some(&Place::Here { replicas: 3 }), &Place::Here { replicas: 5 }),
            "more members are the same Vault"
        );
    }
}
