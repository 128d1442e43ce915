//! What the injector reads of a pod. Everything else of it is neither parsed nor changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A pod as it was sent for admission.
#[derive(Deserialize, Debug, Default)]
pub struct Pod {
    /// Name and annotations.
    #[serde(default, deserialize_with = "null_is_default")]
    pub metadata: Metadata,
    /// Containers and volumes.
    #[serde(default, deserialize_with = "null_is_default")]
    pub spec: Spec,
}

/// A pod's metadata.
#[derive(Deserialize, Debug, Default)]
pub struct Metadata {
    /// All annotations.
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// A pod's spec.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The ServiceAccount; `default` when it is not given.
    #[serde(default, deserialize_with = "null_is_default")]
    pub service_account_name: String,
    /// The containers of the application.
    #[serde(default, deserialize_with = "null_is_default")]
    pub containers: Vec<Container>,
    /// The init containers, native sidecars among them; `None` when the pod has no such list.
    #[serde(default)]
    pub init_containers: Option<Vec<Container>>,
    /// The volumes; `None` when the pod has no such list.
    #[serde(default)]
    pub volumes: Option<Vec<Volume>>,
    /// The operating system.
    #[serde(default)]
    pub os: Option<Os>,
}

/// A container of a pod.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// Its mounts; `None` when it has no such list.
    #[serde(default)]
    pub volume_mounts: Option<Vec<VolumeMount>>,
    /// Its own security context.
    #[serde(default)]
    pub security_context: Option<SecurityContext>,
}

/// What is read of a container's security context.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// The user that the container runs as.
    #[serde(default)]
    pub run_as_user: Option<i64>,
}

/// A mount of a volume.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Where it appears.
    #[serde(default, deserialize_with = "null_is_default")]
    pub mount_path: String,
}

/// A volume of a pod.
#[derive(Deserialize, Debug, Default)]
pub struct Volume {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
}

/// The operating system that a pod asks for.
#[derive(Deserialize, Debug, Default)]
pub struct Os {
    /// `linux` or `windows`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
}

impl Pod {
    /// The ServiceAccount that the pod runs as.
    pub fn service_account(&self) -> &str {
        match self.spec.service_account_name.as_str() {
            "" => "default",
            name => name,
        }
    }

    /// The init containers, if there are any.
    pub fn init_containers(&self) -> &[Container] {
        self.spec.init_containers.as_deref().unwrap_or_default()
    }

    /// Whether an injector put its agent in: ours, or the existing one, whose agent may be an init container alone.
    pub fn has_agent(&self) -> bool {
        let all = self.spec.containers.iter().chain(self.init_containers());
        all.into_iter()
            .any(|container| ["vault-agent", "vault-agent-init"].contains(&container.name.as_str()))
    }

    /// The volumes, if there are any.
    pub fn volumes(&self) -> &[Volume] {
        self.spec.volumes.as_deref().unwrap_or_default()
    }
}

impl Container {
    /// The mounts, if there are any.
    pub fn mounts(&self) -> &[VolumeMount] {
        self.volume_mounts.as_deref().unwrap_or_default()
    }
}

/// Kubernetes' own decoder reads `null` as an absent field, so this one does too.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_full_of_nulls_is_an_empty_pod() {
        let pod: Pod = serde_json::from_str(
            r#"{"metadata":{"annotations":null},"spec":{"containers":null,"initContainers":null,"volumes":null,"serviceAccountName":null}}"#,
        )
        .expect("nulls are absent fields");
        assert!(
            pod.spec.containers.is_empty() && pod.init_containers().is_empty(),
            "nothing is in it: {pod:?}"
        );
        assert_eq!(
            pod.service_account(),
            "default",
            "a pod without a ServiceAccount runs as default"
        );
    }

    #[test]
    fn an_annotation_that_is_not_text_is_an_error() {
        let pod: Result<Pod, _> = serde_json::from_str(r#"{"metadata":{"annotations":{"a":true}}}"#);
        assert!(pod.is_err(), "annotations are strings: {pod:?}");
    }
}
