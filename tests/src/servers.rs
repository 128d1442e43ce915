//! The real servers: which Go modules they are built from, and where the built programs are kept.

mod build;
mod cache;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A program that the testbed builds from a pinned Go module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Server {
    /// etcd
    Etcd,
    /// kube-apiserver
    KubeApiserver,
    /// kube-controller-manager
    KubeControllerManager,
    /// kubectl
    Kubectl,
    /// kube-scheduler
    KubeScheduler,
    /// kube-proxy
    KubeProxy,
    /// kubelet
    Kubelet,
    /// Vault
    Vault,
    /// Helm
    Helm,
    /// CoreDNS
    Coredns,
    /// versitygw: an S3 server over a folder
    Versitygw,
    /// age, with which people read backups
    Age,
    /// Consul: only what `testbed test long` runs needs it
    Consul,
    /// promtool, which tries the alerts: likewise
    Promtool,
}

impl Server {
    /// Those of a whole cluster, in the order in which the tiers need them.
    pub const CLUSTER: [Self; 10] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::Vault,
        Self::KubeScheduler,
        Self::KubeProxy,
        Self::Kubelet,
        Self::Helm,
        Self::Coredns,
    ];

    /// All of them: those that take long to build and are needed by few come last.
    pub const ALL: [Self; 14] = {
        let mut all = [Self::Consul; 14];
        all[13] = Self::Promtool;
        let mut n = 0;
        while n < Self::CLUSTER.len() {
            all[n] = Self::CLUSTER[n];
            n += 1;
        }
        all[n] = Self::Versitygw;
        all[n + 1] = Self::Age;
        all
    };

    /// The program's file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::KubeScheduler => "kube-scheduler",
            Self::KubeProxy => "kube-proxy",
            Self::Kubelet => "kubelet",
            Self::Vault => "vault",
            Self::Helm => "helm",
            Self::Coredns => "coredns",
            Self::Versitygw => "versitygw",
            Self::Age => "age",
            Self::Consul => "consul",
            Self::Promtool => "promtool",
        }
    }

    /// The server of that name.
    pub fn from_name(name: &str) -> anyhow::Result<Self> {
        let Some(server) = Self::ALL.into_iter().find(|server| server.name() == name) else {
            let all = Self::ALL.map(Self::name).join(", ");
            bail!("there is no server called {name}; there are {all}");
        };
        Ok(server)
    }

    /// The folder under tests/servers that holds the go.mod.
    fn module(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Vault => "vault",
            Self::Helm => "helm",
            Self::Coredns => "coredns",
            Self::Versitygw => "versitygw",
            Self::Age => "age",
            Self::Consul => "consul",
            Self::Promtool => "prometheus",
            Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::Kubectl
            | Self::KubeScheduler
            | Self::KubeProxy
            | Self::Kubelet => "kubernetes",
        }
    }

    /// The main package.
    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::Vault => "github.com/hashicorp/vault",
            Self::Helm => "helm.sh/helm/v3/cmd/helm",
            Self::Coredns => ".",
            Self::Versitygw => "github.com/versity/versitygw/cmd/versitygw",
            Self::Age => "filippo.io/age/cmd/age",
            Self::Consul => "github.com/hashicorp/consul",
            Self::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
        }
    }
}

/// The program, ready to be started. It is built if it is not there yet, which may take minutes.
pub fn path(server: Server) -> anyhow::Result<PathBuf> {
    match ready(server)? {
        Some(path) => Ok(path),
        None => build::build(server),
    }
}

/// The program, if it is there already: in `TESTBED_ASSETS`, in `KUBEBUILDER_ASSETS`, or in the cache.
pub fn ready(server: Server) -> anyhow::Result<Option<PathBuf>> {
    for variable in ["TESTBED_ASSETS", "KUBEBUILDER_ASSETS"] {
        if let Some(folder) = std::env::var_os(variable).filter(|folder| !folder.is_empty()) {
            let path = Path::new(&folder).join(server.name());
            if path.is_file() {
                return path
                    .canonicalize()
                    .map(Some)
                    .with_context(|| format!("cannot resolve {}", path.display()));
            }
        }
    }
    let cached = cache::entry(server)?.join(server.name());
    Ok(cached.is_file().then_some(cached))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_found_by_its_name() {
        for server in Server::ALL {
            assert_eq!(
                Server::from_name(server.name()).ok(),
                Some(server),
                "the server called {}",
                server.name()
            );
        }
    }

    #[test]
    fn an_unknown_server_is_answered_with_those_there_are() {
        let error = Server::from_name("nomad").unwrap_err().to_string();
        assert!(
            error.contains("nomad") && error.contains("kubelet"),
            "the error should list the servers, got: {error}"
        );
    }
}
