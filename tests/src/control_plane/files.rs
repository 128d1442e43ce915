//! The certificates, keys and kubeconfigs of a control plane.

use std::path::PathBuf;

use super::{Options, flags, kubeconfig};
use crate::certs::{self, Ca, PairFiles, SigningKeyFiles};

/// The files that the control plane's programs and others of the cluster read.
#[derive(Debug, Clone)]
pub struct Files {
    /// The folder of all certificates and kubeconfigs.
    pub folder: PathBuf,
    /// The cluster's CA; the certificate is what clients trust.
    pub ca: PairFiles,
    /// The API server's certificate.
    pub api_server: PairFiles,
    /// What the API server shows to kubelets.
    pub kubelet_client: PairFiles,
    /// Signs and verifies ServiceAccount tokens.
    pub service_account_key: SigningKeyFiles,
    /// etcd's own CA, its server's and its client's certificates.
    pub etcd_ca: PairFiles,
    /// etcd's certificate.
    pub etcd: PairFiles,
    /// What the API server shows to etcd.
    pub etcd_client: PairFiles,
    /// The kubeconfig of a cluster administrator (group `system:masters`).
    pub admin_kubeconfig: PathBuf,
}

/// Makes and writes all of them.
pub(super) fn write(options: &Options, ca: &Ca, url: &str, folder: PathBuf) -> anyhow::Result<Files> {
    let address = options.address.to_string();
    let service_address = flags::first_service_address(&options.service_subnet)?.to_string();
    let api_names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        &address,
        &service_address,
    ];
    let etcd_ca = Ca::new("etcd-ca")?;
    let etcd_address = options.etcd_address().to_string();
    let service_account_key = certs::write_signing_key(&folder, "service-account")?;
    let admin = kubeconfig::write(&folder, "admin", url, ca, "testbed-admin", &["system:masters"])?;
    Ok(Files {
        ca: ca.write(&folder, "ca")?,
        api_server: ca
            .server("kube-apiserver", &api_names)?
            .write(&folder, "kube-apiserver")?,
        // The group that the usual bootstrap gives the API server towards kubelets.
        kubelet_client: ca
            .client("kube-apiserver-kubelet-client", &["system:masters"])?
            .write(&folder, "kubelet-client")?,
        service_account_key,
        etcd_ca: etcd_ca.write(&folder, "etcd-ca")?,
        etcd: etcd_ca
            .server("etcd", &["localhost", &etcd_address])?
            .write(&folder, "etcd")?,
        etcd_client: etcd_ca
            .client("kube-apiserver", &[])?
            .write(&folder, "etcd-client")?,
        admin_kubeconfig: admin,
        folder,
    })
}
