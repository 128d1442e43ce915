//! What somebody who took over one of our ServiceAccounts would try.

use serde_json::{Value, json};

use super::{Abuse, NAMESPACE, Stage, ours, stateful_set};

impl Stage {
    /// Abuses by the operator. Each offends one policy only: of several the API server names any.
    pub(super) fn by_operator(&self) -> Vec<Abuse> {
        let mut all = self.creations();
        all.extend(self.changes());
        all
    }

    fn creations(&self) -> Vec<Abuse> {
        let space = format!("/api/v1/namespaces/{}", self.foreign);
        let sets = format!("/apis/apps/v1/namespaces/{}/statefulsets", self.foreign);
        let create = |what, message, path: String, body: Value| Abuse {
            what,
            message,
            method: "POST",
            path,
            body,
        };
        let set = |name: &str, account: &str, pod: Value| {
            let mut set = stateful_set(name, account, &pod);
            set["metadata"]["labels"] = ours();
            set
        };
        let reach = "do not reach for the node";
        let container = |security: Value| json!({ "containers": [{ "name": "a", "image": "a", "securityContext": security }] });
        let service = |spec: Value| json!({ "metadata": { "name": "a", "labels": ours() }, "spec": spec });
        vec![
            create(
                "a Secret that gets the token of a strong ServiceAccount",
                "Secrets of Opaque and kubernetes.io/tls only",
                format!("{space}/secrets"),
                json!({
                    "metadata": { "name": "a", "labels": ours(), "annotations": { "kubernetes.io/service-account.name": "strong" } },
                    "type": "kubernetes.io/service-account-token",
                }),
            ),
            create(
                "a Secret that is read as a token to join the cluster with",
                "Secrets of Opaque and kubernetes.io/tls only",
                format!("{space}/secrets"),
                json!({ "metadata": { "name": "a", "labels": ours() }, "type": "bootstrap.kubernetes.io/token" }),
            ),
            create(
                "a Secret without the label",
                "creates only objects with the label",
                format!("{space}/secrets"),
                json!({ "metadata": { "name": "a" } }),
            ),
            create(
                "a StatefulSet with a ServiceAccount of another name",
                "ServiceAccount of their own name",
                sets.clone(),
                set("a", "other", json!({})),
            ),
            create(
                "a StatefulSet named after a strong ServiceAccount",
                "no ServiceAccount that the operator has not made",
                sets.clone(),
                set("strong", "strong", json!({})),
            ),
            create(
                "a StatefulSet without the label",
                "creates only objects with the label",
                sets.clone(),
                stateful_set("a", "a", &json!({})),
            ),
            create(
                "a privileged StatefulSet",
                reach,
                sets.clone(),
                set("a", "a", container(json!({ "privileged": true }))),
            ),
            create(
                "a StatefulSet with capabilities",
                reach,
                sets.clone(),
                set(
                    "a",
                    "a",
                    container(json!({ "capabilities": { "add": ["SYS_ADMIN"] } })),
                ),
            ),
            create(
                "a StatefulSet with files of its node",
                reach,
                sets.clone(),
                set(
                    "a",
                    "a",
                    json!({ "volumes": [{ "name": "a", "hostPath": { "path": "/" } }] }),
                ),
            ),
            create(
                "a StatefulSet with a socket of its node that is none of syslog",
                reach,
                sets.clone(),
                set(
                    "a",
                    "a",
                    json!({ "volumes": [{ "name": "a", "hostPath": { "path": "/run/containerd/containerd.sock", "type": "Socket" } }] }),
                ),
            ),
            create(
                "a StatefulSet with a folder of its node that is called like a socket of syslog",
                reach,
                sets.clone(),
                set(
                    "a",
                    "a",
                    json!({ "volumes": [{ "name": "a", "hostPath": { "path": "/dev/log" } }] }),
                ),
            ),
            create(
                "a StatefulSet in its node's network",
                reach,
                sets,
                set("a", "a", json!({ "hostNetwork": true })),
            ),
            create(
                "token review for another ServiceAccount",
                "ServiceAccount that the binding is named after",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned(),
                json!({
                    "metadata": { "name": format!("vaultkeeper:reviewer:{}.main", self.foreign), "labels": ours() },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator" },
                    "subjects": [{ "kind": "ServiceAccount", "name": "strong", "namespace": self.foreign }],
                }),
            ),
            create(
                "a Service with an address of somebody else",
                "opens no Service to the outside",
                format!("{space}/services"),
                service(
                    json!({ "ports": [{ "port": 1 }], "selector": { "vaultkeeper.dev/cluster": "a" }, "externalIPs": ["192.0.2.1"] }),
                ),
            ),
            create(
                "a Service that leads elsewhere",
                "lead to members of a VaultCluster",
                format!("{space}/services"),
                service(json!({ "ports": [{ "port": 1 }], "selector": { "app": "a" } })),
            ),
            create(
                "a ConfigMap that a system reads",
                "creates only ConfigMaps named",
                "/api/v1/namespaces/kube-system/configmaps".to_owned(),
                json!({ "metadata": { "name": "aws-auth", "labels": ours() } }),
            ),
        ]
    }

