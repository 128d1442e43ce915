//! The VaultRole controller: observe → validate → plan → execute → status.
//!
//! A role is given what its cluster's `spec.access` grants, and keeps nothing when that is taken away. The
//! finalizer is there exactly while something of the role may be in Vault.

pub mod ca_config_map;
pub mod certificate;
pub mod credentials;
pub mod delete;
pub mod desired;
pub mod error;
pub mod execute;
pub mod finalizer;
pub mod further;
pub mod mount_limits;
pub mod owner;
pub mod password;
pub mod policy;
pub mod rotation;
pub mod secret;
pub mod status;
pub mod sweep;
pub mod token;
pub mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt as _};
use vaultkeeper_crds::annotations::ROTATE;
use vaultkeeper_crds::role::{DeliveredToken, ExternalLoginStatus};
use vaultkeeper_crds::{VaultCluster, VaultRole, names};
use vaultkeeper_vault::Client;

use crate::context::Context;
use crate::report::Reason;
use crate::sessions::Target;
use ca_config_map::Told;
use desired::{Desired, Elsewhere};
pub use error::Error;
use owner::Whose;
use status::{Outcome, Progress};
use sweep::{Comparison, Task};
use token::deliver::Token;
use validate::{Accounts, Validated};

/// Namespace and name of a VaultCluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// Which VaultRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: another object of the same name has another.
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Its VaultCluster.
    pub cluster: ClusterName,
}

impl Identity {
    /// Reads it off an object from the API server.
    pub fn of(role: &VaultRole) -> Result<Self, Error> {
        let meta = &role.metadata;
        let get = |value: &Option<String>, what| value.clone().ok_or(Error::Incomplete(what));
        Ok(Self {
            namespace: get(&meta.namespace, "metadata.namespace")?,
            name: get(&meta.name, "metadata.name")?,
            uid: get(&meta.uid, "metadata.uid")?,
            generation: meta.generation.unwrap_or_default(),
            cluster: ClusterName {
                namespace: role.spec.cluster.namespace.clone(),
                name: role.spec.cluster.name.clone(),
            },
        })
    }

    /// Name of the policy and roles in Vault.
    pub fn vault_name(&self) -> String {
        names::vault_name(&self.namespace, &self.name)
    }

    /// What secret-ids and tokens in Vault say of whose they are. No secrets.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let Self {
            namespace,
            name,
            uid,
            generation,
            cluster: _,
        } = self;
        [
            ("namespace", namespace.clone()),
            ("name", name.clone()),
            ("uid", uid.clone()),
            ("generation", generation.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// One pass over a VaultRole.
pub async fn reconcile(role: Arc<VaultRole>, ctx: Arc<Context>) -> Result<Action, Error> {
    let identity = Identity::of(&role)?;
    if role.metadata.deletion_timestamp.is_some() {
        return delete::reconcile(&role, &identity, &ctx).await;
    }
    let mut progress = Progress::of(role.status.as_ref());
    let mut comparison = None;
    let outcome = provide(&role, &identity, &ctx, &mut progress, &mut comparison).await;
    match &outcome {
        // The write of the finalizer, or the first list of namespaces, wakes this role again.
        Ok(Outcome::Begun) => return Ok(Action::await_change()),
        Ok(Outcome::AtRest(wait)) => return Ok(Action::requeue(*wait)),
        // Nothing is known to be wrong: the VaultCluster says that its Vault is away, and its roles need not repeat it.
        Err(error) if comparison.is_some() && error.is_absence() => {
            tracing::debug!(error = error.chain(), role = %identity.vault_name(), "not compared");
            return Ok(Action::requeue(
                ctx.sweep.compared(&identity, comparison.as_ref()),
            ));
        }
        _ => {}
    }
    let before = progress.next_action_at.as_deref();
    progress.next_action_at = sweep::next_action(before, progress.next, Timestamp::now());
    let wanted = status::build(&role, &identity, &outcome, &progress, Timestamp::now());
    let written = status::write(&ctx, &identity, role.status.as_ref(), &wanted).await;
    // The error of the pass itself matters more than that of telling it.
    let outcome = outcome?;
    let news = written?;
    if let (true, Outcome::Refused(refusal)) = (news, &outcome) {
        ctx.reporter
            .publish(&role.object_ref(&()), Reason::Refused, "", &refusal.message)
            .await;
    }
    Ok(match outcome {
        Outcome::InPlace => {
            let resync = ctx.sweep.compared(&identity, comparison.as_ref());
            Action::requeue(progress.next.map_or(resync, |next| next.min(resync)))
        }
        // The cluster's watch or an edit wakes it.
        Outcome::Begun | Outcome::AtRest(_) | Outcome::Refused(_) | Outcome::Waiting { .. } => {
            Action::await_change()
        }
    })
}

/// How long it is until then, at least a second.
fn until(due: Timestamp) -> Duration {
    let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
    left.max(Duration::from_secs(1))
}

/// The VaultCluster that a role names. As the watch has it: a change of it wakes the role.
async fn cluster_of(ctx: &Context, identity: &Identity) -> Result<Option<VaultCluster>, Error> {
    if let Some(cluster) = ctx.sweep.cluster(&identity.cluster) {
        return Ok(Some(cluster));
    }
    let ClusterName { namespace, name } = &identity.cluster;
    let api: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), namespace);
    api.get_opt(name)
        .await
        .map_err(|e| Error::kubernetes("read the VaultCluster", e))
}

