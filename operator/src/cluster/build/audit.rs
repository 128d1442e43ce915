//! Where audit logs go to: a volume of the member, and the socket of the host's syslog. Nothing of it is in the pod of a
//! cluster that declares neither. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{HostPathVolumeSource, PersistentVolumeClaim, Volume, VolumeMount};
use serde_json::json;
use vaultkeeper_crds::cluster::AuditVolume;

use super::config;
use super::statefulset::{claim_template, mount};
use crate::cluster::validate::{Rotated, Validated};

/// Name of the volume.
const VOLUME: &str = "audit";
/// Its folder in the container.
pub(crate) const FOLDER: &str = "/vault/audit";
/// Key of the ConfigMap with what the helper is to rotate: a change reaches it without a restart.
pub(super) const ROTATION: &str = "rotation.json";
const SYSLOG_VOLUME: &str = "syslog";
/// Where a program looks for syslog.
const SYSLOG: &str = "/dev/log";

/// The claim of each member.
pub(super) fn claim(cluster: &Validated) -> Option<PersistentVolumeClaim> {
    let AuditVolume {
        size,
        storage_class_name,
    } = cluster.audit_volume.as_ref()?;
    Some(claim_template(cluster, VOLUME, size, storage_class_name.as_ref()))
}

/// What the pod gets beside the claim.
pub(super) fn volumes(cluster: &Validated) -> Option<Volume> {
    let path = cluster.pod.syslog_socket.clone()?;
    Some(Volume {
        name: SYSLOG_VOLUME.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path,
            // Anything else at that path keeps the pod from starting, and the kubelet says so.
            type_: Some("Socket".to_owned()),
        }),
        ..Volume::default()
    })
}

/// What the server mounts.
pub(super) fn mounts(cluster: &Validated) -> Vec<VolumeMount> {
    let volume = cluster.audit_volume.as_ref();
    let socket = cluster.pod.syslog_socket.as_ref();
    let mut mounts = Vec::new();
    mounts.extend(volume.map(|_| mount(VOLUME, FOLDER, false)));
    mounts.extend(socket.map(|_| mount(SYSLOG_VOLUME, SYSLOG, false)));
    mounts
}

/// What the helper mounts beside the certificate.
pub(super) fn mounts_of_helper(cluster: &Validated) -> Vec<VolumeMount> {
    match cluster.audit_volume {
        Some(_) => vec![
            mount(VOLUME, FOLDER, false),
            mount("config", config::CONFIG, true),
        ],
        None => Vec::new(),
    }
}

/// What the helper is told.
pub(super) fn arguments_of_helper(cluster: &Validated) -> Vec<String> {
    match cluster.audit_volume {
        Some(_) => vec![
            format!("-audit={FOLDER}"),
            format!("-rotation={}/{ROTATION}", config::CONFIG),
        ],
        None => Vec::new(),
    }
}