    fn changes(&self) -> Vec<Abuse> {
        let space = format!("/api/v1/namespaces/{}", self.foreign);
        let apps = format!("/apis/apps/v1/namespaces/{}", self.foreign);
        let kept = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        let owner = &self.foreign;
        let mark = "only objects that bear its mark";
        let abuse = |what, message, method, path: String, body: Value| Abuse {
            what,
            message,
            method,
            path,
            body,
        };
        let restart = "nothing of a Deployment or DaemonSet but the annotation";
        let restart_and = |spec: Value| {
            let annotations = json!({ "rotation.vaultkeeper.dev/credentials": "1" });
            let mut body = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
            merge(&mut body["spec"], &spec);
            body
        };
        // The label in the change itself must not help.
        let take = || json!({ "metadata": { "labels": ours() } });
        vec![
            abuse(
                "changing a Secret in kube-system",
                mark,
                "PATCH",
                format!("/api/v1/namespaces/kube-system/secrets/theirs-{owner}"),
                take(),
            ),
            abuse(
                "deleting a foreign Secret",
                mark,
                "DELETE",
                format!("{space}/secrets/theirs"),
                Value::Null,
            ),
            abuse(
                "changing a foreign ConfigMap",
                mark,
                "PATCH",
                format!("{space}/configmaps/theirs"),
                take(),
            ),
            abuse(
                "deleting a foreign ConfigMap",
                mark,
                "DELETE",
                format!("{space}/configmaps/theirs"),
                Value::Null,
            ),
            abuse(
                "changing a foreign Service",
                mark,
                "PATCH",
                format!("{space}/services/theirs"),
                take(),
            ),
            abuse(
                "taking over a ServiceAccount",
                mark,
                "PATCH",
                format!("{space}/serviceaccounts/strong"),
                take(),
            ),
            abuse(
                "changing a foreign StatefulSet",
                mark,
                "PATCH",
                format!("{apps}/statefulsets/theirs"),
                take(),
            ),
            abuse(
                "restarting a foreign StatefulSet with another image",
                mark,
                "PATCH",
                format!("{apps}/statefulsets/theirs"),
                restart_and(
                    json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "b" }] } } }),
                ),
            ),
            abuse(
                "restarting a foreign Deployment with another image",
                restart,
                "PATCH",
                format!("{apps}/deployments/theirs"),
                restart_and(
                    json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "b" }] } } }),
                ),
            ),
            abuse(
                "restarting a foreign Deployment as somebody else",
                restart,
                "PATCH",
                format!("{apps}/deployments/theirs"),
                restart_and(json!({ "template": { "spec": { "serviceAccountName": "other" } } })),
            ),
            abuse(
                "scaling a foreign Deployment",
                restart,
                "PATCH",
                format!("{apps}/deployments/theirs"),
                restart_and(json!({ "replicas": 0 })),
            ),
            abuse(
                "having something injected into a foreign DaemonSet",
                restart,
                "PATCH",
                format!("{apps}/daemonsets/theirs"),
                restart_and(
                    json!({ "template": { "metadata": { "annotations": { "vault.hashicorp.com/agent-inject": "true" } } } }),
                ),
            ),
            abuse(
                "labelling the pods of a foreign DaemonSet",
                restart,
                "PATCH",
                format!("{apps}/daemonsets/theirs"),
                restart_and(json!({ "template": { "metadata": { "labels": { "b": "c" } } } })),
            ),
            abuse(
                "taking a foreign Deployment over",
                restart,
                "PATCH",
                format!("{apps}/deployments/theirs"),
                take(),
            ),
            abuse(
                "deleting a foreign StatefulSet",
                mark,
                "DELETE",
                format!("{apps}/statefulsets/theirs"),
                Value::Null,
            ),
            abuse(
                "deleting a foreign pod",
                "pods and volume claims of members",
                "DELETE",
                format!("{space}/pods/theirs"),
                Value::Null,
            ),
            abuse(
                "labelling a foreign pod",
                "changes the status of no pod",
                "PATCH",
                format!("{space}/pods/theirs/status"),
                json!({ "metadata": { "labels": { "vaultkeeper.dev/state": "active" } } }),
            ),
            abuse(
                "changing the status of a member's pod",
                "changes the status of no pod",
                "PATCH",
                format!("{space}/pods/member/status"),
                json!({ "status": { "message": "x" } }),
            ),
            abuse(
                "deleting a foreign NetworkPolicy",
                mark,
                "DELETE",
                format!("/apis/networking.k8s.io/v1/namespaces/{owner}/networkpolicies/theirs"),
                Value::Null,
            ),
            abuse(
                "deleting a foreign volume claim",
                "pods and volume claims of members",
                "DELETE",
                format!("{space}/persistentvolumeclaims/theirs"),
                Value::Null,
            ),
            abuse(
                "marking a foreign volume claim",
                "marks volume claims of members",
                "PATCH",
                format!("{space}/persistentvolumeclaims/theirs"),
                json!({ "metadata": { "annotations": { "vaultkeeper.dev/removed-from": "a/b" } } }),
            ),
            abuse(
                "giving a member's claim another volume",
                "asks for more of them, and changes nothing else",
                "PATCH",
                format!("{space}/persistentvolumeclaims/member"),
                json!({ "spec": { "volumeName": "theirs" } }),
            ),
            abuse(
                "deleting a foreign ClusterRoleBinding",
                "only ClusterRoleBindings named vaultkeeper:reviewer:",
                "DELETE",
                format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/theirs-{owner}"),
                Value::Null,
            ),
            abuse(
                "widening the access of a VaultCluster",
                "changes no spec",
                "PATCH",
                "/apis/vaultkeeper.dev/v1alpha1/namespaces/vault/vaultclusters/main".to_owned(),
                json!({ "spec": { "access": [] } }),
            ),
            abuse(
                "changing stored recovery keys",
                "never changes unseal shares or recovery keys",
                "PATCH",
                format!("{kept}/vault-keys.{owner}.gone"),
                json!({ "stringData": { "recovery-key-1": "x" } }),
            ),
            abuse(
                "changing stored unseal shares",
                "never changes unseal shares",
                "PATCH",
                format!("{kept}/vault-keys.{owner}.gone"),
                json!({ "data": { "share-1": "AAAA" } }),
            ),
            abuse(
                "removing stored unseal shares",
                "never changes unseal shares",
                "PATCH",
                format!("{kept}/vault-keys.{owner}.gone"),
                json!({ "data": null }),
            ),
            abuse(
                "removing stored unseal shares for custodians who get none",
                "never changes unseal shares",
                "PATCH",
                format!("{kept}/vault-keys.{owner}.gone"),
                json!({ "data": { "share-1": null, "custody": "e30=" } }),
            ),
            abuse(
                "deleting keys that were kept aside",
                "never deletes a CA or keys",
                "DELETE",
                format!("{kept}/vault-keys.{owner}.gone.retired-1"),
                Value::Null,
            ),
            abuse(
                "deleting a CA",
                "never deletes a CA or keys",
                "DELETE",
                format!("{kept}/vault-ca.{owner}.gone"),
                Value::Null,
            ),
            abuse(
                "replacing a CA",
                "replaces a CA only by the one that was stored beside it before",
                "PATCH",
                format!("{kept}/vault-ca.{owner}.gone"),
                json!({ "stringData": { "ca.crt": "C", "ca.key": "c", "previous.crt": "A" } }),
            ),
            abuse(
                "replacing a CA without keeping the old one",
                "replaces a CA only by the one that was stored beside it before",
                "PATCH",
                format!("{kept}/vault-ca.{owner}.gone"),
                json!({ "stringData": { "ca.crt": "B", "ca.key": "b" } }),
            ),
            abuse(
                "replacing a CA's key",
                "replaces a CA only by the one that was stored beside it before",
                "PATCH",
                format!("{kept}/vault-ca.{owner}.gone"),
                json!({ "data": { "ca.key": "AAAA" } }),
            ),
            abuse(
                "emptying the Secret of a CA",
                "replaces a CA only by the one that was stored beside it before",
                "PATCH",
                format!("{kept}/vault-ca.{owner}.gone"),
                json!({ "data": null }),
            ),
        ]
    }

    /// Abuses by the injector.
    pub(super) fn by_injector() -> Vec<Abuse> {
        let configuration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/keeper-system-keeper-injector";
        let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        let create = "creates the Secret keeper-injector-tls of type Opaque";
        let widen = |what, operation: Value| Abuse {
            what,
            message: "nothing of its webhook but caBundle",
            method: "JSON-PATCH",
            path: configuration.to_owned(),
            body: json!([operation]),
        };
        vec![
            Abuse {
                what: "a Secret of another name",
                message: create,
                method: "POST",
                path: secrets.clone(),
                body: json!({ "metadata": { "name": "a" } }),
            },
            Abuse {
                what: "a Secret that gets the operator's token",
                message: create,
                method: "POST",
                path: secrets,
                body: json!({
                    "metadata": { "name": "keeper-injector-tls", "annotations": { "kubernetes.io/service-account.name": "keeper-operator" } },
                    "type": "kubernetes.io/service-account-token",
                }),
            },
            widen(
                "a webhook for Secrets",
                json!({ "op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["secrets"] }),
            ),
            widen(
                "a webhook for every namespace",
                json!({ "op": "remove", "path": "/webhooks/0/namespaceSelector" }),
            ),
            widen(
                "a webhook for every pod",
                json!({ "op": "remove", "path": "/webhooks/0/matchConditions" }),
            ),
            widen(
                "a webhook that asks somebody else",
                json!({ "op": "replace", "path": "/webhooks/0/clientConfig", "value": { "url": "https://example.test/" } }),
            ),
            widen(
                "a second webhook",
                json!({ "op": "add", "path": "/webhooks/-", "value": {
                    "name": "second.vaultkeeper.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": { "url": "https://example.test/" },
                } }),
            ),
        ]
    }
}

/// What one object adds to another.
fn merge(target: &mut Value, more: &Value) {
    match (target, more) {
        (Value::Object(target), Value::Object(more)) => {
            for (key, value) in more {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, more) => *target = more.clone(),
    }
}
