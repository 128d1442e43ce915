//! Clients out of kubeconfigs of our own.

use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::READY_DEADLINE;
use crate::wait;

/// A client out of a kubeconfig file. Neither KUBECONFIG nor ~/.kube/config is looked at.
pub async fn from_file(path: &Path) -> anyhow::Result<kube::Client> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_text(&text).await
}

pub(super) async fn from_text(text: &str) -> anyhow::Result<kube::Client> {
    kube::Client::try_from(config_from_text(text).await?).context("cannot make a Kubernetes client")
}

pub(super) async fn config_from_text(text: &str) -> anyhow::Result<kube::Config> {
    crate::install_crypto();
    let kubeconfig = Kubeconfig::from_yaml(text).context("cannot read a kubeconfig of our own")?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("cannot use a kubeconfig of our own")
}

pub(super) async fn wait_for_service_account(
    client: kube::Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    wait::until_async(
        &format!("the ServiceAccount {namespace}/{name}"),
        READY_DEADLINE,
        || async { accounts.get(name).await.map(drop).map_err(anyhow::Error::from) },
    )
    .await
}
