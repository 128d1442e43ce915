//! The command lines of etcd, the API server and the controller manager.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;

use super::{Files, Options};

/// etcd as a single member that never syncs to disk: its data does not outlive the run.
pub(super) fn etcd(options: &Options, files: &Files, data: &Path) -> Vec<String> {
    let address = options.etcd_address();
    let [client, peer] = options.etcd_ports;
    let peer_url = format!("https://{address}:{peer}");
    vec![
        "--name=etcd".to_owned(),
        format!("--data-dir={}", data.display()),
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={}", etcd_url(options)),
        format!("--advertise-client-urls=https://{address}:{client}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster=etcd={peer_url}"),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", files.etcd_ca.cert.display()),
        format!("--cert-file={}", files.etcd.cert.display()),
        format!("--key-file={}", files.etcd.key.display()),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={}", files.etcd_ca.cert.display()),
        format!("--peer-cert-file={}", files.etcd.cert.display()),
        format!("--peer-key-file={}", files.etcd.key.display()),
    ]
}

/// The API server, with RBAC and the restrictions of a usual cluster.
pub(super) fn api_server(options: &Options, files: &Files) -> Vec<String> {
    let mut flags = vec![
        format!("--bind-address={}", options.bind),
        format!("--advertise-address={}", options.address),
        format!("--secure-port={}", options.api_port),
        format!("--service-cluster-ip-range={}", options.service_subnet),
        format!("--etcd-servers={}", etcd_url(options)),
        format!("--etcd-cafile={}", files.etcd_ca.cert.display()),
        format!("--etcd-certfile={}", files.etcd_client.cert.display()),
        format!("--etcd-keyfile={}", files.etcd_client.key.display()),
        format!("--tls-cert-file={}", files.api_server.cert.display()),
        format!("--tls-private-key-file={}", files.api_server.key.display()),
        format!("--client-ca-file={}", files.ca.cert.display()),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!(
            "--service-account-signing-key-file={}",
            files.service_account_key.private.display()
        ),
        format!(
            "--service-account-key-file={}",
            files.service_account_key.public.display()
        ),
        format!(
            "--kubelet-client-certificate={}",
            files.kubelet_client.cert.display()
        ),
        format!("--kubelet-client-key={}", files.kubelet_client.key.display()),
        format!("--kubelet-certificate-authority={}", files.ca.cert.display()),
        // Else `kubectl logs` looks the node's name up in DNS.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--profiling=false".to_owned(),
    ];
    if !options.publish {
        flags.push("--endpoint-reconciler-type=none".to_owned());
    }
    flags
}

/// The controller manager; each controller is its own ServiceAccount, so that RBAC is as in a usual cluster.
pub(super) fn controller_manager(options: &Options, files: &Files, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!(
            "--service-account-private-key-file={}",
            files.service_account_key.private.display()
        ),
        format!("--root-ca-file={}", files.ca.cert.display()),
        format!("--service-cluster-ip-range={}", options.service_subnet),
        "--use-service-account-credentials=true".to_owned(),
        // It is the only one, and must not wait for the lease of one that was killed.
        "--leader-elect=false".to_owned(),
        // No port of its own: nothing asks it, and several run at a time.
        "--secure-port=0".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

/// The address of the Service `kubernetes`: the first of the subnet.
pub(super) fn first_service_address(subnet: &str) -> anyhow::Result<Ipv4Addr> {
    let base = subnet.split('/').next().unwrap_or_default();
    let base: Ipv4Addr = base
        .parse()
        .with_context(|| format!("{subnet} is not an IPv4 subnet"))?;
    Ok(Ipv4Addr::from(u32::from(base).saturating_add(1)))
}

fn etcd_url(options: &Options) -> String {
    format!("https://{}:{}", options.etcd_address(), options.etcd_ports[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubernetes_service_has_the_first_address_of_its_subnet() {
        assert_eq!(
            first_service_address("10.96.0.0/16").unwrap(),
            Ipv4Addr::new(10, 96, 0, 1)
        );
        assert!(
            first_service_address("services").is_err(),
            "a text that is no subnet is refused"
        );
    }
}
