//! Carries out the steps of a plan. Each may be interrupted before or after any call and repeated.

use std::sync::OnceLock;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio::time::{Instant, timeout};
use vaultkeeper_crds::cluster::ConfigurationStatus;
use vaultkeeper_crds::names;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::sys::init::{InitRequest, Split as KeySplit};

use super::build::volume_claim;
use super::error::{Error, unless_gone};
use super::key_store::{self, Stored};
use super::keys::{self, KeyKind, KeyRecord, SealRecord};
use super::plan::Step;
use super::validate::{Seal, Split, Storage, Validated};
use super::{bootstrap, configure, hand_over, migration};
use crate::context::Context;
use crate::members::{Member, Probe};
use crate::report::Reason;
use crate::sessions;

/// `sys/init` takes 5 to 9 s on an idle machine; giving up early would lose the shares.
pub const INIT_TIMEOUT: Duration = Duration::from_secs(150);
/// The last share makes a joining member fetch its data.
const UNSEAL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long shares that were sent may take to show.
const UNSEAL_SETTLES: Duration = Duration::from_secs(10);
/// How long storing the shares is tried: they exist nowhere else.
const STORE_DEADLINE: Duration = Duration::from_secs(600);
/// How long one try may take: a connection that died silently must not hold them.
const STORE_TRY: Duration = Duration::from_secs(20);

/// What a cluster is initialised with whose shares go to custodians.
const SINGLE: Split = Split {
    shares: 1,
    threshold: 1,
};

/// What the steps work on.
pub(crate) struct Scope<'a> {
    /// Shared.
    pub ctx: &'a Context,
    /// The VaultCluster in events.
    pub reference: &'a ObjectReference,
    /// The checked spec.
    pub cluster: &'a Validated,
    /// The members.
    pub members: &'a [Member],
    /// The key Secret.
    pub record: Option<&'a KeyRecord>,
    /// What was applied of the declared configuration, as the status has it.
    pub applied: Option<&'a ConfigurationStatus>,
    /// Where a look at the declared configuration leaves what it found.
    pub findings: &'a OnceLock<configure::Findings>,
}

impl Scope<'_> {
    /// Publishes an event about the cluster.
    pub(crate) async fn event(&self, reason: Reason, subject: &str, note: &str) {
        self.ctx
            .reporter
            .publish(self.reference, reason, subject, note)
            .await;
    }

    /// A client for a member, which must have an address.
    pub(crate) fn client(&self, member: &Member, timeout: Duration) -> Result<Option<Client>, Error> {
        member
            .node
            .as_ref()
            .map(|node| self.ctx.vault.connect(node, timeout))
            .transpose()
            .map_err(Error::from)
    }

    /// Logs in anew the next time, if the operator's session may be at fault for an error.
    pub(crate) async fn forget_a_spoilt_session<T>(&self, result: &Result<T, Error>) {
        if let Err(error) = result
            && error.vault_cause().is_some_and(sessions::is_spoilt_by)
        {
            self.ctx.sessions.forget(&self.cluster.uid).await;
        }
    }
}

/// Carries out one step. True: look again at once, since more is to be done.
pub(crate) async fn execute(scope: &Scope<'_>, step: &Step) -> Result<bool, Error> {
    match (step, scope.record) {
        (Step::Mark, _) => {
            hand_over::check_keys(&scope.cluster.seal)?;
            key_store::create_marker(scope.ctx, scope.cluster).await?;
            Ok(true)
        }
        (Step::Initialize, Some(record)) => initialize(scope, record).await.map(|()| true),
        (Step::BeginWipe { volume }, Some(record)) => {
            key_store::begin_wipe(scope.ctx, scope.cluster, &record.attempt, volume).await?;
            scope.event(Reason::InitializationRepeated, "", "the answer of sys/init was lost before its keys were stored: the empty store is thrown away and initialised again").await;
            Ok(true)
        }
        (Step::Wipe { volume }, _) => wipe(scope, volume).await.map(|()| true),
        (Step::EndWipe, Some(record)) => key_store::end_wipe(scope.ctx, scope.cluster, &record.attempt)
            .await
            .map(|()| true),
        (Step::StartOver, Some(record)) => start_over(scope, record).await.map(|()| true),
        (Step::RecordSeals(seals), Some(record)) => record_seals(scope, record, seals).await.map(|()| false),
        (Step::RecordSeal(note), Some(record)) => {
            migration::act::record(scope, record, note).await.map(|()| true)
        }
        (Step::Unseal { member }, Some(record)) => unseal(scope, record, &scope.members[*member])
            .await
            .map(|()| true),
        (Step::Bootstrap, Some(record)) => bootstrap::bootstrap(scope, record).await.map(|()| true),
        (Step::HandOver, Some(record)) => hand_over::hand_over(scope, record).await,
        (Step::Configure, Some(_)) => configure::upkeep(scope).await.map(|()| false),
        // The plan makes these only with a record.
        (_, None) => Ok(false),
    }
}