/// Gives the role what it asks for, as far as it is allowed.
async fn provide(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    progress: &mut Progress,
    comparison: &mut Option<Comparison>,
) -> Result<Outcome, Error> {
    let Some(cluster) = cluster_of(ctx, identity).await? else {
        // Nothing is taken away: the cluster may come back with its volumes and keys.
        progress.accepted = Some(false);
        return Ok(Outcome::Waiting {
            reason: "ClusterNotFound",
            message: format!(
                "spec.cluster: there is no VaultCluster {}/{}: create it, or correct the name",
                identity.cluster.namespace, identity.cluster.name
            ),
        });
    };
    let verdict = validate::validate(&role.spec, &identity.namespace, &cluster.spec.access);
    let verdict = verdict.and_then(|mut validated| {
        let (name, access) = ((&*identity.namespace, &*identity.name), &cluster.spec.access);
        let methods = &cluster.spec.configuration.auth_methods;
        (validated.person, validated.provider) = validate::people(&role.spec, name, access, methods)?;
        if cluster.spec.external.is_some() {
            validate::elsewhere(&validated)?;
        }
        Ok(validated)
    });
    progress.accepted = Some(verdict.is_ok());
    if cluster.spec.paused {
        return Ok(match verdict {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(_) => Outcome::Waiting {
                reason: "ClusterPaused",
                message: "the VaultCluster is paused (spec.paused): nothing is changed in it".to_owned(),
            },
        });
    }
    let mut validated = match verdict {
        Ok(validated) => validated,
        Err(refusal) => {
            progress.refusal = Some(refusal.clone());
            // It was accepted before. Access that was taken away in the cluster's spec must end in Vault too.
            if refusal.withdraws && finalizer::is_set(role) {
                withdraw(role, identity, ctx, &cluster, progress).await?;
            }
            return Ok(Outcome::Refused(refusal));
        }
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::Waiting {
            reason: "ClusterDeleted",
            message: "the VaultCluster is being deleted".to_owned(),
        });
    }
    if let Some(accounts) = &mut validated.kubernetes
        && !accounts.select(&ctx.namespaces)
    {
        // The labels of namespaces are not read yet. Once they are, this role is woken; until then it stays as it is.
        return Ok(Outcome::Begun);
    }
    let applied = sweep::fingerprint(role, &validated, &cluster);
    match ctx.sweep.task(role, identity, &cluster, &applied) {
        Task::Rest(wait) => {
            tell_clients(ctx, identity, &cluster).await?;
            if let Some(certificate) = &validated.certificate
                && let Some(told) = ca_config_map::ensure(ctx, identity, &cluster).await?
            {
                certificate::refresh_cas(ctx, identity, certificate, &told.ca).await?;
            }
            return Ok(Outcome::AtRest(wait));
        }
        Task::Compare(begun) => *comparison = Some(begun),
        Task::All => {}
    }
    if finalizer::add(ctx, role).await? {
        return Ok(Outcome::Begun);
    }
    let told = ca_config_map::ensure(ctx, identity, &cluster).await?;
    let login = told
        .as_ref()
        .and_then(|told| external_login(&cluster, &told.address));
    tell_if_it_moved(role, ctx, progress, login.as_ref()).await;
    let written_before = was_written_to(role, login.as_ref());
    progress.external.clone_from(&login);
    if let (Some(told), Some(certificate)) = (&told, &validated.certificate) {
        certificate::refresh_cas(ctx, identity, certificate, &told.ca).await?;
    }
    progress.config_map = told.as_ref().map(|told| told.name.clone());
    let vault = session(ctx, &cluster).await?;
    let vault = comparison
        .as_ref()
        .map_or_else(|| vault.clone(), |comparison| comparison.paced(&vault));
    let elsewhere = match login {
        Some(login) => Some(Elsewhere {
            owner: owner::of_this_kubernetes(ctx).await?,
            audience: login.audience,
        }),
        None => None,
    };
    let place = InVault {
        vault: &vault,
        kubernetes_path: cluster.spec.kubernetes_auth_path(),
        elsewhere: elsewhere.as_ref(),
        written_before,
        told: told.as_ref(),
    };
    let result = provide_in_vault(role, identity, ctx, place, &validated, progress).await;
    forget_a_spoilt_session(ctx, &cluster, &result).await;
    result?;
    progress.applied = Some(applied);
    Ok(Outcome::InPlace)
}

