//! Flags and environment of the injector, and the part of them that shapes injected pods.

use std::net::SocketAddr;

use clap::Parser;

use crate::origin;

/// The mutating webhook that injects Vaultkeeper's agent into pods.
#[derive(Parser, Debug, Clone)]
#[command(name = "vaultkeeper-injector", version, about)]
pub struct Settings {
    /// Address for admission reviews, over TLS.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// Address for /healthz, /readyz and /metrics, plain HTTP.
    #[arg(long, env = "HEALTH_LISTEN", default_value = "0.0.0.0:8080")]
    pub health_listen: SocketAddr,

    /// Namespace of the injector.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,

    /// Name of the injector's Service.
    #[arg(long, env = "SERVICE_NAME", default_value = "vaultkeeper-injector")]
    pub service: String,

    /// Further names and addresses that the certificate must hold, with commas between them.
    #[arg(long, env = "TLS_HOSTS", value_delimiter = ',')]
    pub tls_hosts: Vec<String>,

    /// Name of the Secret, in the injector's namespace, that keeps the CA of its certificate.
    #[arg(long, env = "TLS_SECRET", default_value = "vaultkeeper-injector-tls")]
    pub tls_secret: String,

    /// Name of the injector's MutatingWebhookConfiguration.
    #[arg(long, env = "WEBHOOK_CONFIGURATION", default_value = "vaultkeeper-injector")]
    pub webhook_configuration: String,

    /// Seconds in which requests under way may end after a stop was asked for.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,

    /// Seconds for which new connections are still taken after a stop was asked for.
    #[arg(long, env = "LINGER_SECONDS", default_value_t = 5)]
    pub linger_seconds: u64,

    /// Seconds between two checks of certificate, caBundle and TLS.
    #[arg(long, env = "CHECK_SECONDS", default_value_t = 30)]
    pub check_seconds: u64,

    /// Format of the log: text or json.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// What is logged: off, error, warn, info, debug or trace, or directives by module.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// What injected pods look like.
    #[command(flatten)]
    pub injection: Injection,
}

/// A format of the log.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Defaults of injected pods; annotations go before most of them.
#[derive(clap::Args, Debug, Clone)]
pub struct Injection {
    /// Image of the agent.
    #[arg(long, env = "AGENT_IMAGE", default_value = concat!("vaultkeeper/agent:", env!("CARGO_PKG_VERSION")))]
    pub agent_image: String,

    /// Pull policy of that image; without it that of Kubernetes applies.
    #[arg(long, env = "AGENT_IMAGE_PULL_POLICY")]
    pub agent_image_pull_policy: Option<String>,

    /// Address of Vault for pods that name a role which no VaultRole binds.
    #[arg(long, env = "VAULT_ADDRESS")]
    pub vault_address: Option<String>,

    /// Path of the auth method that agents log in at.
    #[arg(long, env = "VAULT_AUTH_PATH", default_value = "auth/kubernetes")]
    pub auth_path: String,

    /// CPU that the agent reserves; empty for none.
    #[arg(long, env = "AGENT_CPU_REQUEST", default_value = "5m")]
    pub cpu_request: String,

    /// The most CPU that the agent gets; empty for no limit.
    #[arg(long, env = "AGENT_CPU_LIMIT", default_value = "")]
    pub cpu_limit: String,

    /// Memory that the agent reserves; empty for none.
    #[arg(long, env = "AGENT_MEMORY_REQUEST", default_value = "16Mi")]
    pub memory_request: String,

    /// The most memory that the agent gets, rendered files included; empty for no limit.
    #[arg(long, env = "AGENT_MEMORY_LIMIT", default_value = "64Mi")]
    pub memory_limit: String,

    /// Size of the volume in memory that holds the rendered files.
    #[arg(long, env = "SECRETS_VOLUME_SIZE", default_value = "16Mi")]
    pub volume_size: String,

    /// User of the agent's container.
    #[arg(long, env = "AGENT_RUN_AS_USER", default_value_t = 100)]
    pub run_as_user: i64,

    /// Group of the agent's container.
    #[arg(long, env = "AGENT_RUN_AS_GROUP", default_value_t = 1000)]
    pub run_as_group: i64,
}

/// A setting that no injected pod could work with.
#[derive(Debug, thiserror::Error)]
#[error("--vault-address (VAULT_ADDRESS): {0}")]
pub struct Unusable(String);

impl Settings {
    /// Checks what injected pods would otherwise stumble over one by one, and writes the address of Vault as annotated
    /// ones are written. Not left to the parser of flags, which repeats what it refuses: a password may be in it.
    ///
    /// # Errors
    /// The agent could not use the address of Vault.
    pub fn checked(mut self) -> Result<Self, Unusable> {
        let address = self.injection.vault_address.as_deref();
        self.injection.vault_address = address.map(origin::address).transpose().map_err(Unusable)?;
        Ok(self)
    }

    /// The names by which the API server may reach the webhook; the first is that of the Service.
    pub fn tls_names(&self) -> Vec<String> {
        let host = format!("{}.{}", self.service, self.namespace);
        let mut names = vec![format!("{host}.svc"), format!("{host}.svc.cluster.local"), host];
        names.extend(self.tls_hosts.iter().filter(|name| !name.is_empty()).cloned());
        names
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn an_address_of_vault_that_no_agent_could_use_is_refused_at_the_start() {
        let with = |address: &str| {
            Settings::parse_from(["x", "--namespace", "ns", "--vault-address", address]).checked()
        };
        let good = with("https://vault.example:8200/").expect("it is an origin");
        assert_eq!(
            good.injection.vault_address.as_deref(),
            Some("https://vault.example:8200"),
            "written as annotated addresses are"
        );
        let refused = with("https://user:s3cret@vault")
            .expect_err("it holds a password")
            .to_string();
        assert!(
            refused.contains("VAULT_ADDRESS") && !refused.contains("s3cret"),
            "the setting is named and the password is not repeated: {refused}"
        );
        assert!(
            Settings::parse_from(["x", "--namespace", "ns"]).checked().is_ok(),
            "without an address there is nothing to refuse"
        );
    }

    #[test]
    fn the_certificate_holds_the_name_that_the_api_server_uses() {
        let settings = Settings::parse_from([
            "x",
            "--namespace",
            "ns",
            "--service",
            "hook",
            "--tls-hosts",
            "127.0.0.1",
        ]);
        let names = settings.tls_names();
        assert_eq!(
            names[0], "hook.ns.svc",
            "the API server calls <service>.<namespace>.svc"
        );
        assert!(
            names.contains(&"127.0.0.1".to_owned()),
            "further hosts are held too: {names:?}"
        );
    }
}
