//! The members: a StatefulSet whose pods start together and are never replaced by the controller itself.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vaultkeeper_crds::cluster::{Distribution, RaftStorage};
use vaultkeeper_crds::names;

use super::{audit, config, credentials, metadata, placement, reload, seal, selector};
use crate::cluster::validate::{Storage, Validated};
use crate::context::HelperImage;

/// Name of the server's container.
pub const CONTAINER: &str = "vault";
const DATA_VOLUME: &str = "data";
/// Volume with the certificate.
pub(super) const TLS_VOLUME: &str = "tls";
/// A SIGTERM during `sys/init` waits for it, and an active member steps down.
const GRACE_SECONDS: i64 = 60;
/// The user of the official images.
const USER: i64 = 100;
const GROUP: i64 = 1000;
/// Never fails for a sealed, uninitialised, removed or cut-off member: a restart would heal none of them.
const LIVENESS: &str = "/v1/sys/health?standbyok=true&perfstandbyok=true&drsecondarycode=200&sealedcode=200&uninitcode=200&removedcode=200&haunhealthycode=200";
/// Only members that serve.
const READINESS: &str = "/v1/sys/health?standbyok=true&perfstandbyok=true";

/// Name of a member's volume claim.
pub fn volume_claim(name: &str, ordinal: u32) -> String {
    volume_claim_of(&names::member(name, ordinal))
}

/// Name of the volume claim of the member with this name.
pub(crate) fn volume_claim_of(member: &str) -> String {
    format!("{DATA_VOLUME}-{member}")
}

/// The Secret from which the members of a StatefulSet have their certificate.
pub(crate) fn mounted_certificate(set: &StatefulSet) -> Option<&str> {
    let volumes = set.spec.as_ref()?.template.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == TLS_VOLUME)?;
    volume.secret.as_ref()?.secret_name.as_deref()
}

/// The members.
pub(crate) fn stateful_set(cluster: &Validated, helper: &HelperImage) -> StatefulSet {
    StatefulSet {
        metadata: metadata(cluster, cluster.name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: i32::try_from(cluster.replicas).ok(),
            service_name: Some(names::headless_service(&cluster.name)),
            selector: LabelSelector {
                match_labels: Some(selector(&cluster.name)),
                ..LabelSelector::default()
            },
            // Ordered start would wait for a first member that cannot be ready before it has quorum.
            pod_management_policy: Some("Parallel".to_owned()),
            // A rollout by the controller knows nothing of leaders and voters.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            volume_claim_templates: Some(claim_templates(cluster)).filter(|claims| !claims.is_empty()),
            template: PodTemplateSpec {
                metadata: Some(placement::pod_metadata(cluster)),
                spec: Some(pod_spec(cluster, helper)),
            },
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// The volumes of each member, with the sizes of the spec.
pub(crate) fn claim_templates(cluster: &Validated) -> Vec<PersistentVolumeClaim> {
    let data = match &cluster.storage {
        Storage::Raft(RaftStorage {
            size,
            storage_class_name,
        }) => Some(claim_template(
            cluster,
            DATA_VOLUME,
            size,
            storage_class_name.as_ref(),
        )),
        Storage::Consul(_) | Storage::Ephemeral => None,
    };
    data.into_iter().chain(audit::claim(cluster)).collect()
}

/// The set as it may be applied over the one that is there. The API server takes no other claim templates, so that they
/// keep the sizes of its creation; the claims themselves grow.
pub(crate) fn over(wanted: &StatefulSet, found: &StatefulSet) -> StatefulSet {
    let mut set = wanted.clone();
    let fixed = found
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_claim_templates.as_ref());
    let ours = set
        .spec
        .as_mut()
        .and_then(|spec| spec.volume_claim_templates.as_mut());
    for template in ours.into_iter().flatten() {
        let same = |old: &&PersistentVolumeClaim| old.metadata.name == template.metadata.name;
        let old = fixed.into_iter().flatten().find(same);
        let size = old.and_then(|old| old.spec.as_ref()?.resources.clone());
        if let (Some(size), Some(spec)) = (size, &mut template.spec) {
            spec.resources = Some(size);
        }
    }
    set
}

/// A volume of each member. All have the labels by which they are kept or deleted together.
pub(super) fn claim_template(
    cluster: &Validated,
    name: &str,
    size: &str,
    class: Option<&String>,
) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(selector(&cluster.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: class.cloned(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(size.to_owned()),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn pod_spec(cluster: &Validated, helper: &HelperImage) -> PodSpec {
    let mut pod = PodSpec {
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(GROUP),
            fs_group: Some(GROUP),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(cluster), reload::container(cluster, helper)],
        // The helper finds the server among the processes and signals it.
        share_process_namespace: Some(true),
        volumes: Some(volumes(cluster)),
        ..PodSpec::default()
    };
    placement::place(cluster, &mut pod);
    pod
}

fn volumes(cluster: &Validated) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: super::config_name(cluster),
                ..Default::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: TLS_VOLUME.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(cluster.tls.secret_name(&cluster.name)),
                ..Default::default()
            }),
            ..Volume::default()
        },
    ];
    volumes.extend(credentials::volume(&credentials::of(cluster)));
    volumes.extend(audit::volumes(cluster));
    volumes
}