/// Has the ConfigMap of a namespace tell the present CA, once for all the roles at rest in it.
async fn tell_clients(ctx: &Context, identity: &Identity, cluster: &VaultCluster) -> Result<(), Error> {
    let Identity {
        namespace,
        cluster: name,
        ..
    } = identity;
    if let Some(ca) = ctx.sweep.untold_ca(namespace, cluster, name) {
        ca_config_map::ensure(ctx, identity, cluster).await?;
        ctx.sweep.tell(namespace, name, ca);
    }
    Ok(())
}

/// How injected pods log in, where the Vault runs elsewhere.
fn external_login(cluster: &VaultCluster, address: &str) -> Option<ExternalLoginStatus> {
    let vault = cluster.spec.external.as_ref()?;
    Some(ExternalLoginStatus {
        address: address.to_owned(),
        auth_path: vault.kubernetes_auth.path.clone(),
        audience: names::client_audience(cluster.metadata.uid.as_deref().unwrap_or_default(), address),
        namespace: vault.namespace.clone(),
    })
}

/// Address and namespace of a Vault that runs elsewhere.
fn place_of(login: &ExternalLoginStatus) -> (&str, Option<&str>) {
    (&login.address, login.namespace.as_deref())
}

/// Whether this role was written to this very Vault before.
fn was_written_to(role: &VaultRole, login: Option<&ExternalLoginStatus>) -> bool {
    let Some(status) = &role.status else { return false };
    status.vault_name.is_some() && status.external.as_ref().map(place_of) == login.map(place_of)
}

/// The same of the VaultRole as the API server has it now.
async fn was_written_lately(role: &VaultRole, ctx: &Context, progress: &Progress) -> Result<bool, Error> {
    let namespace = role.namespace().unwrap_or_default();
    let api: Api<VaultRole> = Api::namespaced(ctx.client.clone(), &namespace);
    // A list of one needs no further right.
    let this = ListParams::default().fields(&format!("metadata.name={}", role.name_any()));
    let now = api.list(&this).await;
    let now = now.map_err(|e| Error::kubernetes("read the VaultRole", e))?;
    Ok(now
        .iter()
        .any(|now| now.uid() == role.uid() && was_written_to(now, progress.external.as_ref())))
}

