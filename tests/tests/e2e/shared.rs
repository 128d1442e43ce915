//! The cluster that all tests of this tier share. Each test works in Kubernetes namespaces of its own.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use vaultkeeper_tests::cluster::{Cluster, Options};
use vaultkeeper_tests::images::Image;
use vaultkeeper_tests::node;
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::suite;
use vaultkeeper_tests::wait;

/// The program that the reaper and the provisioner run.
pub(crate) const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// How long a pod may take to run, on a busy machine.
pub(crate) const POD_DEADLINE: Duration = Duration::from_secs(180);

// A static is never dropped: the reaper removes the cluster when this process ends, however it does.
static SHARED: OnceLock<Option<Result<Cluster, String>>> = OnceLock::new();

/// The shared cluster, brought up by whoever asks first. `None` where no node can run: then the test has nothing to do.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    let shared = SHARED.get_or_init(|| {
        can_run().then(|| {
            Cluster::up_for_test(Options {
                name: None,
                testbed: PathBuf::from(TESTBED),
                images: vec![Image::DemoApp],
            })
            .map_err(|error| format!("{error:#}"))
        })
    });
    match shared.as_ref()? {
        Ok(cluster) => Some(cluster),
        Err(error) => panic!("the cluster does not come up: {error}"),
    }
}

static SAID: OnceLock<()> = OnceLock::new();

/// Whether a node can run here. If not it says why, and in CI, where nobody reads that, it fails.
pub(crate) fn can_run() -> bool {
    let Err(reason) = node::check_machine() else {
        return true;
    };
    assert!(!suite::is_ci(), "the tier e2e must run in CI, but {reason:#}");
    SAID.get_or_init(|| say(&format!("e2e: nothing is tested: {reason:#}")));
    false
}

/// A Kubernetes namespace of a test; deleted at its end.
pub(crate) struct Namespace<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: String,
}

impl<'a> Namespace<'a> {
    /// Makes a namespace that enforces the Pod Security Standard `restricted`, ready for pods.
    pub(crate) fn restricted(cluster: &'a Cluster, name: &str) -> Self {
        let manifest = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, \
             labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
        );
        cluster.kubectl_text(&["create", "-f", "-"], &manifest).unwrap();
        let namespace = Self {
            cluster,
            name: name.to_owned(),
        };
        wait::until("the default ServiceAccount", POD_DEADLINE, || {
            namespace.kubectl(&["get", "serviceaccount", "default"])
        })
        .unwrap();
        namespace
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["--namespace", &self.name];
        all.extend(args);
        self.cluster.kubectl_text(&all, "")
    }

    /// Applies manifests in the namespace.
    pub(crate) fn apply(&self, manifests: &str) {
        self.cluster
            .kubectl_text(&["--namespace", &self.name, "apply", "-f", "-"], manifests)
            .unwrap();
    }

    /// Waits until a pod is ready; what hinders it ends up in the failure.
    pub(crate) fn wait_for_pod(&self, name: &str) {
        let timeout = format!("--timeout={}s", POD_DEADLINE.as_secs());
        if let Err(error) = self.kubectl(&["wait", "--for=condition=Ready", &timeout, "pod", name]) {
            let told = |args: &[&str]| self.kubectl(args).unwrap_or_else(|error| format!("{error:#}"));
            panic!(
                "the pod {name} should become ready: {error:#}\n{}\n{}",
                told(&["describe", "pod", name]),
                told(&["logs", name, "--all-containers", "--tail=20"])
            );
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let _ = self
            .cluster
            .kubectl_text(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}
