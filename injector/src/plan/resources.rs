//! The resources of the agent's container: annotations over defaults. Kubernetes refuses a request over its limit by a
//! field of a container that the pod's author never wrote, so a default gives way to what is annotated.

use std::collections::{BTreeMap, BTreeSet};

use super::quantity;
use crate::annotations::{Given, Resources};
use crate::denial::Denial;
use crate::settings::Injection;

/// Quantities by resource.
pub(super) type Quantities = BTreeMap<&'static str, String>;

/// Requests and limits of the agent's container.
pub(super) fn merge(annotated: &Resources, defaults: &Injection) -> Result<(Quantities, Quantities), Denial> {
    let Resources { requests, limits } = annotated;
    let default_requests = [
        ("cpu", &defaults.cpu_request),
        ("memory", &defaults.memory_request),
    ];
    let default_limits = [("cpu", &defaults.cpu_limit), ("memory", &defaults.memory_limit)];
    let (mut merged_requests, mut merged_limits) =
        (over(&default_requests, requests), over(&default_limits, limits));
    let all: BTreeSet<&'static str> = requests.keys().chain(limits.keys()).copied().collect();
    for resource in all {
        let (Some(request), Some(limit)) = (merged_requests.get(resource), merged_limits.get(resource))
        else {
            continue;
        };
        if !quantity::is_more(request, limit) {
            continue;
        }
        match (requests.get(resource), limits.get(resource)) {
            (Some(request_given), Some(limit_given)) => {
                return Err(contradiction(request_given, limit_given));
            }
            // The limit grows rather than goes: a quota may ask for one.
            (Some(_), None) => {
                let request = request.clone();
                merged_limits.insert(resource, request);
            }
            (None, _) => {
                let limit = limit.clone();
                merged_requests.insert(resource, limit);
            }
        }
    }
    Ok((merged_requests, merged_limits))
}

fn over(
    defaults: &[(&'static str, &String)],
    annotated: &BTreeMap<&'static str, Given<Option<String>>>,
) -> Quantities {
    let defaults = defaults
        .iter()
        .map(|(resource, value)| (*resource, Some((*value).clone())));
    let annotated = annotated
        .iter()
        .map(|(resource, given)| (*resource, given.value.clone()));
    let merged: BTreeMap<_, _> = defaults.chain(annotated).collect();
    merged
        .into_iter()
        .filter_map(|(resource, value)| Some((resource, value.filter(|value| !value.is_empty())?)))
        .collect()
}

fn contradiction(request: &Given<Option<String>>, limit: &Given<Option<String>>) -> Denial {
    let shown = |given: &Given<Option<String>>| given.value.clone().unwrap_or_default();
    let problem = format!(
        "{:?} is more than the limit {:?} in {}: write at most that, or raise the limit",
        shown(request),
        shown(limit),
        limit.key
    );
    Denial::annotation(&request.key, problem)
}
