//! The operator itself: what it counts, and a while without it.

use anyhow::{Context as _, ensure};
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, SYSTEM};

/// Selects the operator's objects.
const COMPONENT: &str = "app.kubernetes.io/component=operator";
/// In the operator's metrics: the reconciles of VaultClusters that ended well. There is one VaultCluster.
const PASSES: &str = r#"vaultkeeper_reconciles_total{kind="VaultCluster",result="success"}"#;

impl Installation {
    /// Waits until the operator has gone over the VaultCluster twice more. The second pass began after this call.
    pub(crate) fn two_more_passes(&self) -> anyhow::Result<()> {
        let before = self.passes()?;
        wait::until("two more passes of the operator", DEADLINE, || {
            let now = self.passes()?;
            ensure!(now >= before + 2, "{before} passes before, {now} now");
            Ok(())
        })
    }

    /// How often the operator has gone over the VaultCluster.
    fn passes(&self) -> anyhow::Result<u64> {
        let mut passes = 0;
        for pod in self.of_operator("pods")? {
            let pod = pod.rsplit('/').next().unwrap_or_default();
            let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
            passes += count(&self.kubectl(&["get", "--raw", &path])?)?;
        }
        Ok(passes)
    }

    /// Does something while there is no operator, which is back afterwards, also after a failure.
    pub(crate) fn without_operator<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let deployments = self.of_operator("deployments")?;
        let [deployment] = deployments.as_slice() else {
            anyhow::bail!("the operator should be one Deployment, found {deployments:?}");
        };
        let replicas = self.get(SYSTEM, deployment)?["spec"]["replicas"]
            .as_u64()
            .context("no replicas")?;
        let scale = |replicas: u64| {
            let replicas = format!("--replicas={replicas}");
            self.kubectl(&["scale", "-n", SYSTEM, deployment, &replicas])
        };
        scale(0)?;
        let outcome = wait::until("the operator to be gone", DEADLINE, || {
            let pods = self.of_operator("pods")?;
            ensure!(pods.is_empty(), "there are {pods:?}");
            Ok(())
        })
        .and_then(|()| work());
        scale(replicas)?;
        let timeout = format!("--timeout={}s", DEADLINE.as_secs());
        self.kubectl(&["rollout", "status", "-n", SYSTEM, deployment, &timeout])?;
        outcome
    }

    fn of_operator(&self, kind: &str) -> anyhow::Result<Vec<String>> {
        let names = self.kubectl(&["get", kind, "-n", SYSTEM, "-l", COMPONENT, "-o", "name"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }
}

/// The passes in the metrics of one replica. One that never acted has counted none.
fn count(metrics: &str) -> anyhow::Result<u64> {
    ensure!(
        metrics.trim_end().ends_with("# EOF"),
        "not the operator's metrics: {metrics}"
    );
    match metrics.lines().find_map(|line| line.strip_prefix(PASSES)) {
        Some(number) => Ok(number.trim().parse()?),
        None => Ok(0),
    }
}
