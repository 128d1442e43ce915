//! The status of a VaultCluster whose Vault runs elsewhere. Pure. What that server says of itself is shown only in the
//! form that a version or an id has.

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::cluster::MemberStatus;
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, names};
use vaultkeeper_vault::sys::health::Health;

use super::{Address, External};
use crate::cluster::configure::Findings;
use crate::cluster::error::Error;
use crate::cluster::status::{PAUSED, drifted};
use crate::conditions::{self, Draft, Status};

/// Everything that the status speaks of.
pub(super) struct Facts<'a> {
    /// The checked spec.
    pub external: &'a External,
    /// Hash of the CA certificates that it is verified with, if they could be read.
    pub ca_hash: Option<&'a str>,
    /// What the server said of itself in this pass.
    pub health: Option<&'a Health>,
    /// What a look at the declared configuration found, when there was one.
    pub findings: Option<&'a Findings>,
    /// The error of this pass.
    pub error: Option<&'a Error>,
}

/// Computes the status.
pub(super) fn compute(cluster: &VaultCluster, facts: &Facts<'_>, now: Timestamp) -> VaultClusterStatus {
    let Facts {
        external,
        ca_hash,
        health,
        findings,
        error,
    } = facts;
    let old = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let address = Address::parse(&external.vault.address).map(|a| a.to_string());
    let address = address.unwrap_or_else(|_| external.vault.address.clone());
    let mut draft = Draft::new(old.conditions, generation, now);
    draft.remove(PAUSED);
    let problem = findings.and_then(|f| f.problem.clone());
    let failed = error.map(|e| (e.reason(), e.chain())).or(problem);
    let refused = failed
        .clone()
        .filter(|(reason, _)| *reason == "AddressNotAllowed");
    match &refused {
        Some((reason, message)) => draft.set(conditions::ACCEPTED, false, reason, message),
        None => draft.set(conditions::ACCEPTED, true, "Valid", "the spec can work"),
    }
    let serves = health.is_some_and(|health| SERVING.contains(&state(Some(health))));
    let (reason, message) = match (health, &failed) {
        (Some(health), _) => words(&address, health),
        (None, Some((reason, message))) => (*reason, message.clone()),
        (None, None) => ("Waiting", "not looked at yet".to_owned()),
    };
    draft.set("Available", serves, reason, &message);
    match &failed {
        Some((reason, message)) => draft.set("Configured", false, reason, message),
        None if serves => draft.set(
            "Configured",
            true,
            "InPlace",
            "the operator is logged in, and the declared configuration is in place",
        ),
        None => draft.set("Configured", false, "Waiting", "waiting for that Vault to serve"),
    }
    let message =
        "the ten rules for production are judged of a Vault that the operator runs: ask who runs this one";
    draft.set(
        conditions::PRODUCTION_READY,
        Status::Unknown,
        "RunsElsewhere",
        message,
    );
    if let Some(findings) = findings {
        drifted(&mut draft, findings);
    }
    VaultClusterStatus {
        observed_generation: generation,
        conditions: draft.finish(),
        login_audience: Some(names::external_audience(&external.uid, &address)),
        ca_hash: ca_hash.map(str::to_owned).or(old.ca_hash),
        cluster_id: health.and_then(|h| id(&h.cluster_id)).or(old.cluster_id),
        leader: None,
        members_ready: None,
        voters: None,
        failure_tolerance: None,
        // The ten rules are judged of a Vault that the operator runs.
        readiness: None,
        unmet_rules: None,
        readiness_rules: Vec::new(),
        tls: None,
        backup: None,
        custody: None,
        configuration: findings.map(Findings::write).or(old.configuration),
        members: vec![MemberStatus {
            name: address.trim_start_matches("https://").to_owned(),
            state: state(*health).to_owned(),
            voter: None,
            up_to_date: None,
            certificate: None,
            version: health.and_then(|h| version(&h.version)),
            message: None,
        }],
        address: Some(address),
    }
}

/// States in which it answers calls.
const SERVING: [&str; 2] = ["Active", "Standby"];

/// The word for the one row.
fn state(health: Option<&Health>) -> &'static str {
    match health {
        None => "Unreachable",
        Some(health) if !health.initialized => "Uninitialized",
        Some(health) if health.removed_from_cluster => "Removed",
        Some(health) if health.sealed => "Sealed",
        Some(health) if health.is_active() => "Active",
        Some(_) => "Standby",
    }
}

fn words(address: &str, health: &Health) -> (&'static str, String) {
    let version = version(&health.version).unwrap_or_else(|| "unknown".to_owned());
    match state(Some(health)) {
        "Uninitialized" => (
            "NotInitialized",
            format!("{address} is not initialised: who runs it must do that"),
        ),
        "Removed" => (
            "RemovedFromCluster",
            format!("{address} was removed from its cluster: who runs it must see to it"),
        ),
        "Sealed" => (
            "VaultSealed",
            format!("{address} is sealed: who runs it must unseal it, the operator has no keys of it"),
        ),
        _ => ("Serves", format!("{address} serves, version {version}")),
    }
}

