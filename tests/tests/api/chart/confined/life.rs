//! The operator itself under its ServiceAccount, while the policies work: a VaultCluster and a VaultRole from their
//! beginning to their end, as far as they come without pods.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::annotations::RESTARTED_FOR;
use vaultkeeper_crds::role::{CredentialsSecret, RestartKind, RestartTarget};
use vaultkeeper_crds::{VaultCluster, VaultRole, names};
use vaultkeeper_operator::cluster::build::{reviewer_binding_name, volume_claim};
use vaultkeeper_operator::context::Context;
use vaultkeeper_operator::report::Reason;
use vaultkeeper_operator::role::rotation::restart::restart;
use vaultkeeper_operator::role::rotation::state::{Dress, State};
use vaultkeeper_operator::role::{Identity, credentials, secret};
use vaultkeeper_operator::run::start_controllers;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::SecretString;

use super::super::installed::installed;
use super::acts::{cluster, context};
use super::{DEADLINE, Stage, send};

/// A Secret with credentials.
fn with_credentials(existing: Option<Secret>, identity: &Identity, name: &str, secret_id: &str) -> Secret {
    let facts = secret::Facts {
        role_id: "role".to_owned(),
        address: "https://main".to_owned(),
        ca: "PEM".to_owned(),
    };
    let accessor = format!("of-{secret_id}");
    let state = State {
        checksum: secret::checksum("role", Some(&accessor), secret_id),
        accessor: Some(accessor),
        issued: 0,
        expires: None,
        made_with: String::new(),
        request: None,
        previous: Vec::new(),
        unwrapped: Vec::new(),
        wrapping: None,
        restart_pending: false,
        dress: Dress::default(),
    };
    let shape = CredentialsSecret::default();
    let value = SecretString::from(secret_id);
    secret::dressed(existing, identity, (name, &shape), &facts, &state, &value).unwrap()
}

/// The objects of a VaultCluster and a VaultRole, while the operator runs as its ServiceAccount.
struct Life<'a> {
    stage: &'a Stage,
    vault: String,
    app: String,
}

