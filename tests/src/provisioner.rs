//! Gives volumes to claims of the class `local`: a folder of the run and a `local` PersistentVolume for it.
//!
//! `local` because the kubelet applies fsGroup to it; to the hostPath volumes of the controller-manager's own provisioner it does not.

mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client};
use serde_json::json;

use crate::progress::say;
use plan::{Step, plan};

/// The name by which a StorageClass asks for this provisioner.
pub const PROVISIONER: &str = "vaultkeeper.dev/local";

/// The StorageClass that it serves, the cluster's default.
pub const CLASS: &str = "local";

/// How soon a step that failed is tried again when nothing else happens.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the StorageClass. It binds a claim once its pod has a node, as local volumes must.
pub async fn install_class(client: &Client) -> anyhow::Result<()> {
    let class = StorageClass {
        metadata: ObjectMeta {
            name: Some(CLASS.to_owned()),
            annotations: Some(BTreeMap::from([(
                "storageclass.kubernetes.io/is-default-class".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        provisioner: PROVISIONER.to_owned(),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        reclaim_policy: Some("Delete".to_owned()),
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    };
    Api::<StorageClass>::all(client.clone())
        .patch(
            CLASS,
            &PatchParams::apply("vaultkeeper-testbed"),
            &Patch::Apply(&class),
        )
        .await
        .context("cannot make the StorageClass local")?;
    Ok(())
}

/// Serves claims until the API server can no longer be watched. Volumes are folders under `folder`.
pub async fn run(client: Client, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let claims = Api::<PersistentVolumeClaim>::all(client.clone());
    let volumes = Api::<PersistentVolume>::all(client.clone());
    let (claim_store, claim_writer) = reflector::store();
    let (volume_store, volume_writer) = reflector::store();
    let claim_events = watcher(claims, watcher::Config::default())
        .default_backoff()
        .reflect(claim_writer)
        .map_ok(drop);
    let volume_events = watcher(volumes, watcher::Config::default())
        .default_backoff()
        .reflect(volume_writer)
        .map_ok(drop);
    let mut events = futures::stream::select(claim_events.boxed(), volume_events.boxed());
    let mut pending = false;
    loop {
        let event = if pending {
            tokio::time::timeout(RETRY, events.next()).await.ok()
        } else {
            Some(events.next().await)
        };
        match event {
            Some(None) => anyhow::bail!("the watches of claims and volumes have ended"),
            // The watcher tries again by itself.
            Some(Some(Err(error))) => say(&format!("watch: {error}")),
            Some(Some(Ok(()))) | None => {}
        }
        pending = false;
        for step in plan(&claim_store.state(), &volume_store.state()) {
            let what = format!("{step:?}");
            if let Err(error) = execute(&client, folder, step).await {
                say(&format!("{what}: {error:#}"));
                pending = true;
            }
        }
    }
}

async fn execute(client: &Client, folder: &Path, step: Step) -> anyhow::Result<()> {
    let volumes = Api::<PersistentVolume>::all(client.clone());
    match step {
        Step::Provision { claim, node, name } => {
            let path = folder.join(&name);
            make_folder(&path)?;
            let volume = plan::volume(&claim, &node, &name, &path);
            match volumes.create(&PostParams::default(), &volume).await {
                Ok(_) => say(&format!("made the volume {name}")),
                // The watch has not caught up with the last round yet.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error).context("cannot create the PersistentVolume"),
            }
        }
        Step::Remove { name } => {
            remove_folder(&folder.join(&name))?;
            match volumes.delete(&name, &DeleteParams::default()).await {
                Ok(_) => say(&format!("removed the volume {name}")),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error).context("cannot delete the PersistentVolume"),
            }
        }
        Step::Grow {
            volume,
            namespace,
            claim,
            size,
        } => {
            let capacity = json!({ "storage": size });
            volumes
                .patch(
                    &volume,
                    &PatchParams::default(),
                    &Patch::Merge(json!({ "spec": { "capacity": capacity } })),
                )
                .await
                .context("cannot write the PersistentVolume's capacity")?;
            Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace)
                .patch_status(
                    &claim,
                    &PatchParams::default(),
                    &Patch::Merge(json!({ "status": { "capacity": capacity } })),
                )
                .await
                .context("cannot write the claim's capacity")?;
            say(&format!("grew the volume {volume}"));
        }
    }
    Ok(())
}

fn make_folder(path: &PathBuf) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    // As a fresh file system is: for root alone, until the kubelet applies the pod's fsGroup.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
