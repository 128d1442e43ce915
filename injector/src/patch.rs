//! The JSON patch that turns the pod into the planned one. Pure.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Value, json};
use vaultkeeper_crds::annotations::COMPATIBLE_PREFIX;

use crate::annotations::{INJECTED, table};
use crate::plan::Plan;
use crate::pod::{Container, Pod};
use crate::settings::Injection;
use crate::sidecar;

/// Builds the patch.
///
/// # Errors
/// The agent's configuration could not be written as JSON.
pub fn patch(pod: &Pod, plan: &Plan, settings: &Injection) -> Result<Patch, serde_json::Error> {
    let mut operations = Vec::new();
    append(
        &mut operations,
        &["spec", "volumes"],
        pod.spec.volumes.is_some(),
        sidecar::volumes(plan, settings),
    );
    // Indexes are those of the pod as sent, so mounts come before the sidecar moves the init containers.
    for index in &plan.containers {
        mount(
            &mut operations,
            "containers",
            *index,
            &pod.spec.containers[*index],
            plan,
        );
    }
    for (index, container) in pod.init_containers().iter().enumerate() {
        mount(&mut operations, "initContainers", index, container, plan);
    }
    let sidecar = sidecar::container(plan, settings)?;
    let list = ["spec", "initContainers"];
    if plan.first && !pod.init_containers().is_empty() {
        operations.push(add(["spec", "initContainers", "0"], sidecar));
    } else {
        append(
            &mut operations,
            &list,
            pod.spec.init_containers.is_some(),
            vec![sidecar],
        );
    }
    let status = format!("{COMPATIBLE_PREFIX}{}", table::STATUS);
    operations.push(add(["metadata", "annotations", &status], json!(INJECTED)));
    Ok(Patch(operations))
}

fn mount(operations: &mut Vec<PatchOperation>, list: &str, index: usize, container: &Container, plan: &Plan) {
    let index = index.to_string();
    let path = ["spec", list, &index, "volumeMounts"];
    append(
        operations,
        &path,
        container.volume_mounts.is_some(),
        sidecar::secrets_mounts(plan),
    );
}

/// Adds to the end of a list, or makes the list where there is none.
fn append(operations: &mut Vec<PatchOperation>, path: &[&str], exists: bool, values: Vec<Value>) {
    if exists {
        let end = path.iter().copied().chain(["-"]);
        operations.extend(values.into_iter().map(|value| add(end.clone(), value)));
    } else {
        operations.push(add(path.iter().copied(), Value::Array(values)));
    }
}

fn add<'a>(path: impl IntoIterator<Item = &'a str>, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens(path),
        value,
    })
}
