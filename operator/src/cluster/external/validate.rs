//! Turns the spec of an external VaultCluster into checked values. Pure. What concerns running a Vault is refused rather
//! than ignored.

use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::{
    Configuration, DeletionPolicy, Distribution, ExternalLogin, ExternalVault, MonitoringSettings,
    NetworkPolicySettings, PodSettings, ReadinessSettings, Seal, Storage, Tls, VaultClusterSpec,
};
use vaultkeeper_vault::sys::health::Health;

use super::Address;
use crate::cluster::configure;
use crate::cluster::validate::Invalid;

/// What is asked of a Vault that runs elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct External {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Product.
    pub distribution: Distribution,
    /// Where it is and how to log in.
    pub vault: ExternalVault,
    /// Vault's own objects.
    pub configuration: Configuration,
}

fn invalid(field: &'static str, problem: impl Into<String>) -> Invalid {
    Invalid {
        field,
        problem: problem.into(),
    }
}

/// Checks a spec with `external`.
pub(super) fn validate(cluster: &VaultCluster, vault: &ExternalVault) -> Result<External, Invalid> {
    let meta = &cluster.metadata;
    let get = |value: &Option<String>, field| {
        value
            .clone()
            .ok_or_else(|| invalid(field, "is missing: the object was not read from an API server"))
    };
    let VaultClusterSpec {
        distribution,
        version,
        image,
        replicas,
        profile: _,
        paused: _,
        deletion_policy,
        external: _,
        storage,
        audit_volume,
        seal,
        tls,
        configuration,
        access: _,
        pod,
        network_policy,
        monitoring,
        readiness,
        backup,
        standby_reads,
        server_config,
    } = &cluster.spec;
    let of_servers = [
        ("spec.storage", *storage != Storage::default()),
        ("spec.seal", *seal != Seal::default()),
        ("spec.tls", *tls != Tls::default()),
        ("spec.pod", *pod != PodSettings::default()),
        (
            "spec.networkPolicy",
            *network_policy != NetworkPolicySettings::default(),
        ),
        ("spec.monitoring", *monitoring != MonitoringSettings::default()),
        // The ten rules are judged of a Vault that the operator runs.
        ("spec.readiness", *readiness != ReadinessSettings::default()),
        ("spec.replicas", *replicas != 3),
        ("spec.image", image.is_some()),
        ("spec.auditVolume", audit_volume.is_some()),
        ("spec.backup", backup.is_some()),
        ("spec.standbyReads", *standby_reads),
        ("spec.serverConfig", !server_config.is_empty()),
        ("spec.deletionPolicy", *deletion_policy != DeletionPolicy::Retain),
    ];
    if let Some((field, _)) = of_servers.into_iter().find(|(_, given)| *given) {
        return Err(invalid(
            field,
            "does not go with spec.external, whose servers somebody else runs: remove it",
        ));
    }
    Address::parse(&vault.address).map_err(|e| invalid("spec.external.address", e.to_string()))?;
    let ExternalLogin { path, role } = &vault.kubernetes_auth;
    if !is_mount_path(path) {
        return Err(invalid(
            "spec.external.kubernetesAuth.path",
            "must be a mount path such as kubernetes, without a slash at its ends, and neither approle nor token",
        ));
    }
    if !is_role_name(role) {
        return Err(invalid(
            "spec.external.kubernetesAuth.role",
            "must be the name of a role: lower-case letters, digits, - and _. One with a dot could be that of a VaultRole",
        ));
    }
    if vault.namespace.is_some() && *distribution == Distribution::Vault && !version.contains("+ent") {
        return Err(invalid(
            "spec.external.namespace",
            "needs distribution OpenBao or Vault Enterprise (a version such as 1.21.1+ent)",
        ));
    }
    if configuration.auth_methods.iter().any(|m| m.path == *path) {
        return Err(invalid(
            "spec.configuration.authMethods",
            format!("must not hold {path}, where the operator logs in: who runs that Vault sets it up"),
        ));
    }
    configure::check::check(
        configuration,
        *distribution,
        version,
        configure::check::Places::default(),
    )
    .map_err(|problem| invalid("spec.configuration", problem))?;
    Ok(External {
        namespace: get(&meta.namespace, "metadata.namespace")?,
        name: get(&meta.name, "metadata.name")?,
        uid: get(&meta.uid, "metadata.uid")?,
        distribution: *distribution,
        vault: vault.clone(),
        configuration: configuration.clone(),
    })
}

