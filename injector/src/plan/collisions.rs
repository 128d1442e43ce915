//! Names and paths of the pod that ours would clash with.

use super::{
    CA_FOLDER, CA_VOLUME, CONTAINER, CUSTOM_FOLDER, CUSTOM_VOLUME, PROGRAM_FOLDER, Plan, TLS_FOLDER,
    TLS_VOLUME, TOKEN_FOLDER, TOKEN_VOLUME,
};
use crate::denial::Denial;
use crate::pod::Pod;

/// Refuses a pod with a container, volume or mount that ours would clash with.
pub(super) fn refuse(pod: &Pod, plan: &Plan) -> Result<(), Denial> {
    let mut containers = pod.init_containers().iter().chain(&pod.spec.containers);
    if containers.any(|container| container.name == CONTAINER) {
        return Err(Denial::Invalid(format!(
            "the pod already has a container named {CONTAINER}: rename it, that name is needed for the agent"
        )));
    }
    let is_ours = |name: &str| {
        [TOKEN_VOLUME, CA_VOLUME, TLS_VOLUME, CUSTOM_VOLUME].contains(&name)
            || plan.secrets_volumes.iter().any(|volume| volume.name == name)
    };
    if let Some(taken) = pod.volumes().iter().find(|volume| is_ours(&volume.name)) {
        return Err(Denial::Invalid(format!(
            "the pod already has a volume named {}: rename it, that name is needed for the agent",
            taken.name
        )));
    }
    for volume in &plan.secrets_volumes {
        refuse_path(pod, plan, &volume.path)?;
    }
    Ok(())
}

fn refuse_path(pod: &Pod, plan: &Plan, path: &str) -> Result<(), Denial> {
    const ELSEWHERE: &str = "set vault.hashicorp.com/secret-volume-path to another path";
    if [TOKEN_FOLDER, CA_FOLDER, TLS_FOLDER, CUSTOM_FOLDER, PROGRAM_FOLDER].contains(&path) {
        return Err(Denial::Invalid(format!(
            "the agent itself needs {path} in its container: {ELSEWHERE}"
        )));
    }
    let chosen = plan.containers.iter().map(|index| &pod.spec.containers[*index]);
    let taken = pod.init_containers().iter().chain(chosen).find(|container| {
        container
            .mounts()
            .iter()
            .any(|mount| mount.mount_path.trim_end_matches('/') == path)
    });
    match taken {
        None => Ok(()),
        Some(container) => Err(Denial::Invalid(format!(
            "container {} already mounts something at {path}, where the secrets appear: mount it elsewhere, or \
             {ELSEWHERE}",
            container.name
        ))),
    }
}
