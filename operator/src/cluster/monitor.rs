//! Keeps what the Prometheus operator reads in place, where the API server knows its kinds. That nobody watches a cluster
//! keeps nothing else of it from being done.

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch};
use serde_json::Value;
use tokio::time::Instant;
use vaultkeeper_crds::cluster::{NetworkPolicySettings, Profile};

use super::build::monitoring::{API_VERSION, pod_monitor, prometheus_rule};
use super::error::Error;
use super::validate::{Monitoring, Validated};
use super::{apply, patch_params};
use crate::context::Context;
use crate::controllers::hash;

/// The condition that tells of it.
pub(super) const MONITORED: &str = "Monitored";

/// What the condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Whether Prometheus is told of the members, and let in.
    pub(super) holds: bool,
    /// Why, in a word.
    pub(super) reason: &'static str,
    /// Why, and what to do.
    pub(super) message: String,
}

/// Whether the API server knows the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Known,
    Unknown,
}

/// Puts in place what is wanted and takes away what is not, unless that was done lately. None: nothing is wanted.
pub(super) async fn keep(ctx: &Context, cluster: &Validated) -> Option<Told> {
    let wanted = cluster.monitoring.as_ref();
    let monitor = wanted.map(|monitoring| pod_monitor(cluster, monitoring));
    let rule = wanted.and_then(|monitoring| prometheus_rule(cluster, monitoring));
    let print = hash(&format!("{monitor:?} {rule:?} {}", cluster.generation));
    let key = format!("{}/monitoring", cluster.uid);
    if ctx.recent.is_fresh(&key, print, apply::REPEAT, Instant::now()) {
        return ctx
            .recent
            .kept::<Option<Told>>(&key)
            .and_then(|told| (*told).clone());
    }
    let done = put_in_place(ctx, cluster, monitor.as_ref(), rule.as_ref()).await;
    let told = wanted.map(|monitoring| told(cluster, monitoring, done));
    ctx.recent.keep(key.clone(), told.clone());
    ctx.recent.mark(key, print, Instant::now());
    told
}

async fn put_in_place(
    ctx: &Context,
    cluster: &Validated,
    monitor: Option<&Value>,
    rule: Option<&Value>,
) -> Result<Kinds, Error> {
    let known = kinds(ctx).await?;
    if known == Kinds::Unknown {
        // There is nothing to write, and nothing left to take away.
        return Ok(known);
    }
    for (kind, wanted) in [("PodMonitor", monitor), ("PrometheusRule", rule)] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &cluster.namespace, &resource);
        let Some(wanted) = wanted else {
            let params = DeleteParams::default();
            let step = "delete what Prometheus is not to read any more";
            apply::delete_if(step, &api, &cluster.name, params, |found| {
                apply::is_owned_by(found, &cluster.uid)
            })
            .await?;
            continue;
        };
        one(&api, cluster, kind, wanted).await?;
    }
    Ok(known)
}

/// Whether the API server has the group. Whoever may log in may ask that.
async fn kinds(ctx: &Context) -> Result<Kinds, Error> {
    let listed = match ctx.client.list_api_group_resources(API_VERSION).await {
        Ok(listed) => listed,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Kinds::Unknown),
        Err(error) => return Err(Error::kubernetes("ask which kinds the API server knows", error)),
    };
    let has = |kind: &str| listed.resources.iter().any(|resource| resource.kind == kind);
    Ok(if has("PodMonitor") && has("PrometheusRule") {
        Kinds::Known
    } else {
        Kinds::Unknown
    })
}

/// Applies one object, unless one of that name is somebody else's.
async fn one(
    api: &Api<DynamicObject>,
    cluster: &Validated,
    kind: &'static str,
    wanted: &Value,
) -> Result<(), Error> {
    let found = api.get_opt(&cluster.name).await;
    let found = found.map_err(|e| Error::kubernetes("look for what Prometheus reads", e))?;
    if found.is_some_and(|found| !apply::is_owned_by(&found, &cluster.uid)) {
        return Err(Error::NotOurs {
            kind,
            name: cluster.name.clone(),
        });
    }
    api.patch(&cluster.name, &patch_params().force(), &Patch::Apply(wanted))
        .await
        .map(drop)
        .map_err(|e| Error::kubernetes("apply what Prometheus reads", e))
}

/// What the condition says. Pure.
fn told(cluster: &Validated, monitoring: &Monitoring, done: Result<Kinds, Error>) -> Told {
    let not = |reason, message| Told {
        holds: false,
        reason,
        message,
    };
    let objects = match monitoring.alerts {
        Some(_) => "PodMonitor and PrometheusRule",
        None => "PodMonitor",
    };
    match done {
        Err(error) => not(error.reason(), error.chain()),
        Ok(Kinds::Unknown) => not(
            "PrometheusOperatorMissing",
            format!(
                "the API server does not know the kinds of {API_VERSION}, so that there is no {objects}: install the Prometheus operator, or let another Prometheus ask each member at port 8202, or set spec.monitoring.enabled to false"
            ),
        ),
        Ok(Kinds::Known) if shuts_prometheus_out(cluster) => not(
            "PrometheusShutOut",
            format!(
                "{objects} {} are in place, and the NetworkPolicy lets no Prometheus in: say where it runs in spec.networkPolicy.prometheus",
                cluster.name
            ),
        ),
        Ok(Kinds::Known) => Told {
            holds: true,
            reason: "InPlace",
            message: format!("{objects} {} are in place", cluster.name),
        },
    }
}

/// Whether there is a NetworkPolicy in which nobody is named who may read the metrics.
fn shuts_prometheus_out(cluster: &Validated) -> bool {
    let NetworkPolicySettings {
        enabled,
        clients: _,
        prometheus,
        egress: _,
    } = &cluster.network_policy;
    enabled.unwrap_or(cluster.profile == Profile::Hardened) && prometheus.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::validate::{tests::cluster, validate};
    use super::*;

    fn says(spec: &str, done: Result<Kinds, Error>) -> (bool, &'static str, String) {
        let validated = validate(&cluster(spec)).unwrap();
        let Told {
            holds,
            reason,
            message,
        } = told(&validated, validated.monitoring.as_ref().unwrap(), done);
        (holds, reason, message)
    }

    #[test]
    fn a_policy_that_names_no_prometheus_is_told_and_one_that_does_is_well() {
        let (holds, reason, message) = says("", Ok(Kinds::Known));
        assert_eq!((holds, reason), (false, "PrometheusShutOut"));
        assert!(message.contains("spec.networkPolicy.prometheus"), "{message}");
        let named = "  networkPolicy: {prometheus: [{namespace: monitoring}]}";
        assert_eq!(says(named, Ok(Kinds::Known)).1, "InPlace");
        assert!(says("  networkPolicy: {enabled: false}", Ok(Kinds::Known)).0);
    }

    #[test]
    fn kinds_that_are_unknown_are_no_error_and_say_what_to_do() {
        let (holds, reason, message) = says("", Ok(Kinds::Unknown));
        assert_eq!((holds, reason), (false, "PrometheusOperatorMissing"));
        assert!(
            message.contains("8202") && message.contains("install"),
            "{message}"
        );
    }

    #[test]
    fn a_name_that_is_taken_is_told() {
        let taken = Error::NotOurs {
            kind: "PodMonitor",
            name: "main".to_owned(),
        };
        assert_eq!(says("", Err(taken)).1, "NameTaken");
    }
}
