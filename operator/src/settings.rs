//! The operator's settings: arguments, each of which may come from the environment.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::cluster::external::AllowedAddress;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Runs Vault and OpenBao on Kubernetes and hands out identities.
#[derive(Clone, Debug, Parser)]
#[command(name = "vaultkeeper-operator", version, about)]
pub struct Settings {
    /// Namespace of the operator: its Lease, and the Secrets with unseal shares and CA keys.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,

    /// Name of the operator's ServiceAccount, with which it logs in to Vault.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "vaultkeeper-operator")]
    pub service_account: String,

    /// Name of this replica among the others: the name of its pod. No two may share it.
    #[arg(long, env = "POD_NAME")]
    pub identity: String,

    /// Name of the Lease that replicas contend for.
    #[arg(long, env = "LEASE_NAME", default_value = "vaultkeeper-operator")]
    pub lease_name: String,

    /// Address for /healthz, /readyz and /metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: std::net::SocketAddr,

    /// URL of the API server as the members of a VaultCluster reach it, for their Kubernetes auth method.
    #[arg(
        long,
        env = "KUBERNETES_HOST",
        default_value = "https://kubernetes.default.svc"
    )]
    pub kubernetes_host: String,

    /// Image of the agent, which runs beside each member of a VaultCluster and lets it take up a new certificate.
    #[arg(long, env = "AGENT_IMAGE", default_value = concat!("vaultkeeper/agent:", env!("CARGO_PKG_VERSION")))]
    pub agent_image: String,

    /// Pull policy of that image; without it that of Kubernetes applies.
    #[arg(long, env = "AGENT_IMAGE_PULL_POLICY")]
    pub agent_image_pull_policy: Option<String>,

    /// Addresses of Vaults outside of Kubernetes that a VaultCluster with spec.external may name, such as
    /// https://vault.example.com:8200 or, for any host below a domain, https://*.example.com:8200. No other one is ever
    /// called. Default: none.
    #[arg(long, env = "EXTERNAL_ADDRESSES", value_delimiter = ',')]
    pub external_addresses: Vec<AllowedAddress>,

    /// Seconds that a Vault which cannot be reached holds the deletion of a VaultRole, and so of its namespace, up.
    /// Then the deletion goes on, and an event says what was left in Vault.
    #[arg(long, env = "CLEANUP_PATIENCE_SECONDS", default_value_t = 600)]
    pub cleanup_patience_seconds: u64,

    /// Seconds that running reconciles may take to end after SIGTERM. An initialisation of Vault in flight must
    /// fit into it, and it into the pod's terminationGracePeriodSeconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value_t = 170)]
    pub shutdown_grace_seconds: u64,

    /// How log lines are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,

    /// What is logged, such as `info` or `info,vaultkeeper_operator=debug`.
    #[arg(long, env = "LOG_FILTER", default_value = "info")]
    pub log_filter: String,
}

impl Settings {
    /// Time that running reconciles may take to end.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
    }

    #[test]
    fn no_external_address_is_allowed_unless_it_is_named() {
        let parse = |more: &[&str]| {
            let usual = ["operator", "--namespace", "ns", "--identity", "pod"];
            Settings::try_parse_from(usual.iter().chain(more)).map(|s| s.external_addresses.len())
        };
        assert_eq!(parse(&[]).unwrap(), 0);
        let two = "https://vault.example.com:8200,https://*.example.org";
        assert_eq!(parse(&["--external-addresses", two]).unwrap(), 2);
        assert!(
            parse(&["--external-addresses", "http://vault.example.com"]).is_err(),
            "without TLS nobody is verified"
        );
    }

    #[test]
    fn an_initialisation_of_vault_fits_into_the_grace_of_a_shutdown() {
        let settings =
            Settings::try_parse_from(["operator", "--namespace", "ns", "--identity", "pod"]).unwrap();
        assert!(
            settings.shutdown_grace() > crate::cluster::INIT_TIMEOUT,
            "the client waits 150 s for sys/init: {:?}",
            settings.shutdown_grace()
        );
    }
}
