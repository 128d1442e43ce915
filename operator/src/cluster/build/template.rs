//! What makes a new pod template, besides the pod itself: whatever reaches a member only by a restart is a mark on the
//! template, and nothing else is. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use vaultkeeper_crds::annotations::{CONFIG, RESTART, SEAL};

use super::{server_config, server_text};
use crate::cluster::validate::Validated;
use crate::hex::short_hash;

/// Marks the template with the server's configuration and the restart that was asked for.
///
/// # Errors
/// When `spec.serverConfig` holds a setting that is not the user's.
pub(super) fn mark(set: &mut StatefulSet, cluster: &Validated) -> Result<(), server_config::Refused> {
    let mut marks = BTreeMap::from([(CONFIG.to_owned(), fingerprint(cluster)?)]);
    marks.extend(cluster.restart.clone().map(|value| (RESTART.to_owned(), value)));
    marks.extend(cluster.seal_mark.clone().map(|value| (SEAL.to_owned(), value)));
    if let Some(spec) = &mut set.spec {
        let metadata = spec.template.metadata.get_or_insert_default();
        metadata.annotations.get_or_insert_default().extend(marks);
    }
    Ok(())
}

/// Identifies the configuration. The list of peers to join is left out: a member reads it once, while it is empty, and
/// two members more must not restart the others. The certificate is not in the text, it is reloaded.
fn fingerprint(cluster: &Validated) -> Result<String, server_config::Refused> {
    let text = server_text(&Validated {
        replicas: 1,
        ..cluster.clone()
    })?;
    Ok(short_hash(text.as_bytes(), 8))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;

    use super::*;
    use crate::cluster::build::statefulset::stateful_set;
    use crate::cluster::validate::{tests::cluster, validate};
    use crate::context::HelperImage;

    fn of(validated: &Validated) -> PodTemplateSpec {
        let helper = HelperImage {
            image: "vaultkeeper/agent:test".to_owned(),
            pull_policy: None,
        };
        let mut set = stateful_set(validated, &helper);
        mark(&mut set, validated).unwrap();
        set.spec.unwrap().template
    }

    fn template(extra: &str) -> PodTemplateSpec {
        of(&validate(&cluster(extra)).unwrap())
    }

    #[test]
    fn what_reaches_a_member_only_by_a_restart_changes_the_template() {
        let usual = template("");
        for (what, extra) in [
            (
                "the server's configuration",
                "  serverConfig: {max_lease_ttl: 87600h}",
            ),
            ("the seal", "  seal: {awskms: {region: r, kmsKeyId: k}}"),
            ("metrics", "  monitoring: {enabled: false}"),
            ("the image", "  image: registry.test/vault:other"),
            ("the resources", "  pod: {resources: {requests: {cpu: 250m}}}"),
            (
                "an annotation of the pods",
                "  pod: {annotations: {example.com/restart: a}}",
            ),
        ] {
            assert_ne!(usual, template(extra), "{what} needs a restart");
        }
    }

    #[test]
    fn what_needs_no_restart_leaves_the_template_as_it_is() {
        let usual = template("");
        for (what, extra) in [
            ("two members more", "  replicas: 5"),
            (
                "another configuration in Vault",
                "  configuration: {secretsEngines: [{path: a, type: kv}]}",
            ),
            (
                "access",
                "  access: [{namespaces: [a], pathPrefixes: [secret/data/a/]}]",
            ),
            (
                "names in the certificate",
                "  tls: {managed: {extraDnsNames: [vault.example.com]}}",
            ),
            ("the NetworkPolicy", "  networkPolicy: {enabled: false}"),
            ("the deletion policy", "  deletionPolicy: Delete"),
            (
                "what Prometheus is told",
                "  monitoring: {interval: 1m, labels: {a: b}, alerts: {maxLeases: 500}}",
            ),
        ] {
            assert_eq!(usual, template(extra), "{what} needs no restart");
        }
    }

    #[test]
    fn another_rotation_of_audit_logs_needs_no_restart() {
        let kept = |keep: u32| {
            let file = format!("{{path: log, file: {{path: /vault/audit/a.log, rotate: {{keep: {keep}}}}}}}");
            template(&format!(
                "  auditVolume: {{size: 2Gi}}\n  configuration: {{audit: [{file}]}}"
            ))
        };
        assert_eq!(kept(3), kept(4));
        assert_ne!(kept(3), template(""), "the volume is in the template");
    }

    #[test]
    fn a_restart_that_is_asked_for_is_a_new_template_each_time() {
        let asked = |value: &str| {
            let mut object = cluster("");
            object.metadata.annotations = Some(BTreeMap::from([(RESTART.to_owned(), value.to_owned())]));
            of(&validate(&object).unwrap())
        };
        assert_ne!(asked("1"), template(""));
        assert_ne!(asked("1"), asked("2"));
        assert_eq!(asked("1"), asked("1"));
    }

    #[test]
    fn annotations_of_the_user_stay_beside_the_marks() {
        let template = template("  pod: {annotations: {example.com/note: a}}");
        let annotations = template.metadata.unwrap().annotations.unwrap();
        assert_eq!(annotations["example.com/note"], "a");
        assert_eq!(annotations[CONFIG].len(), 16, "{annotations:?}");
    }

    /// Of the template of the usual cluster.
    const PINNED: &str = "f740d9c2b28de33f";

    #[test]
    fn an_upgrade_of_the_operator_restarts_no_member_without_anybody_noticing() {
        let text = serde_json::to_vec(&template("")).unwrap();
        let now = short_hash(&text, 8);
        assert_eq!(
            now, PINNED,
            "the pod template of the usual cluster has changed: every cluster restarts its members, one after the other, when it gets this operator. If that is meant, write the new value into PINNED"
        );
    }
}
