//! What the provisioner has to do, out of the claims and volumes there are. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use super::{CLASS, PROVISIONER};

/// Set by the scheduler once it has chosen where the claim's first pod runs.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Set by the controller-manager to say whose work the claim is.
const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// On a volume: who made it, and so who has to remove it.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Make a volume for a claim whose pod has a node.
    Provision {
        claim: Arc<PersistentVolumeClaim>,
        node: String,
        name: String,
    },
    /// Remove a volume whose claim is gone.
    Remove { name: String },
    /// Make a bound volume as large as its claim has come to ask for.
    Grow {
        volume: String,
        namespace: String,
        claim: String,
        size: Quantity,
    },
}

pub(super) fn plan(claims: &[Arc<PersistentVolumeClaim>], volumes: &[Arc<PersistentVolume>]) -> Vec<Step> {
    let ours: BTreeMap<String, &PersistentVolume> = volumes
        .iter()
        .filter(|volume| volume.annotations().get(PROVISIONED_BY).map(String::as_str) == Some(PROVISIONER))
        .map(|volume| (volume.name_any(), volume.as_ref()))
        .collect();
    let mut steps: Vec<Step> = claims
        .iter()
        .filter_map(|claim| provision(claim, &ours).or_else(|| grow(claim, &ours)))
        .collect();
    steps.extend(
        ours.iter()
            .filter(|(_, volume)| {
                phase(volume) == Some("Released") && volume.metadata.deletion_timestamp.is_none()
            })
            .map(|(name, _)| Step::Remove { name: name.clone() }),
    );
    steps
}

fn provision(
    claim: &Arc<PersistentVolumeClaim>,
    volumes: &BTreeMap<String, &PersistentVolume>,
) -> Option<Step> {
    let annotations = claim.annotations();
    let name = format!("pvc-{}", claim.uid()?);
    let unbound = claim.spec.as_ref()?.volume_name.is_none();
    let wanted = annotations.get(STORAGE_PROVISIONER)? == PROVISIONER
        && unbound
        && claim.metadata.deletion_timestamp.is_none()
        && !volumes.contains_key(&name);
    let node = annotations.get(SELECTED_NODE)?.clone();
    wanted.then(|| Step::Provision {
        claim: claim.clone(),
        node,
        name,
    })
}

fn grow(claim: &PersistentVolumeClaim, volumes: &BTreeMap<String, &PersistentVolume>) -> Option<Step> {
    let spec = claim.spec.as_ref()?;
    let volume = spec.volume_name.as_ref()?;
    let asked = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?;
    let status = claim.status.as_ref()?;
    let given = status.capacity.as_ref()?.get("storage")?;
    // The API server lets a claim only grow: what differs is larger.
    (volumes.contains_key(volume) && asked != given).then(|| Step::Grow {
        volume: volume.clone(),
        namespace: claim.namespace().unwrap_or_default(),
        claim: claim.name_any(),
        size: asked.clone(),
    })
}

fn phase(volume: &PersistentVolume) -> Option<&str> {
    volume.status.as_ref()?.phase.as_deref()
}

/// The volume for a claim: reserved for it, and reachable on its node only.
pub(super) fn volume(claim: &PersistentVolumeClaim, node: &str, name: &str, path: &Path) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let on_the_node = NodeSelectorTerm {
        match_expressions: Some(vec![NodeSelectorRequirement {
            key: "kubernetes.io/hostname".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        }]),
        match_fields: None,
    };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(BTreeMap::from([(
                PROVISIONED_BY.to_owned(),
                PROVISIONER.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: spec.resources.and_then(|resources| resources.requests),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: claim.namespace(),
                name: Some(claim.name_any()),
                uid: claim.uid(),
                ..ObjectReference::default()
            }),
            local: Some(LocalVolumeSource {
                path: path.to_string_lossy().into_owned(),
                fs_type: None,
            }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector {
                    node_selector_terms: vec![on_the_node],
                }),
            }),
            persistent_volume_reclaim_policy: Some("Delete".to_owned()),
            storage_class_name: Some(CLASS.to_owned()),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(annotations: serde_json::Value, volume: Option<&str>) -> Arc<PersistentVolumeClaim> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": "data", "namespace": "demo", "uid": "u1", "annotations": annotations },
                "spec": {
                    "volumeName": volume,
                    "accessModes": ["ReadWriteOnce"],
                    "resources": { "requests": { "storage": "2Gi" } },
                },
                "status": { "capacity": { "storage": "1Gi" } },
            }))
            .unwrap(),
        )
    }

    fn existing(by: &str, phase: &str) -> Arc<PersistentVolume> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": "pvc-u1", "annotations": { PROVISIONED_BY: by } },
                "status": { "phase": phase },
            }))
            .unwrap(),
        )
    }

    fn waiting() -> Arc<PersistentVolumeClaim> {
        claim(
            json!({ STORAGE_PROVISIONER: PROVISIONER, SELECTED_NODE: "n1" }),
            None,
        )
    }

    #[test]
    fn a_claim_gets_a_volume_once_its_pod_has_a_node() {
        let without_node = claim(json!({ STORAGE_PROVISIONER: PROVISIONER }), None);
        assert_eq!(plan(&[without_node], &[]), [], "no node, nothing to do yet");
        let steps = plan(&[waiting()], &[]);
        assert!(
            matches!(&steps[..], [Step::Provision { node, name, .. }] if node == "n1" && name == "pvc-u1"),
            "one volume on the chosen node, got {steps:?}"
        );
    }

    #[test]
    fn a_claim_of_another_provisioner_is_left_alone() {
        let foreign = claim(
            json!({ STORAGE_PROVISIONER: "somebody.else", SELECTED_NODE: "n1" }),
            None,
        );
        assert_eq!(plan(&[foreign], &[]), [], "not our claim");
    }

    #[test]
    fn a_claim_that_has_its_volume_gets_no_second_one() {
        assert_eq!(
            plan(&[waiting()], &[existing(PROVISIONER, "Available")]),
            [],
            "the volume is there, only not bound yet"
        );
    }

    #[test]
    fn a_released_volume_is_removed_and_a_foreign_one_is_not() {
        assert_eq!(
            plan(&[], &[existing(PROVISIONER, "Released")]),
            [Step::Remove {
                name: "pvc-u1".to_owned()
            }],
            "released and ours"
        );
        assert_eq!(
            plan(&[], &[existing("somebody.else", "Released")]),
            [],
            "released and foreign"
        );
    }

    #[test]
    fn a_bound_volume_grows_with_its_claim() {
        let steps = plan(
            &[claim(json!({}), Some("pvc-u1"))],
            &[existing(PROVISIONER, "Bound")],
        );
        assert!(
            matches!(&steps[..], [Step::Grow { size, .. }] if size.0 == "2Gi"),
            "2Gi asked, 1Gi given: it should grow, got {steps:?}"
        );
    }

    #[test]
    fn a_volume_names_its_claim_and_its_node() {
        let volume = volume(&waiting(), "n1", "pvc-u1", Path::new("/state/pvc-u1"));
        let text = serde_json::to_string(&volume).unwrap();
        for part in ["\"uid\":\"u1\"", "\"n1\"", "/state/pvc-u1", "\"2Gi\""] {
            assert!(text.contains(part), "{part} should be in {text}");
        }
    }
}
