//! Looks at the members' volume claims, and asks for more where that is decided.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{ListParams, Patch};
use kube::core::Status;
use serde_json::json;
use tokio::time::Instant;
use vaultkeeper_crds::annotations;

use super::{Growth, Note, Plan, Reason, Report, STORAGE, cut, decide, wanted};
use crate::cluster::apply::REPEAT;
use crate::cluster::error::Error;
use crate::cluster::execute::Scope;
use crate::cluster::{pace, patch_params};
use crate::controllers::hash;
use crate::report;

/// How often claims are looked at that a person may have to do something about.
const WATCHFUL: Duration = Duration::from_secs(10);

/// What the API server has refused, by the UID of the claim. Losing it costs one more try.
type Refusals = BTreeMap<String, Refusal>;

#[derive(Clone, Debug)]
struct Refusal {
    to: String,
    at: Instant,
    reason: Reason,
    words: String,
}

/// Asks for larger volumes where the spec has grown, and says how it stands. The claims are not looked at in every pass.
pub(crate) async fn grow(scope: &Scope<'_>) -> Result<Report, Error> {
    let Scope { ctx, cluster, .. } = *scope;
    let wanted = wanted(cluster);
    if wanted.is_empty() || cluster.refused.is_some() {
        return Ok(Report::default());
    }
    let key = format!("{}/volumes", cluster.uid);
    let pods: Vec<_> = scope.members.iter().map(|member| &member.pod).collect();
    let print = hash(&(&wanted, pods));
    let last = ctx.recent.kept::<Report>(&key);
    if let Some(last) = last {
        let within = match &*last {
            report if report.goes_on() => pace::SETTLING,
            Report { told: Some(_) } => WATCHFUL,
            Report { told: None } => REPEAT,
        };
        if ctx.recent.is_fresh(&key, print, within, Instant::now()) {
            return Ok(Report::clone(&last));
        }
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let ours = ListParams::default().labels(&format!("{}={}", annotations::CLUSTER, cluster.name));
    let found = claims.list(&ours).await;
    let found = found.map_err(|e| Error::kubernetes("list the members' volume claims", e))?;
    let Plan { grow, mut notes } = decide(&cluster.name, &wanted, &found.items);
    let refusals_key = format!("{key}/refused");
    let known = ctx.recent.kept::<Refusals>(&refusals_key).unwrap_or_default();
    let mut refusals = Refusals::new();
    let (mut grown, mut result) = (Vec::new(), Ok(()));
    for growth in grow {
        let refused = known.get(&growth.uid).filter(|r| r.to == growth.to);
        let refused = refused.filter(|r| r.at.elapsed() < REPEAT).cloned();
        let answer = match refused {
            Some(refusal) => Answer::Refused(refusal),
            None => ask(&claims, &growth).await,
        };
        let Growth {
            claim, uid, from, to, ..
        } = growth;
        match answer {
            Answer::Taken => {
                grown.push(format!("{claim} from {from} to {to}"));
                let words = format!("it asks for {to} now");
                notes.push(Note {
                    claim,
                    reason: Reason::VolumeGrowing,
                    words,
                });
            }
            Answer::Changed => {
                let words = format!("it has changed while it was to ask for {to}");
                notes.push(Note {
                    claim,
                    reason: Reason::VolumeGrowing,
                    words,
                });
            }
            Answer::Refused(refusal) => {
                let (reason, words) = (refusal.reason, refusal.words.clone());
                notes.push(Note { claim, reason, words });
                refusals.insert(uid, refusal);
            }
            Answer::Failed(error) => {
                result = Err(Error::kubernetes("make a member's volume claim larger", *error));
                break;
            }
        }
    }
    ctx.recent.keep(refusals_key, refusals);
    if !grown.is_empty() {
        let note = format!(
            "volume claims ask for more, as the spec says: {}",
            grown.join(", ")
        );
        scope.event(report::Reason::VolumesGrown, "", &note).await;
    }
    result?;
    let report = Report::of(cluster, notes);
    ctx.recent.keep(key.clone(), report.clone());
    ctx.recent.mark(key, print, Instant::now());
    Ok(report)
}

/// What the API server says.
enum Answer {
    Taken,
    /// Somebody else was there meanwhile: it is thought over again.
    Changed,
    Refused(Refusal),
    Failed(Box<kube::Error>),
}

/// The version that was looked at, or nothing: nobody's larger claim is made smaller.
async fn ask(claims: &Api<PersistentVolumeClaim>, growth: &Growth) -> Answer {
    let Growth {
        claim,
        uid,
        resource_version,
        from: _,
        to,
    } = growth;
    let body = json!({
        "metadata": {"uid": uid, "resourceVersion": resource_version},
        "spec": {"resources": {"requests": {STORAGE: to}}},
    });
    match claims.patch(claim, &patch_params(), &Patch::Merge(&body)).await {
        Ok(_) => Answer::Taken,
        Err(kube::Error::Api(status)) => match status.code {
            404 | 409 => Answer::Changed,
            403 | 422 => {
                let (reason, words) = explain(&status);
                let (to, at) = (to.clone(), Instant::now());
                Answer::Refused(Refusal {
                    to,
                    at,
                    reason,
                    words,
                })
            }
            _ => Answer::Failed(Box::new(kube::Error::Api(status))),
        },
        Err(error) => Answer::Failed(Box::new(error)),
    }
}

/// Why it was refused. The words are those of the admission plugins PersistentVolumeClaimResize and ResourceQuota; the
/// name of the claim in front of them is left out.
pub(super) fn explain(status: &Status) -> (Reason, String) {
    let message = status.message.as_str();
    let cause = message
        .split_once(" is forbidden: ")
        .map_or(message, |(_, cause)| cause);
    if cause.contains("must support resize") {
        let words = "its StorageClass does not let volumes grow, or it has none";
        (Reason::ExpansionForbidden, words.to_owned())
    } else if cause.contains("exceeded quota") {
        (Reason::QuotaExceeded, cut(cause))
    } else {
        (
            Reason::GrowthRefused,
            format!("the API server refuses another size: {}", cut(cause)),
        )
    }
}
