//! The server's configuration file. Pure.

use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::names;

use super::{seal, storage};
use crate::cluster::configure;
use crate::cluster::validate::Validated;

/// Folder of the data volume in the container.
pub const DATA: &str = "/vault/data";
/// Folder of the configuration file in the container.
pub const CONFIG: &str = "/vault/config";
/// Folder of the certificate in the container.
pub const TLS: &str = "/vault/tls";
/// Name of the configuration file.
pub const FILE: &str = "vault.hcl";

/// One text for all members. What differs between them (node id, addresses) comes by the environment, and so do
/// secrets: the text lies in a ConfigMap.
pub fn render(cluster: &Validated) -> String {
    let Validated {
        namespace,
        name,
        distribution,
        profile,
        monitoring,
        ..
    } = cluster;
    let mut text = format!(
        r#"cluster_name  = "{namespace}.{name}"
ui            = true
disable_mlock = true

listener "tcp" {{
  address         = "[::]:{api}"
  cluster_address = "[::]:{cluster_port}"
  tls_cert_file   = "{TLS}/tls.crt"
  tls_key_file    = "{TLS}/tls.key"
  tls_min_version = "tls12"
}}

"#,
        api = names::API_PORT,
        cluster_port = names::CLUSTER_PORT,
    );
    if monitoring.is_some() {
        text += &telemetry();
    }
    text += &storage::stanza(cluster);
    if let Some(seal) = seal::stanza(cluster) {
        text.push('\n');
        text += &seal;
    }
    if *distribution == Distribution::OpenBao && !cluster.standby_reads {
        // A read at a standby may miss the write before it, and no header of a request prevents that.
        text += "\ndisable_standby_reads = true\n";
    }
    if *distribution == Distribution::OpenBao
        // Of a refused one nothing is built: see `Validated::unbuildable`.
        && let Ok(configuration) = &cluster.configuration
    {
        // OpenBao refuses audit devices through its API.
        text += &configure::audit::of_openbao(configuration, *profile);
    }
    text
}

/// Metrics, and the listener at which Prometheus reads them without a token: also those of a sealed member, which could
/// check none, and of each standby, which would forward the request. Members talk to each other by the first listener
/// alone; each would open a port for that, so that this one's is out of reach.
fn telemetry() -> String {
    format!(
        r#"listener "tcp" {{
  address         = "[::]:{port}"
  cluster_address = "127.0.0.1:{unused}"
  tls_cert_file   = "{TLS}/tls.crt"
  tls_key_file    = "{TLS}/tls.key"
  tls_min_version = "tls12"

  telemetry {{
    unauthenticated_metrics_access = true
  }}
}}

telemetry {{
  prometheus_retention_time = "24h"
  disable_hostname          = true
  metrics_prefix            = "vault"
}}

"#,
        port = names::METRICS_PORT,
        unused = names::METRICS_PORT + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    #[test]
    fn every_member_is_a_retry_join_peer_under_its_headless_name() {
        let text = render(&validate(&cluster("")).unwrap());
        for ordinal in 0..3 {
            let peer =
                format!("leader_api_addr         = \"https://main-{ordinal}.main-internal.vault.svc:8200\"");
            assert!(text.contains(&peer), "{peer} is missing in\n{text}");
        }
        assert_eq!(
            text.matches("leader_tls_servername   = \"main.vault.svc\"")
                .count(),
            3
        );
    }

    #[test]
    fn the_text_of_a_cluster_without_monitoring_stays_as_it_is() {
        let spec = "  replicas: 1\n  profile: Development\n  monitoring: {enabled: false}";
        let text = render(&validate(&cluster(spec)).unwrap());
        assert_eq!(
            text,
            r#"cluster_name  = "vault.main"
ui            = true
disable_mlock = true

listener "tcp" {
  address         = "[::]:8200"
  cluster_address = "[::]:8201"
  tls_cert_file   = "/vault/tls/tls.crt"
  tls_key_file    = "/vault/tls/tls.key"
  tls_min_version = "tls12"
}

storage "raft" {
  path                   = "/vault/data"
  performance_multiplier = 1

  retry_join {
    leader_api_addr         = "https://main-0.main-internal.vault.svc:8200"
    leader_ca_cert_file     = "/vault/tls/ca.crt"
    leader_tls_servername   = "main.vault.svc"
  }
}
"#
        );
    }

    #[test]
    fn metrics_need_no_token_at_a_listener_of_their_own_only() {
        let text = render(&validate(&cluster("")).unwrap());
        let listeners: Vec<&str> = text.split("listener \"tcp\" {").skip(1).collect();
        let [api, metrics] = listeners.as_slice() else {
            panic!("two listeners:\n{text}")
        };
        assert!(!api.contains("unauthenticated"), "{api}");
        assert!(
            metrics.contains("= \"[::]:8202\"") && metrics.contains("tls_cert_file"),
            "{metrics}"
        );
        assert!(
            metrics.contains("unauthenticated_metrics_access = true"),
            "{metrics}"
        );
        assert!(
            metrics.contains("cluster_address = \"127.0.0.1:"),
            "no port for members that nobody needs: {metrics}"
        );
    }

    #[test]
    fn a_seal_follows_the_storage() {
        let text = render(&validate(&cluster("  seal: {awskms: {region: r, kmsKeyId: k}}")).unwrap());
        assert!(text.contains("}\n\nseal \"awskms\" {\n"), "{text}");
    }

    #[test]
    fn standbys_of_openbao_answer_stale_reads_only_when_asked_to() {
        let says = |extra: &str| {
            render(&validate(&cluster(extra)).unwrap()).contains("\ndisable_standby_reads = true\n")
        };
        assert!(says("  distribution: OpenBao"));
        assert!(!says("  distribution: OpenBao\n  standbyReads: true"));
        assert!(!says(""), "Vault has no such setting");
    }

    #[test]
    fn only_openbao_gets_its_audit_devices_by_the_file_and_two_in_profile_hardened() {
        let devices = |extra: &str| {
            let text = render(&validate(&cluster(extra)).unwrap());
            let stanzas = text
                .lines()
                .filter_map(|line| line.strip_prefix("audit \"file\" "));
            stanzas.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(devices("").is_empty());
        let single = "  distribution: OpenBao\n  replicas: 1\n  profile: Development";
        assert_eq!(devices(single), ["\"stdout\" {"]);
        assert_eq!(
            devices("  distribution: OpenBao"),
            ["\"stdout\" {", "\"stderr\" {"]
        );
    }
}