impl Life<'_> {
    fn of<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.stage.admin.clone(), &self.vault)
    }

    fn roles(&self) -> Api<VaultRole> {
        Api::namespaced(self.stage.admin.clone(), &self.app)
    }

    /// Paths of all that the operator makes for the VaultCluster.
    fn paths(&self) -> Vec<String> {
        let core = format!("/api/v1/namespaces/{}", self.vault);
        let group = |name: &str| format!("/apis/{name}/namespaces/{}", self.vault);
        vec![
            format!("{core}/serviceaccounts/main"),
            format!(
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{}",
                reviewer_binding_name(&self.vault, "main")
            ),
            format!("{core}/secrets/main-tls"),
            format!("{core}/configmaps/main-config"),
            format!("{core}/services/main-internal"),
            format!("{core}/services/main"),
            format!("{core}/services/main-active"),
            format!("{core}/services/main-standby"),
            format!("{}/networkpolicies/main", group("networking.k8s.io/v1")),
            format!("{}/poddisruptionbudgets/main", group("policy/v1")),
            format!("{}/statefulsets/main", group("apps/v1")),
        ]
    }

    /// Waits until everything is there with its label and this image. Failing that, the VaultCluster says why.
    async fn applied(&self, image: &str) {
        wait::until_async("all objects of the cluster", DEADLINE, async || {
            let cluster = self.of::<VaultCluster>().get("main").await?;
            let said = cluster.status.map(|status| status.conditions);
            for path in self.paths() {
                let found = send(&self.stage.admin, "GET", &path, &Value::Null).await;
                let found = found.with_context(|| format!("{path}; the VaultCluster says {said:?}"))?;
                ensure!(
                    found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "vaultkeeper",
                    "{path} lacks its label; the VaultCluster says {said:?}"
                );
                let container = &found["spec"]["template"]["spec"]["containers"][0];
                ensure!(
                    container.is_null() || container["image"] == image,
                    "the image is {}; the VaultCluster says {said:?}",
                    container["image"]
                );
            }
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Every object that has an owner loses its label by hand, and the image changes: the operator puts all right.
    async fn is_repaired(&self) {
        let bare = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } });
        for path in self.paths() {
            if !path.contains("clusterrolebindings") {
                send(&self.stage.admin, "PATCH", &path, &bare).await.unwrap();
            }
        }
        let image = Patch::Merge(json!({ "spec": { "image": "registry.test/vault:next" } }));
        self.of::<VaultCluster>()
            .patch("main", &PatchParams::default(), &image)
            .await
            .unwrap();
        self.applied("registry.test/vault:next").await;
    }

    /// The NetworkPolicy goes when it is not wanted any more.
    async fn is_opened(&self) {
        let open = Patch::Merge(json!({ "spec": { "networkPolicy": { "enabled": false } } }));
        self.of::<VaultCluster>()
            .patch("main", &PatchParams::default(), &open)
            .await
            .unwrap();
        wait::until_async("the NetworkPolicy to go", DEADLINE, async || {
            let left = self.of::<NetworkPolicy>().get_opt("main").await?;
            ensure!(left.is_none(), "it is there");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// The VaultRole's credentials are stored, replaced, and go with the role.
    async fn credentials(&self, ctx: &Context) {
        let role = self.roles().get("app").await.unwrap();
        let identity = Identity::of(&role).unwrap();
        for _ in 0..2 {
            let about = role.object_ref(&());
            ctx.reporter.publish(&about, Reason::Refused, "", "twice").await;
        }
        let events: Api<Event> = Api::namespaced(self.stage.admin.clone(), &self.app);
        let events = events.list(&ListParams::default()).await.unwrap();
        let counted = |event: &&Event| event.note.as_deref() == Some("twice") && event.series.is_some();
        assert_eq!(
            events.iter().filter(counted).count(),
            1,
            "a repeated event should be counted"
        );

        let secrets: Api<Secret> = Api::namespaced(self.stage.operator.clone(), &self.app);
        let fresh = with_credentials(None, &identity, "extra", "one");
        secrets
            .create(&PostParams::default(), &fresh)
            .await
            .expect("credentials should be stored");
        credentials::remove(ctx, &identity, "extra")
            .await
            .expect("an earlier Secret should be removed");
        let fresh = with_credentials(None, &identity, "app-vault", "one");
        let stored = secrets.create(&PostParams::default(), &fresh).await.unwrap();
        let next = with_credentials(Some(stored), &identity, "app-vault", "two");
        secrets
            .replace("app-vault", &PostParams::default(), &next)
            .await
            .expect("credentials should be replaced");
    }

    /// Workloads that a VaultRole names are restarted, twice, and no other way is refused.
    async fn restarts(&self, ctx: &Context) {
        let kinds = [
            (RestartKind::Deployment, "deployments"),
            (RestartKind::StatefulSet, "statefulsets"),
            (RestartKind::DaemonSet, "daemonsets"),
        ];
        let role = self.roles().get("app").await.unwrap();
        for (kind, plural) in kinds {
            let path = format!("/apis/apps/v1/namespaces/{}/{plural}/theirs", self.stage.foreign);
            let targets = [RestartTarget {
                kind,
                name: "theirs".to_owned(),
            }];
            let mut seen = Vec::new();
            for accessor in ["one", "two"] {
                restart(
                    ctx,
                    &self.stage.foreign,
                    &targets,
                    accessor,
                    &role.object_ref(&()),
                )
                .await
                .unwrap();
                let found = send(&self.stage.admin, "GET", &path, &Value::Null).await.unwrap();
                let annotations = &found["spec"]["template"]["metadata"]["annotations"];
                seen.push(annotations[RESTARTED_FOR].clone());
            }
            assert!(
                seen[0].is_string() && seen[1].is_string() && seen[0] != seen[1],
                "{plural}: each rotation should have restarted it: {seen:?}"
            );
        }
    }

    /// With `deletionPolicy: Delete` volumes and StatefulSet go.
    async fn ends(&self) {
        self.of::<VaultCluster>()
            .delete("main", &DeleteParams::default())
            .await
            .unwrap();
        wait::until_async("the VaultCluster to go", DEADLINE, async || {
            ensure!(
                self.of::<VaultCluster>().get_opt("main").await?.is_none(),
                "it is there"
            );
            Ok(())
        })
        .await
        .unwrap();
        let deleted =
            |object: Option<ObjectMeta>| object.is_none_or(|meta| meta.deletion_timestamp.is_some());
        let set = self.of::<StatefulSet>().get_opt("main").await.unwrap();
        assert!(
            deleted(set.map(|s| s.metadata)),
            "the StatefulSet should be deleted"
        );
        let claim = self
            .of::<PersistentVolumeClaim>()
            .get_opt(&volume_claim("main", 0))
            .await
            .unwrap();
        assert!(
            deleted(claim.map(|c| c.metadata)),
            "the volume claim should be deleted"
        );
        let bindings: Api<ClusterRoleBinding> = Api::all(self.stage.admin.clone());
        let binding = bindings
            .get_opt(&reviewer_binding_name(&self.vault, "main"))
            .await
            .unwrap();
        assert!(binding.is_none(), "the ClusterRoleBinding should be deleted");

        self.roles()
            .delete("app", &DeleteParams::default())
            .await
            .unwrap();
        wait::until_async("the VaultRole to go with its Secret", DEADLINE, async || {
            ensure!(self.roles().get_opt("app").await?.is_none(), "it is there");
            Ok(())
        })
        .await
        .unwrap();
        let secrets: Api<Secret> = Api::namespaced(self.stage.admin.clone(), &self.app);
        assert!(
            secrets.get_opt("app-vault").await.unwrap().is_none(),
            "its Secret should be deleted"
        );
    }
}

pub(super) async fn a_cluster_and_a_role_live_and_end(stage: &Stage) {
    let life = Life {
        vault: installed().await.create_namespace("vault").await.unwrap(),
        app: installed().await.create_namespace("app").await.unwrap(),
        stage,
    };
    let stop = CancellationToken::new();
    let controllers = start_controllers(Arc::new(context(&stage.operator)), stop.clone());

    let wanted = cluster(&life.vault, &life.app);
    life.of::<VaultCluster>()
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": "app" },
        "spec": {
            "cluster": { "name": "main", "namespace": life.vault },
            "policy": { "rules": [{ "path": format!("secret/data/{}/x", life.app), "capabilities": ["read"] }] },
            "appRole": { "secretName": "app-vault" },
        },
    }))
    .unwrap();
    life.roles().create(&PostParams::default(), &role).await.unwrap();
    let second = VaultRole {
        metadata: ObjectMeta {
            name: Some("second".to_owned()),
            ..Default::default()
        },
        ..role
    };

    life.applied("hashicorp/vault:1.21.1").await;
    let config_maps: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), &life.app);
    let name = names::ca_config_map(&life.vault, "main");
    wait::until_async("the ConfigMap of the role's namespace", DEADLINE, async || {
        ensure!(config_maps.get_opt(&name).await?.is_some(), "there is none");
        Ok(())
    })
    .await
    .unwrap();
    // Another role becomes an owner, although somebody took the label and the first owner away.
    let bare = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null }, "ownerReferences": null } });
    config_maps
        .patch(&name, &PatchParams::default(), &Patch::Merge(&bare))
        .await
        .unwrap();
    life.roles()
        .create(&PostParams::default(), &second)
        .await
        .unwrap();
    wait::until_async("the second role to own it, too", DEADLINE, async || {
        let owners = config_maps
            .get(&name)
            .await?
            .metadata
            .owner_references
            .unwrap_or_default();
        ensure!(
            owners.iter().any(|owner| owner.name == "second"),
            "its owners are {owners:?}"
        );
        Ok(())
    })
    .await
    .unwrap();

    life.is_repaired().await;
    life.is_opened().await;
    life.credentials(&context(&stage.operator)).await;
    life.restarts(&context(&stage.operator)).await;
    let claim = json!({
        "metadata": { "name": volume_claim("main", 0), "labels": { "vaultkeeper.dev/cluster": "main" } },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let claims = format!("/api/v1/namespaces/{}/persistentvolumeclaims", life.vault);
    send(&stage.admin, "POST", &claims, &claim).await.unwrap();
    life.ends().await;

    let events: Api<Event> = Api::namespaced(stage.admin.clone(), &life.vault);
    let events = events.list(&ListParams::default()).await.unwrap();
    assert!(
        events
            .items
            .iter()
            .any(|event| event.reason.as_deref() == Some("Retained")),
        "events should be published, found {:?}",
        events.items.iter().map(|event| &event.reason).collect::<Vec<_>>()
    );
    stop.cancel();
    controllers.await.unwrap();
}
