//! The status of a VaultRole: built by a pure function, written only when it differs.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use vaultkeeper_crds::role::{AppRoleStatus, DeliveredToken, ExternalLoginStatus};
use vaultkeeper_crds::{VaultRole, VaultRoleStatus};

use super::Identity;
use super::error::Error;
use super::validate::Refusal;
use crate::conditions::{self, ACCEPTED, READY, Status};
use crate::context::Context;
use crate::controllers::ReconcileError;

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is in place.
    InPlace,
    /// The finalizer was written, or something is not read yet; the next pass goes on.
    Begun,
    /// The spec is refused; nothing is tried again until it or the cluster changes.
    Refused(Refusal),
    /// Everything was put in place before, and it is not its turn to be compared: look again after this time.
    AtRest(Duration),
    /// Something else has to happen first, and its watch wakes the role.
    Waiting {
        /// Reason of the condition.
        reason: &'static str,
        /// What is waited for, and the remedy.
        message: String,
    },
}

/// What is known of the role, at whatever step the pass ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the spec was accepted; none when that could not be decided.
    pub accepted: Option<bool>,
    /// Why it was not.
    pub refusal: Option<Refusal>,
    /// Name in Vault, once something may be there.
    pub vault_name: Option<String>,
    /// The Secret that is in place.
    pub secret: Option<String>,
    /// The secret-id in it.
    pub app_role: Option<AppRoleStatus>,
    /// The ConfigMap that is in place.
    pub config_map: Option<String>,
    /// How to log in, where its Vault runs elsewhere.
    pub external: Option<ExternalLoginStatus>,
    /// Namespaces whose ServiceAccounts may log in, where it is more than its own.
    pub namespaces: Vec<String>,
    /// The token that is in a Secret.
    pub token: Option<DeliveredToken>,
    /// Further paths in Vault at which something may be.
    pub further: BTreeSet<String>,
    /// Which version of which Secret the password was taken from.
    pub password_version: Option<String>,
    /// When to look again, if that is earlier than usual.
    pub next: Option<Duration>,
    /// Fingerprint of what is in place.
    pub applied: Option<String>,
    /// When something is to be done next.
    pub next_action_at: Option<String>,
}

impl Progress {
    /// What earlier passes have left.
    pub fn of(status: Option<&VaultRoleStatus>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        Self {
            accepted: None,
            refusal: None,
            vault_name: status.vault_name.clone(),
            secret: status.secret_name.clone(),
            app_role: status.app_role.clone(),
            config_map: status.config_map_name.clone(),
            external: status.external.clone(),
            namespaces: status.namespaces.clone(),
            token: status.token.clone(),
            further: status.further_paths.iter().cloned().collect(),
            password_version: status.password_version.clone(),
            next: None,
            applied: status.applied.clone(),
            next_action_at: status.next_action_at.clone(),
        }
    }
}

/// Whether the last pass found everything in place as the spec still wants it.
pub fn is_in_place(role: &VaultRole) -> bool {
    let conditions = role.status.as_ref().map(|status| status.conditions.as_slice());
    conditions
        .and_then(|conditions| conditions::get(conditions, READY))
        .is_some_and(|ready| {
            ready.status == Status::True.as_str() && ready.observed_generation == role.metadata.generation
        })
}

