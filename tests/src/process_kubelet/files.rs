//! What a kubelet gives a container beside its program: files and variables.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt};

use super::Node;
use super::secret_volume::SecretVolume;

/// Set from addresses and folders of this machine.
const OWN: [&str; 5] = [
    "POD_NAME",
    "TMPDIR",
    "VAULT_RAFT_NODE_ID",
    "VAULT_API_ADDR",
    "VAULT_CLUSTER_ADDR",
];

impl Node {
    /// What a kubelet would mount: the certificate, credentials, and the configuration with names and paths of this
    /// machine.
    pub(super) async fn mount(
        &self,
        pod: &Pod,
        cluster: &str,
        data: Option<&Path>,
        config: &str,
        addresses: &BTreeMap<String, IpAddr>,
    ) -> anyhow::Result<(PathBuf, SecretVolume)> {
        let name = pod.name_any();
        let folder = self.run.folder(format!("pods/{}-{name}", self.namespace))?;
        let tls = self.certificate(pod, &folder).await?;
        self.project(pod, &folder).await?;
        let own = addresses.get(&name).context("no address")?;
        // The second is where the listener of the metrics keeps what no member uses: on one machine they would meet there.
        let mut text = config
            .replace("[::]:", &format!("{own}:"))
            .replace("127.0.0.1:8203", &format!("{own}:8203"));
        for (member, address) in addresses {
            text = text.replace(
                &format!("{member}.{cluster}-internal.{}.svc", self.namespace),
                &address.to_string(),
            );
        }
        if let Some(data) = data {
            text = text.replace("/vault/data", &data.display().to_string());
        }
        std::fs::write(folder.join("vault.hcl"), on_this_machine(&text, &folder))?;
        Ok((folder, tls))
    }

    /// The volume with the certificate.
    async fn certificate(&self, pod: &Pod, folder: &Path) -> anyhow::Result<SecretVolume> {
        let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref());
        let mut volumes = volumes.unwrap_or_default().iter();
        let name = volumes
            .find(|volume| volume.name == "tls")
            .and_then(|volume| volume.secret.as_ref()?.secret_name.as_deref())
            .context("no volume with the certificate")?;
        let data = self.secrets().get(name).await?.data.unwrap_or_default();
        SecretVolume::mount(folder.join("tls"), name, data)
    }

    /// Brings the volume what its Secret holds now.
    pub(super) async fn refresh(&self, volume: &mut SecretVolume) -> anyhow::Result<()> {
        match self.secrets().get_opt(&volume.secret).await? {
            Some(secret) => volume.update(secret.data.unwrap_or_default()),
            // What was mounted stays.
            None => Ok(()),
        }
    }

    /// The arguments of the helper that runs beside the server, if there is one.
    pub(super) fn helper(pod: &Pod, folder: &Path, address: IpAddr) -> Option<Vec<String>> {
        let containers = &pod.spec.as_ref()?.containers;
        let helper = containers.iter().find(|container| container.name == "reload")?;
        let here = |text: &String| {
            let text = text.replace("localhost:", &format!("{address}:"));
            on_this_machine(&text, folder).replace("/vault/config", &folder.display().to_string())
        };
        Some(helper.args.iter().flatten().map(here).collect())
    }

    /// The files of projected volumes.
    async fn project(&self, pod: &Pod, folder: &Path) -> anyhow::Result<()> {
        // Loops over slices: closures that live across an await leave the future without a provable Send.
        let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref());
        for volume in volumes.unwrap_or_default() {
            let sources = volume.projected.as_ref().and_then(|p| p.sources.as_deref());
            for source in sources.unwrap_or_default() {
                let Some(source) = &source.secret else { continue };
                let data = self.secrets().get(&source.name).await?.data.unwrap_or_default();
                let target = folder.join(&volume.name);
                std::fs::create_dir_all(&target)?;
                for item in source.items.iter().flatten() {
                    let value = data
                        .get(&item.key)
                        .with_context(|| format!("Secret {} lacks {}", source.name, item.key))?;
                    std::fs::write(target.join(&item.path), &value.0)?;
                }
            }
        }
        Ok(())
    }

    /// The container's variables, or the words in which a kubelet misses a Secret.
    pub(super) async fn environment(
        &self,
        pod: &Pod,
        folder: &Path,
    ) -> anyhow::Result<Result<Vec<(String, String)>, String>> {
        let container = pod.spec.as_ref().and_then(|s| s.containers.first());
        let variables = container.and_then(|c| c.env.as_deref());
        let mut found = Vec::new();
        for variable in variables.unwrap_or_default() {
            if OWN.contains(&variable.name.as_str()) {
                continue;
            }
            if let Some(value) = &variable.value {
                found.push((variable.name.clone(), on_this_machine(value, folder)));
            }
            let source = variable.value_from.as_ref();
            let Some(wanted) = source.and_then(|s| s.secret_key_ref.as_ref()) else {
                continue;
            };
            let Some(secret) = self.secrets().get_opt(&wanted.name).await? else {
                return Ok(Err(format!("secret \"{}\" not found", wanted.name)));
            };
            match secret.data.and_then(|mut d| d.remove(&wanted.key)) {
                Some(value) => found.push((variable.name.clone(), String::from_utf8(value.0)?)),
                None if wanted.optional == Some(true) => {}
                None => {
                    return Ok(Err(format!(
                        "couldn't find key {} in Secret {}/{}",
                        wanted.key, self.namespace, wanted.name
                    )));
                }
            }
        }
        Ok(Ok(found))
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn on_this_machine(text: &str, folder: &Path) -> String {
    let folder = folder.display().to_string();
    text.replace("/vault/tls", &format!("{folder}/tls"))
        .replace("/vault/credentials", &format!("{folder}/credentials"))
}