/// What a VaultCluster that names another Vault, or another auth method in it, leaves where nobody looks any more.
fn left_behind(
    before: &ExternalLoginStatus,
    now: Option<&ExternalLoginStatus>,
    name: &str,
) -> Option<String> {
    let ExternalLoginStatus {
        address,
        auth_path,
        audience: _,
        namespace,
    } = before;
    if now.map(place_of) == Some(place_of(before)) {
        let same_path = now.is_some_and(|now| now.auth_path == *auth_path);
        return (!same_path).then(|| {
            format!(
                "the VaultCluster names another auth method now. Left behind in {address}: auth/{auth_path}/role/{name}; \
                 remove it by hand"
            )
        });
    }
    let inside = namespace.as_ref().map(|inside| format!(", namespace {inside}"));
    Some(format!(
        "the VaultCluster names another Vault now. Left behind in {address}{}: policy, AppRole role and Kubernetes auth \
         role `{name}`; remove them by hand",
        inside.unwrap_or_default()
    ))
}

async fn tell_if_it_moved(
    role: &VaultRole,
    ctx: &Context,
    progress: &Progress,
    now: Option<&ExternalLoginStatus>,
) {
    let (Some(before), Some(name)) = (&progress.external, &progress.vault_name) else {
        return;
    };
    let Some(note) = left_behind(before, now, name) else {
        return;
    };
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::LeftBehind, "", &note)
        .await;
}

async fn session(ctx: &Context, cluster: &VaultCluster) -> Result<Client, Error> {
    ctx.sessions
        .active(ctx, &Target::from(cluster))
        .await
        .map_err(|e| Error::Session(Box::new(e)))
}

async fn forget_a_spoilt_session<T>(ctx: &Context, cluster: &VaultCluster, result: &Result<T, Error>) {
    if let Err(error) = result
        && error.spoils_the_session()
    {
        ctx.sessions
            .forget(cluster.metadata.uid.as_deref().unwrap_or_default())
            .await;
    }
}

/// Where a role is written to.
struct InVault<'a> {
    vault: &'a Client,
    /// Path of the auth method for ServiceAccounts.
    kubernetes_path: &'a str,
    /// What is different where others are.
    elsewhere: Option<&'a Elsewhere>,
    /// Whether the role was written there before.
    written_before: bool,
    /// What clients are told of it.
    told: Option<&'a Told>,
}

async fn provide_in_vault(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    InVault {
        vault,
        kubernetes_path,
        elsewhere,
        written_before,
        told,
    }: InVault<'_>,
    validated: &Validated,
    progress: &mut Progress,
) -> Result<(), Error> {
    let desired = desired::desired(&identity.namespace, &identity.name, validated, elsewhere);
    let object = role.object_ref(&());
    let known = further::known(ctx, role, identity);
    let wanted: BTreeSet<String> = desired.further.keys().cloned().collect();
    let paths = &known | &wanted;
    if let Some(place) = elsewhere {
        let by_certificate = certificate::is_mentioned(role);
        let there = owner::look(vault, kubernetes_path, &desired.name, &paths, by_certificate).await?;
        let is_anothers = |before| owner::whose(&there, &place.owner, before) == Whose::Anothers;
        // The watch may be behind the status of the last pass, which says that the name is this role's.
        if is_anothers(written_before) && is_anothers(was_written_lately(role, ctx, progress).await?) {
            return Err(Error::NameTaken {
                kind: "policy, AppRole role or Kubernetes auth role",
                name: desired.name,
                remedy: "somebody else made it in that Vault: whoever did must remove it there, or rename the VaultRole",
            });
        }
    }
    if !status::is_in_place(role) {
        let mounts = desired.mounts(kubernetes_path);
        mount_limits::check(vault, &mounts, &validated.token).await?;
    }
    let password = match &validated.person {
        Some(person) => Some(password::read(ctx, identity, person).await?),
        None => None,
    };
    progress.vault_name = Some(desired.name.clone());
    progress.further.clone_from(&paths);
    if !wanted.is_subset(&known) {
        further::note(ctx, identity, &paths).await?;
    }
    let changed = execute::apply(vault, kubernetes_path, &desired).await?;
    let mut changed: Vec<String> = changed.into_iter().map(str::to_owned).collect();
    let unseen = |path: &str, is_there: bool| {
        let password = password.as_ref().filter(|_| path.contains("/users/"))?;
        let is_written = is_there && progress.password_version.as_ref() == Some(&password.version);
        (!is_written).then(|| password.fields())
    };
    changed.extend(further::apply(vault, &desired.further, &known, &unseen).await?);
    progress.password_version = password.map(|password| password.version);
    progress.further.clone_from(&wanted);
    further::remember(ctx, identity, &wanted);
    let accounts = validated.kubernetes.as_ref();
    progress.namespaces = accounts.map(Accounts::told).unwrap_or_default();
    if !changed.is_empty() {
        let note = format!(
            "{} `{}` brought to the declared state in Vault",
            changed.join(", "),
            desired.name
        );
        ctx.reporter
            .publish(&object, Reason::IdentityWritten, "", &note)
            .await;
    }
    let secret_name = validated.app_role.as_ref().map(|wish| &wish.secret_name);
    if let Some(wish) = &validated.app_role {
        let task = credentials::Task {
            identity,
            object: &object,
            vault_name: &desired.name,
            wish,
            request: role.annotations().get(ROTATE).cloned(),
            former: progress.secret.as_deref().filter(|old| *old != wish.secret_name),
            address: told.map_or("", |told| &told.address),
            ca: told.map_or("", |told| &told.ca),
        };
        let done = Box::pin(credentials::ensure(ctx, vault, &task)).await?;
        progress.app_role = rotation::report::status(&done.state, wish, &identity.uid);
        progress.next = rotation::report::look_again(&done.state, wish, &identity.uid, Timestamp::now());
        report_credentials(ctx, &object, &wish.secret_name, &done).await;
    } else {
        progress.app_role = None;
    }
    // The Secret of an earlier name goes only when the new one is there.
    if let Some(old) = &progress.secret
        && Some(old) != secret_name
    {
        credentials::remove(ctx, identity, old).await?;
    }
    progress.secret = secret_name.cloned();
    let token = Token {
        ctx,
        vault,
        identity,
        name: &desired.name,
    };
    deliver(&token, &object, validated, &desired, progress).await?;
    let certificate = validated.certificate.as_ref();
    let certificate = certificate.map(|certificate| certificate::Wanted {
        certificate,
        token: &desired.token,
        cas: told.map_or("", |told| told.ca.as_str()),
    });
    let due = Box::pin(keep_certificate(role, identity, ctx, vault, certificate)).await?;
    progress.next = progress.next.into_iter().chain(due.map(until)).min();
    Ok(())
}

