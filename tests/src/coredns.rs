//! The cluster's DNS server: CoreDNS beside the node, on the address that the kubelet gives to pods.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::netns::NODE_ADDRESS;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;

/// Starts CoreDNS in the cluster's network namespace. It answers for `cluster.local` and nothing else.
pub fn start(run: &RunDir, program: &Path, netns: &str, kubeconfig: &Path) -> anyhow::Result<Process> {
    let corefile = run.join("Corefile");
    fs::write(&corefile, corefile_text(kubeconfig))
        .with_context(|| format!("cannot write {}", corefile.display()))?;
    Process::start(
        ProcessSpec::new("coredns", program, run)
            .args(["-conf", &corefile.to_string_lossy()])
            .netns(Some(netns)),
        run,
    )
}

/// A name outside the cluster gets "refused" at once: no test traffic looks for the world.
fn corefile_text(kubeconfig: &Path) -> String {
    format!(
        "cluster.local:53 {{\n\
         \x20   bind {NODE_ADDRESS}\n\
         \x20   ready {NODE_ADDRESS}:8181\n\
         \x20   errors\n\
         \x20   cache 2 {{\n\
         \x20       denial 1024 1\n\
         \x20   }}\n\
         \x20   kubernetes cluster.local {{\n\
         \x20       kubeconfig {}\n\
         \x20       ttl 1\n\
         \x20   }}\n\
         }}\n",
        kubeconfig.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dns_server_listens_on_the_nodes_address_only() {
        let text = corefile_text(Path::new("/run/admin.kubeconfig"));
        assert!(
            text.contains("bind 10.244.0.1\n") && text.contains("kubeconfig /run/admin.kubeconfig\n"),
            "the Corefile should bind the node's address and use the kubeconfig given, got:\n{text}"
        );
    }
}
