//! Which status this process has written, and whether the watch has brought it. A pass that began with an older one would take
//! what the last pass noted for not done, and write over it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use vaultkeeper_crds::VaultRole;

use super::error::Error;
use super::{Identity, status};
use crate::context::Context;

/// The resourceVersion of the last write to each VaultRole, by UID, until the watch has brought it.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<String, String>>);

impl Written {
    fn all(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a write, by what the API server answered.
    pub(super) fn note(&self, uid: &str, written: &kube::Result<VaultRole>) {
        match written {
            Ok(role) => self.expect(uid, role.resource_version()),
            Err(kube::Error::Api(status)) if status.code == 404 => drop(self.all().remove(uid)),
            // It may have been done.
            Err(_) => self.expect(uid, None),
        }
    }

    /// Has every state of a VaultRole before this one taken for behind; without a version every state.
    fn expect(&self, uid: &str, version: Option<String>) {
        self.all().insert(uid.to_owned(), version.unwrap_or_default());
    }

    /// Forgets a VaultRole that is gone.
    pub(super) fn forget(&self, identity: &Identity) {
        self.all().remove(&identity.uid);
    }

    /// Whether something was written after this state of the VaultRole.
    fn is_behind(&self, role: &VaultRole) -> bool {
        let uid = role.uid().unwrap_or_default();
        let mut all = self.all();
        let Some(written) = all.get(&uid) else {
            return false;
        };
        let behind = is_before(&role.resource_version().unwrap_or_default(), written);
        if !behind {
            all.remove(&uid);
        }
        behind
    }
}

/// Whether one resourceVersion is older than another. They are numbers that grow (Kubernetes API concepts, "Resource versions");
/// of what is none, as after a write that failed, only the very same is taken for not older.
fn is_before(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => one != other,
    }
}

/// The VaultRole as it was brought by the watch, or as the API server has it where the watch is behind this process's own writes.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn caught_up(
    ctx: &Context,
    identity: &Identity,
    role: Arc<VaultRole>,
) -> Result<Arc<VaultRole>, Error> {
    if !ctx.sweep.written.is_behind(&role) {
        return Ok(role);
    }
    let Some(latest) = status::fresh(ctx, identity).await? else {
        return Ok(role);
    };
    ctx.sweep.written.expect(&identity.uid, latest.resource_version());
    Ok(Arc::new(latest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::secret::tests::identity;

    fn role(version: &str) -> VaultRole {
        let object = serde_json::json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": "app", "namespace": "shop", "uid": identity().uid, "resourceVersion": version },
            "spec": { "cluster": { "name": "main", "namespace": "vault" }, "policy": {} },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_the_watch_shows_is_behind_until_it_has_brought_the_last_write() {
        let written = Written::default();
        assert!(!written.is_behind(&role("9")), "nothing was written");
        written.note(&identity().uid, &Ok(role("10")));
        assert!(written.is_behind(&role("9")), "as a number, not as a text");
        assert!(!written.is_behind(&role("10")), "it has come");
        assert!(written.all().is_empty(), "and is not kept");
        written.note(&identity().uid, &Ok(role("12")));
        assert!(!written.is_behind(&role("13")), "somebody else wrote after it");
        written.note(
            &identity().uid,
            &Err(kube::Error::LinesCodecMaxLineLengthExceeded),
        );
        assert!(
            written.is_behind(&role("99")),
            "a write that failed may have been done: who knows what is there"
        );
        written.expect(&identity().uid, Some("99".to_owned()));
        assert!(!written.is_behind(&role("99")), "it was looked up");
        written.note(&identity().uid, &Ok(role("140")));
        written.forget(&identity());
        assert!(!written.is_behind(&role("13")), "it is gone");
    }

    #[test]
    fn versions_that_are_no_numbers_are_current_only_if_they_are_the_same() {
        assert!(is_before("a", "b") && is_before("b", "a") && !is_before("a", "a"));
    }
}
