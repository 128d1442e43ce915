//! The configuration file of a test server, in HCL.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Config;
use crate::certs::PairFiles;

/// The files that the listener and the joining of members use.
#[derive(Debug, Clone)]
pub struct Listener {
    /// What the server shows.
    pub certificate: PairFiles,
    /// What members trust.
    pub ca: PathBuf,
}

/// The text of the configuration file. Strings are quoted as JSON, which HCL reads.
pub(super) fn text(config: &Config, listener: &Listener, data: &Path) -> String {
    let Config {
        node_id,
        addresses,
        retry_join,
        dns_names,
        extra,
        text: _,
        env: _,
    } = config;
    let Listener { certificate, ca } = listener;
    // Of several members one leads only as long as the others hear of it in time: on a busy machine they hear late.
    let patience = if retry_join.is_empty() { 1 } else { 5 };
    let mut joins = String::new();
    for peer in retry_join {
        let _ = write!(
            joins,
            "  retry_join {{\n    leader_api_addr = {}\n    leader_ca_cert_file = {}\n{}  }}\n",
            quote(&peer.url()),
            quote_path(ca),
            dns_names
                .first()
                .map(|name| format!("    leader_tls_servername = {}\n", quote(name)))
                .unwrap_or_default(),
        );
    }
    format!(
        "storage \"raft\" {{\n  path = {data}\n  node_id = {node_id}\n  performance_multiplier = {patience}\n{joins}}}\n\
         listener \"tcp\" {{\n  address = {api}\n  cluster_address = {cluster}\n  tls_cert_file = {cert}\n  \
         tls_key_file = {key}\n}}\n\
         api_addr = {api_url}\ncluster_addr = {cluster_url}\ndisable_mlock = true\nlog_level = \"info\"\n{extra}\n",
        data = quote_path(data),
        node_id = quote(node_id),
        api = quote(&addresses.api.to_string()),
        cluster = quote(&addresses.cluster.to_string()),
        cert = quote_path(&certificate.cert),
        key = quote_path(&certificate.key),
        api_url = quote(&addresses.url()),
        cluster_url = quote(&format!("https://{}", addresses.cluster)),
    )
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault_server::Addresses;

    #[test]
    fn every_member_to_join_is_named_with_the_name_in_its_certificate() {
        let addresses = |port| Addresses {
            api: ([127, 0, 0, 1], port).into(),
            cluster: ([127, 0, 0, 1], port + 1).into(),
        };
        let config = Config {
            node_id: "a".to_owned(),
            addresses: addresses(8200),
            retry_join: vec![addresses(8200), addresses(8300)],
            dns_names: vec!["vault.test".to_owned()],
            extra: "raw_storage_endpoint = true".to_owned(),
            text: None,
            env: Vec::new(),
        };
        let files = PairFiles {
            cert: "/t/s.crt".into(),
            key: "/t/s.key".into(),
        };
        let text = text(
            &config,
            &Listener {
                certificate: files,
                ca: "/t/ca.crt".into(),
            },
            Path::new("/t/data"),
        );
        for wanted in [
            "leader_api_addr = \"https://127.0.0.1:8300\"",
            "leader_tls_servername = \"vault.test\"",
            "cluster_addr = \"https://127.0.0.1:8201\"",
            "raw_storage_endpoint = true",
        ] {
            assert!(
                text.contains(wanted),
                "the configuration should hold {wanted}, got:\n{text}"
            );
        }
        assert_eq!(text.matches("retry_join {").count(), 2, "one block per member");
    }
}