/// Builds the status.
pub fn build(
    role: &VaultRole,
    identity: &Identity,
    outcome: &Result<Outcome, Error>,
    progress: &Progress,
    now: Timestamp,
) -> VaultRoleStatus {
    let Progress {
        accepted,
        refusal,
        vault_name,
        secret,
        app_role,
        config_map,
        external,
        namespaces,
        token,
        further,
        password_version,
        next: _,
        applied,
        next_action_at,
    } = progress;
    let old: &[Condition] = role.status.as_ref().map_or(&[], |status| &status.conditions);
    let mut list = old.to_vec();
    let generation = Some(identity.generation);
    let mut set = |type_: &str, status: Status, reason: &str, message: &str| {
        conditions::set(&mut list, type_, status, reason, message, generation, now);
    };
    // A paused or missing cluster says nothing new about what is in place; that a login works stays as it was.
    match (outcome, refusal) {
        // An error besides a refusal: what was given could not be taken away yet. Ready says so.
        (Ok(Outcome::Refused(refusal)), _) | (Err(_), Some(refusal)) => {
            set(ACCEPTED, Status::False, refusal.reason, &refusal.message);
        }
        (Ok(Outcome::Waiting { reason, message }), _) if *accepted == Some(false) => {
            set(ACCEPTED, Status::False, reason, message);
        }
        _ if *accepted == Some(true) => {
            set(
                ACCEPTED,
                Status::True,
                "Allowed",
                "the spec can work and the VaultCluster allows it",
            );
        }
        _ => {}
    }
    match outcome {
        Ok(Outcome::InPlace) => {
            set(
                READY,
                Status::True,
                "InPlace",
                "policy, roles and credentials are in place",
            );
        }
        Ok(Outcome::Begun | Outcome::AtRest(_)) => {}
        Ok(Outcome::Refused(refusal)) => set(READY, Status::False, refusal.reason, &refusal.message),
        Ok(Outcome::Waiting { reason, message }) => set(READY, Status::False, reason, message),
        Err(error) => set(READY, Status::False, error.reason(), &error.chain()),
    }
    VaultRoleStatus {
        observed_generation: generation,
        conditions: list,
        vault_name: vault_name.clone(),
        secret_name: secret.clone(),
        app_role: app_role.clone(),
        config_map_name: config_map.clone(),
        external: external.clone(),
        namespaces: namespaces.clone(),
        token: token.clone(),
        further_paths: further.iter().cloned().collect(),
        password_version: password_version.clone(),
        applied: applied.clone(),
        next_action_at: next_action_at.clone(),
        // Written by that part alone, and from what the API server has at that moment.
        certificate: role.status.as_ref().and_then(|status| status.certificate.clone()),
    }
}

/// The VaultRole as the API server has it now, which the watch may be behind; none when it is gone.
pub async fn fresh(ctx: &Context, identity: &Identity) -> Result<Option<VaultRole>, Error> {
    let api: Api<VaultRole> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    // A list of one needs no further right.
    let this = ListParams::default().fields(&format!("metadata.name={}", identity.name));
    let found = api.list(&this).await;
    let found = found.map_err(|e| Error::kubernetes("read the VaultRole", e))?;
    let is_it = |role: &VaultRole| role.uid().as_deref() == Some(identity.uid.as_str());
    Ok(found.into_iter().find(is_it))
}

