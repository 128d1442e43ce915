//! The server's configuration file. Pure.

use std::fmt::Write as _;

use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::names;

use crate::cluster::validate::Validated;

/// Folder of the data volume in the container.
pub const DATA: &str = "/vault/data";
/// Folder of the configuration file in the container.
pub const CONFIG: &str = "/vault/config";
/// Folder of the certificate in the container.
pub const TLS: &str = "/vault/tls";
/// Name of the configuration file.
pub const FILE: &str = "vault.hcl";

/// One text for all members. What differs between them (node id, addresses) comes by the environment.
///
/// Every member is listed in `retry_join`, itself included: Vault skips itself. All values are DNS labels
/// and paths of ours, so that nothing needs quoting.
pub fn render(cluster: &Validated) -> String {
    let Validated {
        namespace,
        name,
        distribution,
        replicas,
        ..
    } = cluster;
    let server_name = names::service_host(namespace, name);
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

storage "raft" {{
  path                   = "{DATA}"
  performance_multiplier = 1
"#,
        api = names::API_PORT,
        cluster_port = names::CLUSTER_PORT,
    );
    for ordinal in 0..*replicas {
        let _ = write!(
            text,
            r#"
  retry_join {{
    leader_api_addr         = "https://{host}:{api}"
    leader_ca_cert_file     = "{TLS}/ca.crt"
    leader_tls_servername   = "{server_name}"
  }}
"#,
            host = names::member_host(namespace, name, ordinal),
            api = names::API_PORT,
        );
    }
    text += "}\n";
    if *distribution == Distribution::OpenBao {
        // OpenBao refuses audit devices through its API.
        text += "\naudit \"file\" \"stdout\" {\n  description = \"standard output\"\n  options {\n    file_path = \"stdout\"\n  }\n}\n";
    }
    text
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
    fn only_openbao_gets_its_audit_device_by_the_file() {
        assert!(!render(&validate(&cluster("")).unwrap()).contains("audit"));
        assert!(
            render(&validate(&cluster("  distribution: OpenBao")).unwrap())
                .contains("audit \"file\" \"stdout\"")
        );
    }
}