/// Runs all unseal steps at once: each blocks for a second or two on a joining member. What is done at the active member
/// comes last, and an error of one part of it does not keep the others from their work.
pub(crate) async fn execute_all(scope: &Scope<'_>, steps: &[Step]) -> Result<bool, Error> {
    let at_the_active = |s: &&&Step| matches!(s, Step::Bootstrap | Step::Configure | Step::HandOver);
    let (unseals, others): (Vec<&Step>, Vec<&Step>) =
        steps.iter().partition(|s| matches!(s, Step::Unseal { .. }));
    let mut again = false;
    for step in others.iter().filter(|s| !at_the_active(s)) {
        again |= execute(scope, step).await?;
    }
    let mut results = join_all(unseals.iter().map(|step| execute(scope, step))).await;
    for step in others.iter().filter(at_the_active) {
        results.push(execute(scope, step).await);
    }
    // Of the active member first: the rest waits for it.
    for result in results.into_iter().rev() {
        again |= result?;
    }
    Ok(again)
}

/// The shares exist only in this function between Vault's reply and the write.
async fn initialize(scope: &Scope<'_>, record: &KeyRecord) -> Result<(), Error> {
    let Some(first) = scope.members.first() else {
        return Ok(());
    };
    let Some(client) = scope.client(first, INIT_TIMEOUT)? else {
        return Ok(());
    };
    // A key to which nothing can be encrypted is better told while nothing depends on it.
    hand_over::check_keys(&scope.cluster.seal)?;
    let (kind, Split { shares, threshold }) = match &scope.cluster.seal {
        // The custodians get theirs when the cluster is set up and needs no root token any more.
        Seal::Shamir { custodians, .. } if !custodians.is_empty() => (KeyKind::Unseal, SINGLE),
        Seal::Shamir { split, .. } => (KeyKind::Unseal, *split),
        Seal::Auto { recovery, .. } => (KeyKind::Recovery, *recovery),
    };
    let split = KeySplit {
        shares,
        threshold,
        pgp_keys: Vec::new(),
    };
    let request = match kind {
        KeyKind::Unseal => InitRequest::Shamir(split),
        KeyKind::Recovery => InitRequest::AutoUnseal(split),
    };
    let answer = client
        .on_this_node()
        .init(&request)
        .await
        .map_err(|e| Error::vault("initialise", &first.name, e))?;
    let root_token = answer.root_token.expose().to_owned().into();
    let keys = match kind {
        KeyKind::Unseal => &answer.keys,
        KeyKind::Recovery => &answer.recovery_keys,
    };
    let data = keys::initialized_data(kind, keys, usize::from(threshold), &root_token);
    let deadline = Instant::now() + STORE_DEADLINE;
    let mut pause = Duration::from_millis(100);
    loop {
        let storing = key_store::store_initialized(scope.ctx, scope.cluster, &record.attempt, &data);
        let tried = timeout(STORE_TRY, storing)
            .await
            .unwrap_or(Err(Error::StoreTimedOut(STORE_TRY)));
        match tried {
            Ok(Stored::Yes) => break,
            Ok(Stored::Abandoned) => return Err(Error::Abandoned),
            Err(error) if Instant::now() + pause > deadline => return Err(error),
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the keys could not be stored yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
    let note = format!(
        "initialised with {shares} {}, {threshold} of which are needed; they are in Secret {}",
        kind.words(),
        names::key_secret(&scope.cluster.namespace, &scope.cluster.name)
    );
    scope.event(Reason::Initialized, "", &note).await;
    Ok(())
}

/// Only the condemned volume and the pod on it: both are named by their UID or die with it.
async fn wipe(scope: &Scope<'_>, volume: &str) -> Result<(), Error> {
    let Validated { namespace, name, .. } = scope.cluster;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(scope.ctx.client.clone(), namespace);
    let only_this = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(volume.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    if matches!(scope.cluster.storage, Storage::Raft(_)) {
        unless_gone(
            "delete the volume of a lost initialisation",
            claims.delete(&volume_claim(name, 0), &only_this).await,
        )?;
    }
    let pods: Api<Pod> = Api::namespaced(scope.ctx.client.clone(), namespace);
    // The claim goes when no pod uses it any more.
    unless_gone(
        "delete the first member's pod",
        pods.delete(&names::member(name, 0), &DeleteParams::default())
            .await,
    )
}

/// The keys of a memory that is gone are forgotten, with all that was known of the Vault in it.
async fn start_over(scope: &Scope<'_>, record: &KeyRecord) -> Result<(), Error> {
    key_store::start_over(scope.ctx, scope.cluster, record).await?;
    let uid = &scope.cluster.uid;
    scope.ctx.sessions.forget(uid).await;
    scope.ctx.recent.forget(&format!("{uid}/configure"));
    let note = "the member restarted, and its data with it: a new, empty Vault is initialised";
    scope.event(Reason::InitializationRepeated, "", note).await;
    Ok(())
}

async fn record_seals(scope: &Scope<'_>, record: &KeyRecord, seals: &SealRecord) -> Result<(), Error> {
    key_store::record_seals(scope.ctx, scope.cluster, record, seals).await?;
    for member in seals.latched.difference(&record.seals.latched) {
        let note = format!(
            "{member} was sealed on purpose and stays sealed{}. To release it: kubectl annotate vc {} -n {} {}=\"<reason>\"",
            match scope.cluster.auto_seal() {
                None => ", also after a restart",
                Some(_) => " until its process restarts",
            },
            scope.cluster.name,
            scope.cluster.namespace,
            vaultkeeper_crds::annotations::RELEASE_SEAL
        );
        scope.event(Reason::SealLatched, member, &note).await;
    }
    if let Some(by) = scope.cluster.seal.auto() {
        let undone = record.seals.latched.difference(&seals.latched);
        // Released ones leave both lists; unsealed by hand means the same process.
        for member in undone.filter(|m| {
            let now = seals.unsealed.get(*m);
            now.is_some() && now != record.seals.unsealed.get(*m)
        }) {
            let note = format!(
                "{member} was sealed on purpose and serves again: a restarted process is unsealed by {}",
                by.describe()
            );
            scope.event(Reason::SealReleased, member, &note).await;
        }
    }
    Ok(())
}

async fn unseal(scope: &Scope<'_>, record: &KeyRecord, member: &Member) -> Result<(), Error> {
    let Some(client) = scope.client(member, UNSEAL_TIMEOUT)? else {
        return Ok(());
    };
    let key = format!(
        "{}/unseal/{}/{}",
        scope.cluster.uid,
        member.name,
        member.container.as_deref().unwrap_or_default()
    );
    if scope.ctx.recent.is_fresh(&key, 0, UNSEAL_SETTLES, Instant::now()) {
        return Ok(());
    }
    if !record.hand_over.is_empty() {
        hand_over::check_stored(scope, record, member, &client).await?;
    }
    if matches!(member.probe, Probe::Sealed { progress: 1.. }) {
        // Shares of somebody else, or of an operator that died: one wrong among them would spoil the right ones.
        client
            .on_this_node()
            .reset_unseal()
            .await
            .map_err(|e| Error::vault("reset the unsealing", &member.name, e))?;
    }
    for share in record.shares.iter().take(record.threshold) {
        let node = client.on_this_node();
        let given = if member.migrating {
            node.unseal_migrating(share).await
        } else {
            node.unseal(share).await
        };
        let status = given.map_err(|error| match error {
            vaultkeeper_vault::Error::BadRequest { .. } if !record.hand_over.is_empty() => {
                hand_over::note_refusal(scope, member)
            }
            vaultkeeper_vault::Error::BadRequest { .. } => Error::WrongShares {
                member: member.name.clone(),
                secret: names::key_secret(&scope.cluster.namespace, &scope.cluster.name),
            },
            error => Error::vault("unseal", &member.name, error),
        })?;
        if !status.sealed {
            break;
        }
    }
    // A joining member still says that it is sealed for a second after the last good share.
    scope.ctx.recent.mark(key, 0, Instant::now());
    scope
        .event(
            Reason::Unsealed,
            &member.name,
            &format!("the shares were sent to {}", member.name),
        )
        .await;
    Ok(())
}