/// Writes the status if it differs from `old`. Says whether it did.
pub async fn write(
    ctx: &Context,
    identity: &Identity,
    old: Option<&VaultRoleStatus>,
    wanted: &VaultRoleStatus,
) -> Result<bool, Error> {
    if old == Some(wanted) {
        return Ok(false);
    }
    let VaultRoleStatus {
        observed_generation,
        conditions,
        vault_name,
        secret_name,
        app_role,
        config_map_name,
        external,
        namespaces,
        token,
        further_paths,
        password_version,
        applied,
        next_action_at,
        certificate: _,
    } = wanted;
    // Null removes a field in a merge patch; leaving it out would keep it.
    // With the UID: another VaultRole that has taken the name is not told what was found of this one.
    let patch = json!({ "metadata": { "uid": identity.uid }, "status": {
        "observedGeneration": observed_generation,
        "conditions": conditions,
        "vaultName": vault_name,
        "secretName": secret_name,
        "appRole": app_role.as_ref().map(whole),
        "configMapName": config_map_name,
        "external": external,
        "namespaces": namespaces,
        "token": token,
        "furtherPaths": further_paths,
        "passwordVersion": password_version,
        "applied": applied,
        "nextActionAt": next_action_at,
    }});
    let api: Api<VaultRole> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    let written = api
        .patch_status(&identity.name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    ctx.sweep.written.note(&identity.uid, &written);
    match written {
        Ok(_) => Ok(true),
        // Deleted meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(Error::kubernetes("write the status", error)),
    }
}

/// All of it, with null for what is not there: a merge patch would keep what is left out.
fn whole(app_role: &AppRoleStatus) -> serde_json::Value {
    let AppRoleStatus {
        secret_id_accessor,
        issued_at,
        expires_at,
        next_rotation_at,
        wrapped_until,
        previous,
        unwrapped,
    } = app_role;
    json!({
        "secretIdAccessor": secret_id_accessor,
        "issuedAt": issued_at,
        "expiresAt": expires_at,
        "nextRotationAt": next_rotation_at,
        "wrappedUntil": wrapped_until,
        "previous": (!previous.is_empty()).then_some(previous),
        "unwrapped": (!unwrapped.is_empty()).then_some(unwrapped),
    })
}

#[cfg(test)]
mod tests {
    use super::super::secret::tests::identity;
    use super::*;

    fn role(status: Option<VaultRoleStatus>) -> VaultRole {
        let mut role: VaultRole = serde_json::from_value(serde_json::json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": "app", "namespace": "shop" },
            "spec": { "cluster": { "name": "main", "namespace": "vault" }, "policy": { "names": ["x"] } },
        }))
        .unwrap();
        role.status = status;
        role
    }

    fn word<'a>(status: &'a VaultRoleStatus, type_: &str) -> Option<(&'a str, &'a str)> {
        let condition = conditions::get(&status.conditions, type_)?;
        Some((condition.status.as_str(), condition.reason.as_str()))
    }

    fn progress(accepted: bool) -> Progress {
        Progress {
            accepted: Some(accepted),
            refusal: None,
            vault_name: Some("shop.app".to_owned()),
            secret: Some("app-vault".to_owned()),
            app_role: None,
            config_map: Some("vaultkeeper.vault.main".to_owned()),
            external: None,
            ..Progress::default()
        }
    }

    #[test]
    fn a_role_in_place_is_accepted_and_ready_and_stays_equal() {
        let first = build(
            &role(None),
            &identity(),
            &Ok(Outcome::InPlace),
            &progress(true),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(word(&first, ACCEPTED), Some(("True", "Allowed")));
        assert_eq!(word(&first, READY), Some(("True", "InPlace")));
        assert_eq!(first.observed_generation, Some(3));
        let later = Timestamp::from_second(1000).unwrap();
        let second = build(
            &role(Some(first.clone())),
            &identity(),
            &Ok(Outcome::InPlace),
            &progress(true),
            later,
        );
        assert_eq!(second, first, "nothing changed, so nothing is written");
    }

    #[test]
    fn a_refusal_is_in_both_conditions_with_its_message() {
        let refusal = Refusal {
            reason: "NotAllowed",
            message: "spec.cluster: no".to_owned(),
            withdraws: true,
        };
        let outcome = Ok(Outcome::Refused(refusal));
        let status = build(
            &role(None),
            &identity(),
            &outcome,
            &progress(false),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(word(&status, ACCEPTED), Some(("False", "NotAllowed")));
        assert_eq!(word(&status, READY), Some(("False", "NotAllowed")));
        assert_eq!(
            conditions::get(&status.conditions, READY).unwrap().message,
            "spec.cluster: no"
        );
    }

    #[test]
    fn access_that_cannot_be_withdrawn_yet_is_refused_all_the_same() {
        let refusal = Refusal {
            reason: "NotAllowed",
            message: "spec.cluster: no".to_owned(),
            withdraws: true,
        };
        let progress = Progress {
            refusal: Some(refusal),
            ..progress(false)
        };
        let outcome = Err(Error::Incomplete("x"));
        let status = build(
            &role(None),
            &identity(),
            &outcome,
            &progress,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(word(&status, ACCEPTED), Some(("False", "NotAllowed")));
        assert_eq!(word(&status, READY), Some(("False", "Incomplete")));
        assert!(status.vault_name.is_some(), "it is still there");
    }

    #[test]
    fn a_sealed_vault_makes_it_unready_but_not_refused() {
        let call = vaultkeeper_vault::Call {
            operation: "GET x".to_owned(),
            node: "n".to_owned(),
        };
        let sealed = vaultkeeper_vault::Error::NoActive { call };
        let outcome = Err(Error::vault("read the policy", sealed));
        let status = build(
            &role(None),
            &identity(),
            &outcome,
            &progress(true),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(word(&status, ACCEPTED), Some(("True", "Allowed")));
        assert_eq!(word(&status, READY), Some(("False", "VaultNoActiveNode")));
        assert_eq!(
            status.secret_name.as_deref(),
            Some("app-vault"),
            "what is in place stays known"
        );
    }

    #[test]
    fn a_missing_cluster_is_said_in_both_conditions() {
        let outcome = Ok(Outcome::Waiting {
            reason: "ClusterNotFound",
            message: "m".to_owned(),
        });
        let status = build(
            &role(None),
            &identity(),
            &outcome,
            &progress(false),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(word(&status, ACCEPTED), Some(("False", "ClusterNotFound")));
        assert_eq!(word(&status, READY), Some(("False", "ClusterNotFound")));
    }

    #[test]
    fn an_undecided_pass_leaves_acceptance_as_it_was() {
        let first = build(
            &role(None),
            &identity(),
            &Ok(Outcome::InPlace),
            &progress(true),
            Timestamp::UNIX_EPOCH,
        );
        let undecided = Progress::of(Some(&first));
        let outcome = Err(Error::Incomplete("x"));
        let status = build(
            &role(Some(first)),
            &identity(),
            &outcome,
            &undecided,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(word(&status, ACCEPTED), Some(("True", "Allowed")));
        assert_eq!(word(&status, READY), Some(("False", "Incomplete")));
    }
}