/// Keeps the token in its Secret, or takes it away.
async fn deliver(
    token: &Token<'_>,
    object: &ObjectReference,
    validated: &Validated,
    desired: &Desired,
    progress: &mut Progress,
) -> Result<(), Error> {
    let Token { ctx, identity, .. } = token;
    let before = progress.token.clone();
    let known = before.as_ref().and_then(|before| before.accessor.as_deref());
    let delivery = validated.delivery.as_ref();
    if let Some(delivery) = delivery {
        let done = token.ensure(delivery, &desired.token, known).await?;
        let secret = &delivery.secret_name;
        if done.issued {
            let note = format!("a new token is stored in Secret {secret}");
            ctx.reporter
                .publish(object, Reason::CredentialsIssued, secret, &note)
                .await;
        }
        if done.revoked > 0 {
            let note = format!(
                "{} tokens that are not in Secret {secret} are revoked",
                done.revoked
            );
            ctx.reporter
                .publish(object, Reason::CredentialsDestroyed, secret, &note)
                .await;
        }
        progress.next = progress.next.into_iter().chain([done.next]).min();
        progress.token = Some(DeliveredToken {
            secret_name: secret.clone(),
            accessor: done.accessor,
        });
    }
    // The Secret of an earlier name goes only when the new one is there.
    if let Some(before) = &before
        && Some(&before.secret_name) != delivery.map(|delivery| &delivery.secret_name)
    {
        let old = BTreeSet::from([before.secret_name.clone()]);
        token.end(&old, known).await?;
        // AppRole credentials may lie there now.
        let app_role = validated.app_role.as_ref().map(|wish| &wish.secret_name);
        if Some(&before.secret_name) != app_role {
            credentials::remove(ctx, identity, &before.secret_name).await?;
        }
        if delivery.is_none() {
            progress.token = None;
        }
    }
    Ok(())
}

