//! Writes to Vault what a role asks for, and has handed out what it gives.

use std::collections::BTreeSet;

use kube::Resource as _;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_vault::Client;

use super::ca_config_map::Told;
use super::desired::{self, Elsewhere};
use super::error::Error;
use super::hand_out::HandOut;
use super::owner::{self, Whose};
use super::place::was_written_lately;
use super::status::{self, Progress};
use super::validate::{Accounts, Validated};
use super::{Identity, certificate, execute, further, mount_limits, password};
use crate::context::Context;
use crate::report::Reason;

/// Where a role is written to.
pub(super) struct InVault<'a> {
    pub(super) vault: &'a Client,
    /// Path of the auth method for ServiceAccounts.
    pub(super) kubernetes_path: &'a str,
    /// What is different where others are.
    pub(super) elsewhere: Option<&'a Elsewhere>,
    /// Whether the role was written there before.
    pub(super) written_before: bool,
    /// What clients are told of it.
    pub(super) told: Option<&'a Told>,
}

/// Brings what is in Vault to the declared state, and the Secrets after it.
pub(super) async fn provide_in_vault(
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
    let known = further::known(ctx, role, identity);
    let wanted: BTreeSet<String> = desired.further.keys().cloned().collect();
    let paths = &known | &wanted;
    if let Some(place) = elsewhere {
        let by_certificate = certificate::is_mentioned(role);
        let there = owner::look(vault, kubernetes_path, &desired.name, &paths, by_certificate).await?;
        let is_anothers = |before| owner::whose(&there, &place.owner, before) == Whose::Anothers;
        // The watch may be behind the status of the last pass, which says that the name is this role's.
        if is_anothers(written_before) && is_anothers(was_written_lately(identity, ctx, progress).await?) {
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
            .publish(&role.object_ref(&()), Reason::IdentityWritten, "", &note)
            .await;
    }
    let hand_out = HandOut {
        role,
        identity,
        ctx,
        vault,
        desired: &desired,
        validated,
        told,
    };
    hand_out.all(progress).await
}