/// What is to be rotated, for the ConfigMap.
pub(super) fn rotation(cluster: &Validated) -> Option<String> {
    cluster.audit_volume.as_ref()?;
    let file = |(name, rotated): (&String, &Rotated)| {
        let Rotated { max_size, keep } = rotated;
        (name.clone(), json!({"maxSize": max_size, "keep": keep}))
    };
    let files: BTreeMap<_, _> = cluster.rotated.iter().map(file).collect();
    Some(json!({ "files": files }).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::config_map;
    use super::super::statefulset::stateful_set;
    use super::*;
    use crate::cluster::validate::{examine, tests::cluster, validate};
    use crate::context::HelperImage;
    use k8s_openapi::api::core::v1::{Container, PodSpec};

    const FILES: &str = "  auditVolume: {size: 2Gi, storageClassName: slow}\n  configuration: {audit: [{path: out, stdout: {}}, {path: log, file: {path: /vault/audit/audit.log, rotate: {maxSize: 200Mi, keep: 3}}}, {path: err, file: {path: /dev/stderr}}]}";

    fn of(extra: &str) -> (Vec<PersistentVolumeClaim>, PodSpec) {
        let set = stateful_set(&validate(&cluster(extra)).unwrap(), &HelperImage::default());
        let spec = set.spec.unwrap();
        (
            spec.volume_claim_templates.unwrap_or_default(),
            spec.template.spec.unwrap(),
        )
    }

    fn mounted(container: &Container, path: &str) -> Option<bool> {
        let mut mounts = container.volume_mounts.iter().flatten();
        let mount = mounts.find(|m| m.mount_path == path)?;
        Some(mount.read_only == Some(true))
    }

    #[test]
    fn server_and_helper_share_a_claim_of_their_own() {
        let (claims, pod) = of(FILES);
        let [data, audit] = claims.as_slice() else {
            panic!("two claims are expected: {claims:?}")
        };
        assert_eq!(data.metadata.name.as_deref(), Some("data"));
        assert_eq!(audit.metadata.name.as_deref(), Some("audit"));
        assert_eq!(
            audit.metadata.labels, data.metadata.labels,
            "kept and deleted like the data"
        );
        let spec = audit.spec.clone().unwrap();
        assert_eq!(spec.storage_class_name.as_deref(), Some("slow"));
        assert_eq!(spec.resources.unwrap().requests.unwrap()["storage"].0, "2Gi");
        for container in &pod.containers {
            assert_eq!(
                mounted(container, FOLDER),
                Some(false),
                "{} writes there",
                container.name
            );
        }
        let helper = &pod.containers[1];
        assert_eq!(mounted(helper, "/vault/config"), Some(true));
        let arguments = helper.args.clone().unwrap();
        let options = arguments.split(|a| a == "--").next().unwrap();
        assert!(
            options.contains(&"-audit=/vault/audit".to_owned())
                && options.contains(&"-rotation=/vault/config/rotation.json".to_owned()),
            "{arguments:?}"
        );
    }

    #[test]
    fn a_cluster_in_memory_may_have_the_claim_alone() {
        let mut object = cluster("  replicas: 1\n  profile: Development\n  auditVolume: {}");
        object.spec.storage = serde_yaml::from_str("{ephemeral: {}}").unwrap();
        let set = stateful_set(&validate(&object).unwrap(), &HelperImage::default());
        let claims = set.spec.unwrap().volume_claim_templates.unwrap();
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].metadata.name.as_deref(), Some(VOLUME));
    }

    #[test]
    fn the_helper_reads_from_the_config_map_what_is_declared_also_of_a_refused_configuration() {
        let told = |extra: &str| {
            let data = config_map(&examine(&cluster(extra)).unwrap()).unwrap().data;
            let text = data.unwrap().remove(ROTATION)?;
            Some(serde_json::from_str::<serde_json::Value>(&text).unwrap())
        };
        let wanted = json!({"files": {"audit.log": {"maxSize": 209_715_200, "keep": 3}}});
        assert_eq!(told(FILES), Some(wanted.clone()), "streams are not rotated");
        let refused = FILES.replace("{path: err,", "{path: 'E R R',");
        assert!(examine(&cluster(&refused)).unwrap().configuration.is_err());
        assert_eq!(
            told(&refused),
            Some(wanted),
            "no log is removed since something else is misspelt"
        );
        assert_eq!(told(""), None);
    }

    #[test]
    fn the_socket_of_the_host_is_mounted_into_the_server_alone_and_nothing_else_of_the_host() {
        let (_, pod) = of("  pod: {syslogSocket: /run/systemd/journal/dev-log}");
        let volume = pod.volumes.iter().flatten().find(|v| v.host_path.is_some());
        let source = volume.unwrap().host_path.clone().unwrap();
        assert_eq!(source.path, "/run/systemd/journal/dev-log");
        assert_eq!(source.type_.as_deref(), Some("Socket"));
        assert_eq!(mounted(&pod.containers[0], SYSLOG), Some(false));
        assert_eq!(mounted(&pod.containers[1], SYSLOG), None);
    }
}