/// Keeps the client certificate, or takes away the one that the spec asks for no more. When the next one is due.
async fn keep_certificate(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    vault: &Client,
    wanted: Option<certificate::Wanted<'_>>,
) -> Result<Option<Timestamp>, Error> {
    let noted = role
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref());
    let secret = wanted
        .as_ref()
        .map(|wanted| wanted.certificate.secret_name.clone());
    let done = match (wanted, noted) {
        (Some(wanted), _) => certificate::ensure(ctx, vault, identity, role, wanted).await?,
        (None, Some(noted)) => certificate::Done {
            revoked: certificate::withdraw(ctx, vault, identity, noted).await?,
            ..certificate::Done::default()
        },
        (None, None) => return Ok(None),
    };
    let certificate::Done {
        role_written,
        issued,
        revoked,
        due,
    } = done;
    let tell = async |reason, note: String| {
        ctx.reporter
            .publish(&role.object_ref(&()), reason, "", &note)
            .await;
    };
    if role_written {
        let note = format!(
            "certificate auth role `{}` brought to the declared state in Vault",
            identity.vault_name()
        );
        tell(Reason::IdentityWritten, note).await;
    }
    if let Some((serial, until)) = issued {
        let secret = secret.unwrap_or_default();
        let note = format!(
            "a client certificate with serial {serial}, good until {until}, is stored in Secret {secret}"
        );
        tell(Reason::CertificateIssued, note).await;
    }
    if revoked > 0 {
        let note =
            format!("{revoked} client certificates are revoked: they were lost, or are not wanted any more");
        tell(Reason::CredentialsDestroyed, note).await;
    }
    Ok(due)
}

async fn report_credentials(ctx: &Context, object: &ObjectReference, secret: &str, done: &credentials::Done) {
    let credentials::Done {
        issued,
        destroyed,
        state: _,
    } = done;
    if let Some(cause) = issued {
        let note = format!("new credentials are stored in Secret {secret}: {}", cause.words());
        ctx.reporter
            .publish(object, Reason::CredentialsIssued, secret, &note)
            .await;
    }
    if *destroyed > 0 {
        let note = format!(
            "{destroyed} secret-ids that were not in Secret {secret}, or had been long enough, are destroyed"
        );
        ctx.reporter
            .publish(object, Reason::CredentialsDestroyed, secret, &note)
            .await;
    }
}

/// Takes away what a role had that its cluster does not allow any more.
async fn withdraw(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    cluster: &VaultCluster,
    progress: &mut Progress,
) -> Result<(), Error> {
    if let Err(error) = delete::remove_from_vault(role, identity, ctx, cluster).await
        && !delete::nothing_is_there(&error, role)
    {
        return Err(error);
    }
    for secret in delete::secrets_of(role) {
        credentials::remove(ctx, identity, &secret).await?;
    }
    (progress.secret, progress.app_role, progress.vault_name) = (None, None, None);
    progress.namespaces.clear();
    progress.further.clear();
    (progress.token, progress.password_version) = (None, None);
    finalizer::remove(ctx, role).await?;
    if certificate::is_mentioned(role) {
        certificate::forget(ctx, identity).await?;
    }
    let note = "the VaultCluster does not allow this any more: policy, roles and Secret are removed";
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::AccessWithdrawn, "", note)
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str, auth_path: &str) -> ExternalLoginStatus {
        ExternalLoginStatus {
            address: address.to_owned(),
            auth_path: auth_path.to_owned(),
            ..ExternalLoginStatus::default()
        }
    }

    #[test]
    fn what_stays_where_nobody_looks_any_more_is_told() {
        let before = login("https://a.example.com:8200", "kubernetes");
        assert_eq!(
            left_behind(&before, Some(&before), "shop.app"),
            None,
            "the same place"
        );
        let told = left_behind(
            &before,
            Some(&login("https://b.example.com:8200", "kubernetes")),
            "shop.app",
        );
        let told = told.expect("another Vault");
        assert!(
            told.contains("https://a.example.com:8200") && told.contains("`shop.app`"),
            "{told}"
        );
        let told = left_behind(
            &before,
            Some(&login("https://a.example.com:8200", "other")),
            "shop.app",
        );
        let told = told.expect("another auth method");
        assert!(
            told.contains("auth/kubernetes/role/shop.app") && !told.contains("policy"),
            "{told}"
        );
    }
}