fn container(cluster: &Validated) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        // Not the image's entrypoint: that one is a shell script which changes owners.
        command: Some(command(cluster)),
        env: Some(environment(cluster)),
        ports: Some(ports(cluster)),
        resources: cluster.pod.resources.clone(),
        security_context: Some(restricted()),
        volume_mounts: Some(volume_mounts(cluster)),
        // What a server says as it exits because its seal is away is all that tells why it does not start.
        termination_message_policy: cluster.auto_seal().map(|_| "FallbackToLogsOnError".to_owned()),
        // sys/init blocks health for up to 9 s, the restore of a snapshot for 6 s and longer with much data. What
        // hangs for good is killed all the same, only later.
        liveness_probe: Some(probe(LIVENESS, 10, 10, 30)),
        readiness_probe: Some(probe(READINESS, 2, 3, 2)),
        ..Container::default()
    }
}

fn ports(cluster: &Validated) -> Vec<ContainerPort> {
    let mut ports = vec![
        container_port("https", names::API_PORT),
        container_port("https-internal", names::CLUSTER_PORT),
    ];
    if cluster.monitoring.is_some() {
        ports.push(container_port(super::monitoring::PORT, names::METRICS_PORT));
    }
    ports
}

/// The server's command line.
pub(super) fn command(cluster: &Validated) -> Vec<String> {
    let program = match cluster.distribution {
        Distribution::Vault => "vault",
        Distribution::OpenBao => "bao",
    };
    vec![
        program.to_owned(),
        "server".to_owned(),
        format!("-config={}/{}", config::CONFIG, config::FILE),
    ]
}

/// What Pod Security `restricted` asks of a container, and a file system that nobody writes to.
pub(super) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

fn volume_mounts(cluster: &Validated) -> Vec<VolumeMount> {
    let mut mounts = Vec::new();
    if matches!(cluster.storage, Storage::Raft(_)) {
        mounts.push(mount(DATA_VOLUME, config::DATA, false));
    }
    mounts.push(mount("config", config::CONFIG, true));
    mounts.push(mount(TLS_VOLUME, config::TLS, true));
    if credentials::volume(&credentials::of(cluster)).is_some() {
        mounts.push(mount(credentials::VOLUME, credentials::FOLDER, true));
    }
    mounts.extend(audit::mounts(cluster));
    mounts
}

fn environment(cluster: &Validated) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    };
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
    };
    // Names, not pod addresses: Raft remembers them, and a moved pod keeps its name.
    let own = format!(
        "https://$(POD_NAME).{}.{}.svc",
        names::headless_service(&cluster.name),
        cluster.namespace
    );
    let mut variables = vec![field("POD_NAME", "metadata.name")];
    if matches!(cluster.storage, Storage::Raft(_)) {
        variables.push(field("VAULT_RAFT_NODE_ID", "metadata.name"));
        // The root is read-only, and to restore a snapshot the server writes it to a temporary file first. Not into an
        // emptyDir: with one `kubectl drain` refuses the node.
        variables.push(value("TMPDIR", config::DATA.to_owned()));
    }
    variables.extend([
        value("VAULT_API_ADDR", format!("{own}:{}", names::API_PORT)),
        value("VAULT_CLUSTER_ADDR", format!("{own}:{}", names::CLUSTER_PORT)),
    ]);
    if !seal::forbids_cli_variables(cluster) {
        // For people who run the command line in the pod.
        variables.push(value(
            "VAULT_ADDR",
            format!("https://localhost:{}", names::API_PORT),
        ));
        variables.push(value(
            "VAULT_CACERT",
            format!("{}/{}", config::TLS, names::CA_KEY),
        ));
    }
    variables.extend(credentials::environment(&credentials::of(cluster)));
    variables
}