/// A version such as 1.21.1+ent, or nothing.
fn version(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".+-".contains(c);
    let fits =
        text.len() <= 40 && text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(is_part);
    fits.then(|| text.to_owned())
}

/// A UUID, or nothing.
fn id(text: &str) -> Option<String> {
    let fits = text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::super::Error as ExternalError;
    use super::super::validate::tests::cluster;
    use super::super::validate::validate;
    use super::*;
    use crate::sessions::SessionError;

    fn health(json: &str) -> Health {
        serde_json::from_str(json).unwrap()
    }

    fn status(health: Option<&Health>, error: Option<&Error>) -> VaultClusterStatus {
        let cluster = cluster("");
        let external = validate(&cluster, cluster.spec.external.as_ref().unwrap()).unwrap();
        let facts = Facts {
            external: &external,
            ca_hash: None,
            health,
            findings: None,
            error,
        };
        compute(&cluster, &facts, Timestamp::UNIX_EPOCH)
    }

    fn word(status: &VaultClusterStatus, type_: &str) -> (String, String) {
        let found: &Condition = conditions::get(&status.conditions, type_).unwrap();
        (found.status.clone(), found.reason.clone())
    }

    fn is(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    #[test]
    fn the_audience_of_the_login_is_there_before_the_login_works() {
        let error = Error::from(Box::new(SessionError::from(ExternalError::LoginRefused {
            address: "https://vault.example.com:8200".to_owned(),
            path: "kubernetes".to_owned(),
            role: "vaultkeeper-operator".to_owned(),
            audience: names::external_audience("u-1", "https://vault.example.com:8200"),
            account: "operator".to_owned(),
            account_namespace: "system".to_owned(),
            reason: "VaultDenied",
        })));
        let open = health(r#"{"initialized":true,"sealed":false,"standby":false,"version":"1.21.1"}"#);
        let status = status(Some(&open), Some(&error));
        assert_eq!(
            status.login_audience.as_deref(),
            Some("vaultkeeper.dev/cluster/u-1/vault.example.com:8200")
        );
        assert_eq!(word(&status, "Available"), is("True", "Serves"));
        assert_eq!(word(&status, "Configured"), is("False", "LoginRefused"));
        let said = conditions::get(&status.conditions, "Configured").unwrap();
        let command = "vault write auth/kubernetes/role/vaultkeeper-operator audience=vaultkeeper.dev/cluster/u-1/vault.example.com:8200 bound_service_account_names=operator bound_service_account_namespaces=system";
        assert!(said.message.contains(command), "{}", said.message);
    }

    #[test]
    fn an_address_that_is_not_allowed_is_told_with_the_remedy() {
        let error = Error::from(Box::new(SessionError::from(ExternalError::NotAllowed {
            address: "https://vault.example.com:8200".to_owned(),
        })));
        let status = status(None, Some(&error));
        assert_eq!(word(&status, "Accepted"), is("False", "AddressNotAllowed"));
        assert_eq!(word(&status, "Available"), is("False", "AddressNotAllowed"));
        let said = conditions::get(&status.conditions, "Accepted").unwrap();
        assert!(
            said.message.contains("operator.externalAddresses"),
            "{}",
            said.message
        );
    }

    #[test]
    fn a_sealed_one_is_not_ours_to_unseal() {
        let sealed = health(r#"{"initialized":true,"sealed":true,"standby":true}"#);
        let status = status(Some(&sealed), None);
        assert_eq!(word(&status, "Available"), is("False", "VaultSealed"));
        assert_eq!(word(&status, "Configured"), is("False", "Waiting"));
        assert_eq!(status.members[0].state, "Sealed");
    }

    #[test]
    fn the_rules_for_production_are_neither_met_nor_failed() {
        let open = health(r#"{"initialized":true,"sealed":false,"standby":false,"version":"1.21.1"}"#);
        let status = status(Some(&open), None);
        assert_eq!(word(&status, "ProductionReady"), is("Unknown", "RunsElsewhere"));
        assert_eq!((status.readiness, status.unmet_rules), (None, None));
    }

    #[test]
    fn what_a_hostile_server_says_of_itself_reaches_no_status() {
        let odd = health(
            r#"{"initialized":true,"sealed":false,"standby":false,"version":"eyJhbGciOi.s3cret","cluster_id":"eyJhbGciOi.s3cret"}"#,
        );
        let status = serde_json::to_string(&status(Some(&odd), None)).unwrap();
        assert!(!status.contains("s3cret"), "{status}");
    }
}
