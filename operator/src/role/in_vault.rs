//! Writes to Vault what a role asks for, and has handed out what it gives.

use std::collections::BTreeSet;

use kube::Resource as _;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_vault::Client;

use super::ca_config_map::Told;
use super::desired::{self, Elsewhere};
use super::error::Error;
use super::failures::Failures;
use super::hand_out::HandOut;
use super::owner::{self, Whose};
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
    /// Whether this very wish was in place before.
    pub(super) applied_before: bool,
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
        applied_before,
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
        if owner::whose(&there, &place.owner, written_before) == Whose::Anothers {
            return Err(Error::NameTaken {
                kind: "policy, AppRole role or Kubernetes auth role",
                name: desired.name,
                remedy: "somebody else made it in that Vault: whoever did must remove it there, or rename the VaultRole",
            });
        }
    }
    // What was in place once is kept up: a mount whose owner has tuned it since then must not end its rotations.
    if !applied_before && !status::is_in_place(role) {
        let mounts = desired.mounts(kubernetes_path);
        mount_limits::check(vault, &mounts, &validated.token).await?;
    }
    let mut failures = Failures::default();
    let password = match &validated.person {
        // At first there is nothing that it could hold up.
        Some(person) if progress.vault_name.is_none() => Some(password::read(ctx, identity, person).await?),
        Some(person) => failures.keep(password::read(ctx, identity, person).await)?,
        None => None,
    };
    let lacks_password = validated.person.is_some() && password.is_none();
    progress.vault_name = Some(desired.name.clone());
    progress.further.clone_from(&paths);
    if !wanted.is_subset(&known) {
        further::note(ctx, identity, &paths).await?;
    }
    let changed = execute::apply(vault, kubernetes_path, &desired, &mut failures).await?;
    let mut changed: Vec<String> = changed.into_iter().map(str::to_owned).collect();
    let unseen = |path: &str, is_there: bool| {
        let password = password.as_ref().filter(|_| path.contains("/users/"))?;
        let is_written = is_there && progress.password_version.as_ref() == Some(&password.version);
        (!is_written).then(|| password.fields())
    };
    let held_up = |path: &str| lacks_password && path.contains("/users/");
    let applied = further::apply(vault, &desired.further, &known, &unseen, &held_up, &mut failures).await?;
    changed.extend(applied.changed);
    let is_user_written = !applied.failed.iter().any(|path| path.contains("/users/"));
    if !lacks_password && is_user_written {
        progress.password_version = password.map(|password| password.version);
    }
    let left = &wanted | &applied.failed;
    further::remember(ctx, identity, &left);
    progress.further = left;
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
    // A token of a role that is not as it is wanted would be none that is wanted.
    let of_token = further::token_role(&desired.name);
    let with_token = !(wanted.contains(&of_token) && applied.failed.contains(&of_token));
    failures.keep(hand_out.all(progress, with_token).await)?;
    failures.end()
}
