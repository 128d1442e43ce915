//! Ways in that few VaultRoles have: a token role, a user, a role for tokens of a provider. Each is one object at a path of
//! its own in Vault.
//!
//! Their paths are noted in the status before they are written, so that nothing is read from Vault for those who have
//! none, and what is taken out of the spec is found again.

use std::collections::{BTreeMap, BTreeSet};

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use vaultkeeper_crds::VaultRole;
use vaultkeeper_vault::Client;

use super::Identity;
use super::error::Error;
use super::execute::found;
use super::failures::Failures;
use crate::context::Context;

/// What is to be at a path: the fields of a write, all of which are compared with what is read.
pub type Fields = Map<String, Value>;

fn memory(identity: &Identity) -> String {
    format!("further/{}", identity.uid)
}

/// Paths at which something of this VaultRole may be: as its status says and, since the watch may be behind it, as this
/// process remembers.
pub(super) fn known(ctx: &Context, role: &VaultRole, identity: &Identity) -> BTreeSet<String> {
    let noted = role.status.iter().flat_map(|status| &status.further_paths);
    let name = identity.vault_name();
    // Who can edit the status must not choose what is deleted.
    let mut known: BTreeSet<String> = noted.filter(|path| is_of(path, &name)).cloned().collect();
    if let Some(kept) = ctx.recent.kept::<BTreeSet<String>>(&memory(identity)) {
        known.extend(kept.iter().cloned());
    }
    known
}

/// Where the token role of this name is.
pub(super) fn token_role(name: &str) -> String {
    format!("auth/token/roles/{name}")
}

/// Whether a path is one of those that a VaultRole of this name in Vault can have.
fn is_of(path: &str, name: &str) -> bool {
    let Some(inner) = path.strip_prefix("auth/") else {
        return false;
    };
    let mount = ["/roles/", "/users/", "/role/"]
        .iter()
        .find_map(|family| inner.strip_suffix(name)?.strip_suffix(family));
    mount.is_some_and(|mount| {
        !mount.is_empty() && mount.split('/').all(|step| !step.is_empty() && step != "..")
    })
}