/// Steps of letters, digits and `-_.`, each of which begins with a letter or digit: none of them climbs. The methods
/// that VaultRoles and tokens are written to are not for ServiceAccounts.
fn is_mount_path(path: &str) -> bool {
    let is_first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_step = |step: &str| {
        step.starts_with(is_first)
            && step
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let first = path.split('/').next().unwrap_or_default();
    path.len() <= 200 && path.split('/').all(is_step) && !["approle", "token"].contains(&first)
}

/// Without a dot: the name of a VaultRole in Vault has one, so that no VaultRole can be the operator's own role.
fn is_role_name(role: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    role.len() <= 128
        && role.starts_with(is_end)
        && role.ends_with(is_end)
        && role.chars().all(|c| is_end(c) || "-_".contains(c))
}

/// Whether the server would do in its root namespace what is meant for another one.
pub(super) fn ignores_namespaces(external: &External, health: &Health) -> bool {
    external.vault.namespace.is_some() && external.distribution == Distribution::Vault && !health.enterprise
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn cluster(extra: &str) -> VaultCluster {
        let text = format!(
            "apiVersion: vaultkeeper.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: main, namespace: vault, uid: u-1, generation: 4}}\nspec:\n  version: 1.21.1\n  external: {{address: 'https://vault.example.com:8200', ca: {{bundle: x}}}}\n{extra}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn checked(cluster: &VaultCluster) -> Result<External, Invalid> {
        validate(cluster, cluster.spec.external.as_ref().unwrap())
    }

    #[test]
    fn a_minimal_spec_gets_the_documented_defaults() {
        let external = checked(&cluster("")).unwrap();
        let login = external.vault.kubernetes_auth;
        assert_eq!(
            (login.path.as_str(), login.role.as_str()),
            ("kubernetes", "vaultkeeper-operator")
        );
    }

    #[test]
    fn what_concerns_running_a_vault_is_refused_by_its_field() {
        for (extra, field) in [
            ("  storage: {raft: {}}", "spec.storage"),
            ("  seal: {shamir: {shares: 3, threshold: 2}}", "spec.seal"),
            (
                "  readiness: {waivers: [{rule: MFA, reason: x}]}",
                "spec.readiness",
            ),
            ("  tls: {managed: {extraDnsNames: [a.example.com]}}", "spec.tls"),
            ("  pod: {nodeSelector: {a: b}}", "spec.pod"),
            ("  networkPolicy: {enabled: true}", "spec.networkPolicy"),
            ("  replicas: 5", "spec.replicas"),
            ("  image: vault", "spec.image"),
            ("  standbyReads: true", "spec.standbyReads"),
            ("  serverConfig: {max_lease_ttl: 1h}", "spec.serverConfig"),
            ("  deletionPolicy: Delete", "spec.deletionPolicy"),
        ] {
            assert_eq!(checked(&cluster(extra)).unwrap_err().field, field, "{extra}");
        }
    }

    #[test]
    fn the_method_that_the_operator_logs_in_with_is_not_the_specs_to_set_up() {
        let methods = "  configuration: {authMethods: [{path: kubernetes, type: kubernetes}]}";
        assert_eq!(
            checked(&cluster(methods)).unwrap_err().field,
            "spec.configuration.authMethods"
        );
        let others = "  configuration: {authMethods: [{path: people, type: userpass}]}";
        assert!(checked(&cluster(others)).is_ok());
    }

    #[test]
    fn no_vault_role_can_be_the_operators_own_role_or_write_where_it_does_not_belong() {
        let field = |path: &str, role: &str| {
            let mut cluster = cluster("");
            let vault = cluster.spec.external.as_mut().unwrap();
            (vault.kubernetes_auth.path, vault.kubernetes_auth.role) = (path.to_owned(), role.to_owned());
            checked(&cluster).err().map(|invalid| invalid.field)
        };
        assert_eq!(field("clusters/prod", "operator-prod"), None);
        for role in ["shop.app", "", "-a", "A", "a/b"] {
            assert_eq!(
                field("kubernetes", role),
                Some("spec.external.kubernetesAuth.role"),
                "{role}"
            );
        }
        for path in [
            "approle",
            "approle/x",
            "token",
            "",
            "/a",
            "a/",
            "a//b",
            "../sys",
            "a/../b",
        ] {
            assert_eq!(
                field(path, "operator"),
                Some("spec.external.kubernetesAuth.path"),
                "{path}"
            );
        }
    }

    #[test]
    fn a_namespace_needs_a_product_that_has_them() {
        let mut inside = cluster("");
        inside.spec.external.as_mut().unwrap().namespace = Some("team".to_owned());
        assert_eq!(checked(&inside).unwrap_err().field, "spec.external.namespace");
        inside.spec.version = "1.21.1+ent".to_owned();
        let external = checked(&inside).unwrap();
        let health = |enterprise| Health {
            status: 200,
            initialized: true,
            sealed: false,
            standby: false,
            performance_standby: false,
            server_time_utc: 0,
            version: "1.21.1".to_owned(),
            enterprise,
            cluster_name: String::new(),
            cluster_id: String::new(),
            removed_from_cluster: false,
            ha_connection_healthy: None,
        };
        assert!(
            ignores_namespaces(&external, &health(false)),
            "the spec says Enterprise, the server does not"
        );
        assert!(!ignores_namespaces(&external, &health(true)));
    }
}