fn container_port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("https".to_owned()),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn built() -> StatefulSet {
        stateful_set(&validate(&cluster("")).unwrap(), &HelperImage::default())
    }

    #[test]
    fn the_controller_starts_members_together_and_replaces_none_by_itself() {
        let spec = built().spec.unwrap();
        assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
        assert_eq!(spec.update_strategy.unwrap().type_.as_deref(), Some("OnDelete"));
        let retention = spec.persistent_volume_claim_retention_policy.unwrap();
        assert_eq!(
            (
                retention.when_deleted.as_deref(),
                retention.when_scaled.as_deref()
            ),
            (Some("Retain"), Some("Retain"))
        );
    }

    #[test]
    fn the_secret_of_the_certificate_is_read_back_from_what_was_built() {
        assert_eq!(mounted_certificate(&built()), Some("main-tls"));
        let bought = validate(&cluster("  tls: {secretName: bought}")).unwrap();
        let set = stateful_set(&bought, &HelperImage::default());
        assert_eq!(mounted_certificate(&set), Some("bought"));
        assert_eq!(mounted_certificate(&StatefulSet::default()), None);
    }

    #[test]
    fn a_member_has_time_to_step_down_and_to_finish_an_initialisation() {
        let grace = built()
            .spec
            .unwrap()
            .template
            .spec
            .unwrap()
            .termination_grace_period_seconds;
        assert!(
            grace.is_some_and(|seconds| seconds >= 30),
            "sys/init takes up to 9 s, a step-down 1 s, on an idle machine: {grace:?}"
        );
    }

    #[test]
    fn the_pod_meets_the_restricted_pod_security_standard() {
        let pod = built().spec.unwrap().template.spec.unwrap();
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in &pod.containers {
            let security = container.security_context.clone().unwrap();
            assert_eq!(
                security.allow_privilege_escalation,
                Some(false),
                "{}",
                container.name
            );
            assert_eq!(
                security.read_only_root_filesystem,
                Some(true),
                "{}",
                container.name
            );
            assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
        }
    }

    #[test]
    fn secrets_of_a_seal_reach_the_container_and_the_usual_cluster_has_none() {
        let usual = built().spec.unwrap().template.spec.unwrap();
        assert_eq!(usual.volumes.as_ref().unwrap().len(), 2);
        assert_eq!(usual.containers[0].termination_message_policy, None);
        let seal = "  seal: {transit: {address: 'https://kms:8200', keyName: auto, tokenSecret: {name: unseal, key: token}, caSecret: {name: ca, key: ca.crt}}}";
        let pod = stateful_set(&validate(&cluster(seal)).unwrap(), &HelperImage::default());
        let pod = pod.spec.unwrap().template.spec.unwrap();
        let container = &pod.containers[0];
        let names: Vec<&str> = container.env.iter().flatten().map(|v| v.name.as_str()).collect();
        assert!(
            names.contains(&"VAULT_TOKEN")
                && !names.contains(&"VAULT_CACERT")
                && !names.contains(&"VAULT_ADDR"),
            "{names:?}"
        );
        let mounts = container.volume_mounts.as_ref().unwrap();
        assert!(
            mounts
                .iter()
                .any(|m| m.mount_path == "/vault/credentials" && m.read_only == Some(true)),
            "{mounts:?}"
        );
        assert!(pod.volumes.unwrap().iter().any(|v| v.projected.is_some()));
        assert_eq!(
            container.termination_message_policy.as_deref(),
            Some("FallbackToLogsOnError")
        );
    }

    #[test]
    fn temporary_files_lie_on_the_data_volume_and_no_volume_keeps_a_node_from_being_drained() {
        let pod = built().spec.unwrap().template.spec.unwrap();
        let server = &pod.containers[0];
        let folder = server.env.iter().flatten().find(|v| v.name == "TMPDIR");
        let folder = folder.and_then(|v| v.value.clone()).expect("TMPDIR");
        let mut mounts = server.volume_mounts.iter().flatten();
        assert!(
            mounts.any(|m| m.mount_path == folder && m.name == DATA_VOLUME && m.read_only.is_none()),
            "{folder} should be where the server may write: {:?}",
            server.volume_mounts
        );
        assert!(pod.volumes.unwrap().iter().all(|v| v.empty_dir.is_none()));
    }

    #[test]
    fn a_cluster_without_raft_has_no_volumes_of_its_own() {
        let mut object = cluster("  replicas: 1\n  profile: Development");
        object.spec.storage = serde_yaml::from_str("{ephemeral: {}}").unwrap();
        let spec = stateful_set(&validate(&object).unwrap(), &HelperImage::default())
            .spec
            .unwrap();
        assert_eq!(spec.volume_claim_templates, None);
        let container = &spec.template.spec.unwrap().containers[0];
        assert!(
            !container
                .volume_mounts
                .iter()
                .flatten()
                .any(|m| m.name == DATA_VOLUME)
        );
        assert!(
            !container
                .env
                .iter()
                .flatten()
                .any(|v| ["VAULT_RAFT_NODE_ID", "TMPDIR"].contains(&v.name.as_str()))
        );
    }

    #[test]
    fn liveness_accepts_every_state_and_outlasts_an_initialisation() {
        let container = &built().spec.unwrap().template.spec.unwrap().containers[0];
        let probe = container.liveness_probe.clone().unwrap();
        let path = probe.http_get.unwrap().path.unwrap();
        for code in [
            "sealedcode=200",
            "uninitcode=200",
            "removedcode=200",
            "haunhealthycode=200",
        ] {
            assert!(path.contains(code), "{code} is missing in {path}");
        }
        let budget = probe.period_seconds.unwrap() * probe.failure_threshold.unwrap();
        assert!(
            budget >= 300,
            "the pod would be killed during a restore: {budget} s"
        );
        assert!(
            probe.timeout_seconds.unwrap() > 9,
            "sys/init blocks health for 9 s"
        );
    }
}