/// Notes that something may be at these paths.
pub(super) async fn note(ctx: &Context, identity: &Identity, paths: &BTreeSet<String>) -> Result<(), Error> {
    ctx.recent.keep(memory(identity), paths.clone());
    let api: Api<VaultRole> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    let patch = json!({ "metadata": { "uid": identity.uid }, "status": { "furtherPaths": paths } });
    let written = api
        .patch_status(&identity.name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    ctx.sweep.written.note(&identity.uid, &written);
    written
        .map(drop)
        .map_err(|e| Error::kubernetes("note in the status what is written to Vault", e))
}

/// Forgets all but these paths.
pub(super) fn remember(ctx: &Context, identity: &Identity, paths: &BTreeSet<String>) {
    if paths.is_empty() {
        ctx.recent.forget(&memory(identity));
    } else {
        ctx.recent.keep(memory(identity), paths.clone());
    }
}

/// Whether something is at any of these paths.
pub(super) async fn any(vault: &Client, paths: &BTreeSet<String>) -> Result<bool, Error> {
    for path in paths {
        if found("read a further login", vault.read(path).await)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads what is there, writes what differs, and removes what is not wanted any more. `unseen`: what is to
/// be written at a path, where something is or not, that cannot be read back. What is `held_up` stays as it is. A path that
/// fails holds no other up.
pub(super) async fn apply(
    vault: &Client,
    wanted: &BTreeMap<String, Fields>,
    known: &BTreeSet<String>,
    unseen: &(dyn Fn(&str, bool) -> Option<Fields> + Sync),
    held_up: &(dyn Fn(&str) -> bool + Sync),
    failures: &mut Failures,
) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    for path in known.iter().filter(|path| !wanted.contains_key(*path)) {
        match failures.keep(found("delete a further login", vault.delete(path).await))? {
            Some(Some(())) => applied.changed.push(path.clone()),
            Some(None) => {}
            None => drop(applied.failed.insert(path.clone())),
        }
    }
    for (path, fields) in wanted.iter().filter(|(path, _)| !held_up(path)) {
        match failures.keep(apply_one(vault, path, fields, unseen).await)? {
            Some(true) => applied.changed.push(path.clone()),
            Some(false) => {}
            None => drop(applied.failed.insert(path.clone())),
        }
    }
    Ok(applied)
}

/// What has become of them.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Paths that were written or removed.
    pub(super) changed: Vec<String>,
    /// Paths that could not be, at which there may be anything.
    pub(super) failed: BTreeSet<String>,
}

/// Writes what is to be at one path, if it is not there. Says whether it did.
async fn apply_one(
    vault: &Client,
    path: &str,
    fields: &Fields,
    unseen: &(dyn Fn(&str, bool) -> Option<Fields> + Sync),
) -> Result<bool, Error> {
    let there = found("read a further login", vault.read(path).await)?;
    let there: Option<Fields> = match &there {
        Some(there) => Some(
            there
                .data
                .decode()
                .map_err(|_| Error::Incomplete("fields that are read back from Vault"))?,
        ),
        None => None,
    };
    let is_same = there.as_ref().is_some_and(|there| same(there, fields));
    let unseen = unseen(path, there.is_some());
    if is_same && unseen.is_none() {
        return Ok(false);
    }
    let mut body = fields.clone();
    body.extend(unseen.unwrap_or_default());
    let written = vault.write(path, &body).await;
    written.map_err(|e| Error::vault("write a further login", e))?;
    Ok(true)
}

/// Removes everything at these paths, as far as that works.
pub(super) async fn remove(vault: &Client, paths: &BTreeSet<String>) -> Result<(), Error> {
    let mut failures = Failures::default();
    for path in paths {
        failures.keep(found("delete a further login", vault.delete(path).await))?;
    }
    failures.end()
}

/// Whether what was read is what is wanted, in every field that is written.
fn same(there: &Fields, wanted: &Fields) -> bool {
    wanted
        .iter()
        .all(|(key, value)| normalised(there.get(key).unwrap_or(&Value::Null)) == normalised(value))
}

/// A value without the order of its lists, which is Vault's; and nothing for what is empty, which Vault leaves out.
fn normalised(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(normalised).collect();
            items.sort_by_key(Value::to_string);
            items.dedup();
            if items.is_empty() {
                Value::Null
            } else {
                Value::Array(items)
            }
        }
        Value::Object(fields) if fields.is_empty() => Value::Null,
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), normalised(value)))
            .collect(),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        Value::Number(number) if number.as_u64() == Some(0) => Value::Null,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_vault_leaves_out_or_orders_its_own_way_is_the_same() {
        let wanted = fields(
            json!({"policies": ["b", "a"], "ttl": 60, "uses": 0, "cidrs": [], "flag": false, "claims": {"ref": ["y", "x"]}}),
        );
        let there = fields(
            json!({"policies": ["a", "b"], "ttl": 60, "cidrs": null, "claims": {"ref": ["x", "y"]}, "more": 1}),
        );
        assert!(same(&there, &wanted));
        for (key, other) in [
            ("policies", json!(["a"])),
            ("ttl", json!(61)),
            ("uses", json!(1)),
            ("flag", json!(true)),
            ("claims", json!({"ref": ["x"]})),
            ("claims", Value::Null),
        ] {
            let mut changed = there.clone();
            changed.insert(key.to_owned(), other.clone());
            assert!(!same(&changed, &wanted), "{key} = {other}");
        }
    }

    #[test]
    fn only_paths_of_the_own_name_are_ever_deleted() {
        for (path, wanted) in [
            ("auth/token/roles/shop.app", true),
            ("auth/team/people/users/shop.app", true),
            ("auth/ci/role/shop.app", true),
            ("auth/ci/role/shop.other", false),
            ("auth/ci/role/x/shop.app", false),
            ("auth/role/shop.app", false),
            ("auth/../sys/role/shop.app", false),
            ("sys/role/shop.app", false),
            ("secret/data/shop.app", false),
        ] {
            assert_eq!(is_of(path, "shop.app"), wanted, "{path}");
        }
    }
}
