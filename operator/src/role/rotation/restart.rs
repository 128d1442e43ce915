//! Restarts workloads after a rotation. I/O with Kubernetes only.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use vaultkeeper_crds::annotations::{FIELD_MANAGER, RESTARTED_FOR};
use vaultkeeper_crds::role::{RestartKind, RestartTarget};

use super::state::remembered;
use crate::context::Context;
use crate::report::Reason;
use crate::role::error::Error;

/// Restarts the pods of each target for the secret-id with this accessor. To do it twice changes nothing more. One that is
/// not there, or that may not be changed, is told in an event of `object` and is no error.
pub async fn restart(
    ctx: &Context,
    namespace: &str,
    targets: &[RestartTarget],
    accessor: &str,
    object: &ObjectReference,
) -> Result<(), Error> {
    for RestartTarget { kind, name } in targets {
        let answer = match kind {
            RestartKind::Deployment => patch::<Deployment>(ctx, namespace, name, accessor).await,
            RestartKind::StatefulSet => patch::<StatefulSet>(ctx, namespace, name, accessor).await,
            RestartKind::DaemonSet => patch::<DaemonSet>(ctx, namespace, name, accessor).await,
        };
        let subject = format!("{kind:?}/{name}");
        match answer {
            Ok(()) => {
                let note = format!("the pods of {kind:?} {name} are restarted for a new secret-id");
                ctx.reporter
                    .publish(object, Reason::WorkloadRestarted, &subject, &note)
                    .await;
            }
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
                let note = format!(
                    "the pods of {kind:?} {name} are not restarted for the new secret-id: {}",
                    status.message
                );
                ctx.reporter
                    .publish(object, Reason::RestartFailed, &subject, &note)
                    .await;
            }
            Err(error) => return Err(Error::kubernetes("restart a workload", error)),
        }
    }
    Ok(())
}

async fn patch<K>(ctx: &Context, namespace: &str, name: &str, accessor: &str) -> kube::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    let annotations = json!({ RESTARTED_FOR: remembered(accessor) });
    let change = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &params, &Patch::Merge(&change)).await.map(|_| ())
}
