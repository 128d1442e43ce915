//! The certificates of a cluster in one pass: what members are to show and by which CAs they are verified, what they do
//! show, and the next step of a CA's replacement.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use vaultkeeper_crds::cluster::TlsStatus;
use vaultkeeper_crds::{VaultCluster, annotations, names};

use super::error::Error;
use super::tls::Issued;
use super::tls::certificate::{self, Facts};
use super::tls::judgement::{self, Judgement};
use super::tls::rollover::{self, Phase, Seen, Step};
use super::tls_store::{self, External, Stored};
use super::validate::{CertificateSource, Validated};
use super::{apply, build, cert_manager, drop_annotation};
use crate::context::Context;
use crate::members::Member;
use crate::report::Reason;

/// What is known of the certificates before the members are asked.
#[derive(Default)]
pub(super) struct Held {
    /// The CAs (PEM) by which members are verified, if there are any yet.
    pub(super) trust: Option<String>,
    /// Certificate and key that go into the members' Secret, where that is ours.
    pub(super) issued: Option<Issued>,
    /// The certificate that members are to show.
    wanted: Option<Facts>,
    /// Whether it was issued in this pass.
    is_new: bool,
    /// Whether one of ours lies in the members' Secret already.
    replaces: bool,
    /// Whether it could not be stored, though there is one of before.
    is_lost: bool,
    ca: Option<Stored>,
    external: Option<External>,
    /// Why there is none that could serve.
    pub(super) problem: Option<Error>,
}

/// What the status tells.
pub(crate) struct Report {
    /// Whether members show the right one.
    pub(crate) current: Judgement,
    /// While two CAs are trusted.
    pub(crate) rollover: Option<Judgement>,
    /// The certificate.
    pub(crate) tls: TlsStatus,
}

/// Finds or makes CA and certificate. What is wrong with them does not keep the members from being looked after, as long
/// as they can be verified.
pub(super) async fn hold(ctx: &Context, cluster: &Validated) -> Result<Held, Error> {
    let now = Timestamp::now();
    if cluster.refused.is_some() {
        return of_refused(ctx, cluster, now).await;
    }
    if cluster.tls.is_managed() {
        return managed(ctx, cluster, now).await;
    }
    let asked = match &cluster.tls.source {
        CertificateSource::CertManager(issuer) => cert_manager::ask(ctx, cluster, issuer).await,
        CertificateSource::Managed { .. } | CertificateSource::Secret(_) => Ok(()),
    };
    let (found, external) = tls_store::external(ctx, cluster, now).await?;
    let (wanted, missing) = match found {
        Ok(facts) => (Some(facts), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Held {
        trust: external.trust.clone(),
        wanted,
        problem: asked.err().or(missing),
        external: Some(external),
        ..Held::default()
    })
}

/// Nothing is begun for a spec that is refused; its members are verified as before, and their certificate is renewed.
async fn of_refused(ctx: &Context, cluster: &Validated, now: Timestamp) -> Result<Held, Error> {
    let Validated { namespace, name, .. } = cluster;
    let held = Held {
        trust: tls_store::trusted(ctx, namespace, name).await?,
        ..Held::default()
    };
    if !cluster.tls.is_managed() {
        return Ok(held);
    }
    let Some(ca) = tls_store::existing_ca(ctx, namespace, name).await? else {
        return Ok(held);
    };
    match tls_store::current_or_new_leaf(ctx, cluster, &ca.authority, now).await {
        Ok(leaf) if leaf.replaces => Ok(Held {
            trust: Some(ca.authority.bundle()),
            issued: Some(leaf.issued),
            wanted: Some(leaf.facts),
            is_new: leaf.is_new,
            replaces: leaf.replaces,
            ca: Some(ca),
            ..held
        }),
        Ok(_) | Err(Error::Tls(_)) => Ok(held),
        Err(error) => Err(error),
    }
}

async fn managed(ctx: &Context, cluster: &Validated, now: Timestamp) -> Result<Held, Error> {
    let Validated { namespace, name, .. } = cluster;
    let ca = match tls_store::ensure_ca(ctx, cluster).await {
        Ok(ca) => ca,
        Err(Error::CaLost {
            secret,
            certificates,
            certificate,
        }) => {
            return Ok(Held {
                trust: Some(certificate.clone()),
                problem: Some(Error::CaLost {
                    secret,
                    certificates,
                    certificate,
                }),
                ..Held::default()
            });
        }
        // Its key may be kept elsewhere: members are reached with the certificate alone.
        Err(error @ Error::Incomplete { .. }) => {
            let trust = tls_store::trusted(ctx, namespace, name).await?;
            if trust.is_none() {
                return Err(error);
            }
            return Ok(Held {
                trust,
                problem: Some(error),
                ..Held::default()
            });
        }
        Err(error) => return Err(error),
    };
    let trust = Some(ca.authority.bundle());
    Ok(
        match tls_store::current_or_new_leaf(ctx, cluster, &ca.authority, now).await {
            Ok(leaf) => Held {
                trust,
                issued: Some(leaf.issued),
                wanted: Some(leaf.facts),
                is_new: leaf.is_new,
                replaces: leaf.replaces,
                ca: Some(ca),
                ..Held::default()
            },
            Err(error) => Held {
                trust,
                ca: Some(ca),
                problem: Some(error),
                ..Held::default()
            },
        },
    )
}

/// Writes a renewed certificate by itself, where the spec as a whole cannot be applied. Nothing is begun so: there is one of
/// ours in place. What cannot be written is nobody's to show.
pub(super) async fn renew_alone(
    ctx: &Context,
    cluster: &VaultCluster,
    validated: &Validated,
    held: &mut Held,
) {
    let (Some(leaf), Some(trust), true) = (&held.issued, &held.trust, held.is_new) else {
        return;
    };
    let secret = build::tls_secret(validated, build::Certificate { leaf, trust });
    if !held.replaces {
        held.wanted = None;
        return;
    }
    if let Err(error) = apply::secret(ctx, validated, &secret).await {
        tracing::warn!(error = %error.chain(), "the renewed certificate could not be stored");
        (held.is_lost, held.wanted) = (true, None);
    } else if let Some(wanted) = &held.wanted {
        tell_issued(ctx, cluster, wanted).await;
    }
}

async fn tell_issued(ctx: &Context, cluster: &VaultCluster, wanted: &Facts) {
    let note = format!(
        "certificate with serial {} issued for the members, good until {}",
        wanted.serial, wanted.not_after
    );
    let about = cluster.object_ref(&());
    ctx.reporter
        .publish(&about, Reason::CertificateIssued, "", &note)
        .await;
}

/// Whether the members' pods would be made to mount a Secret that cannot serve in the place of one that did: who restarts
/// for any reason would not come back.
pub(super) async fn would_strand(ctx: &Context, cluster: &Validated, held: &Held) -> Result<bool, Error> {
    if held.external.is_none() || held.wanted.is_some() {
        return Ok(false);
    }
    let sets: Api<StatefulSet> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let set = sets.get_opt(&cluster.name).await;
    let set = set.map_err(|e| Error::kubernetes("read the StatefulSet", e))?;
    let set = set.filter(|set| apply::is_owned_by(set, &cluster.uid));
    let mounted = set.as_ref().and_then(build::mounted_certificate);
    Ok(mounted.is_some_and(|mounted| mounted != cluster.tls.secret_name(&cluster.name)))
}

/// Goes on with what follows from what the members show. Only for a pass in which everything was applied.
pub(super) async fn advance(
    ctx: &Context,
    cluster: &VaultCluster,
    validated: &Validated,
    held: &Held,
    members: &[Member],
) -> Result<Option<Judgement>, Error> {
    let now = Timestamp::now();
    let Some(wanted) = &held.wanted else {
        return Ok(None);
    };
    let mut behind = judgement::behind(members, wanted);
    if let Some(external) = &held.external
        && behind.is_empty()
    {
        tls_store::drop_former(ctx, validated, external).await?;
    }
    let event = async |reason, note: &str| {
        ctx.reporter
            .publish(&cluster.object_ref(&()), reason, "", note)
            .await;
    };
    if held.is_new {
        tell_issued(ctx, cluster, wanted).await;
    }
    let asked = cluster.annotations().get(annotations::ROTATE_CA);
    let (Some(ca), CertificateSource::Managed { ca_overlap }) = (&held.ca, &validated.tls.source) else {
        if asked.is_some() {
            let note =
                "the CA is not the operator's (spec.tls is not managed): replace it where it comes from";
            event(Reason::Refused, note).await;
            drop_request(ctx, cluster).await?;
        }
        return Ok(None);
    };
    let phase = ca.authority.phase();
    if phase == Phase::Distributing && behind.is_empty() {
        behind = outdated_config_maps(ctx, validated, &ca.authority.bundle()).await?;
    }
    let facts = certificate::examine(&ca.authority.current.certificate);
    let step = rollover::next(
        &ca.authority,
        &Seen {
            ca: facts.as_ref(),
            asked: asked.map(String::as_str),
            behind: &behind,
            overlap: *ca_overlap,
            now,
        },
    );
    tls_store::write_step(ctx, validated, ca, &step, now).await?;
    match &step {
        Step::Begin(why) => {
            let note =
                format!("a new CA is stored and given to members and clients beside the old one: {why}");
            event(Reason::CaReplacementBegun, &note).await;
        }
        Step::Promote => {
            let note = "the new CA signs the members' certificate from now on; the old one is trusted still";
            event(Reason::CaPromoted, note).await;
        }
        Step::Finish => event(Reason::CaRetired, "the old CA is trusted no more").await,
        Step::Rest | Step::AwaitThem | Step::Note | Step::AwaitTime(_) => {}
    }
    if asked.is_some() {
        // It is stored, or was under way.
        drop_request(ctx, cluster).await?;
    }
    Ok(judgement::rollover(phase, &step, &behind))
}

/// The ConfigMaps, in the namespaces of VaultRoles, whose CAs are not these.
async fn outdated_config_maps(
    ctx: &Context,
    cluster: &Validated,
    bundle: &str,
) -> Result<Vec<String>, Error> {
    let Validated { namespace, name, .. } = cluster;
    let all: Api<ConfigMap> = Api::all(ctx.client.clone());
    let labelled = ListParams::default().labels(&format!("{}={name}", annotations::CLUSTER));
    let found = all.list(&labelled).await;
    let found = found.map_err(|e| Error::kubernetes("list the ConfigMaps with the CA", e))?;
    let wanted = names::ca_config_map(namespace, name);
    let is_old = |map: &&ConfigMap| {
        let held = map.data.as_ref().and_then(|data| data.get(names::CA_KEY));
        held.map(String::as_str) != Some(bundle)
    };
    Ok(found
        .iter()
        .filter(|map| map.name_any() == wanted)
        .filter(is_old)
        .map(|map| format!("ConfigMap {}/{wanted}", map.namespace().unwrap_or_default()))
        .collect())
}

/// The request is done or refused: the annotation goes, so that another one can be made.
async fn drop_request(ctx: &Context, cluster: &VaultCluster) -> Result<(), Error> {
    let step = "remove the annotation that asked for a new CA";
    drop_annotation(ctx, cluster, annotations::ROTATE_CA, step).await
}

/// What the status tells of all that.
pub(super) fn report(
    cluster: &Validated,
    held: &Held,
    members: &[Member],
    rollover: Option<Judgement>,
) -> Option<Report> {
    if held.is_lost || cluster.refused.is_some() && held.wanted.is_none() {
        // What was known stays.
        return None;
    }
    // A step that was not taken in this pass leaves two CAs trusted all the same.
    let phase = held.ca.as_ref().map(|ca| ca.authority.phase());
    let rollover = rollover.or_else(|| judgement::interrupted(phase?));
    let problem = held.problem.as_ref().map(|error| (error.reason(), error.chain()));
    let ca = held
        .ca
        .as_ref()
        .map(|ca| ca.authority.current.certificate.as_str());
    let seconds = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
    Some(Report {
        current: judgement::current(members, held.wanted.as_ref(), problem, Timestamp::now()),
        rollover,
        tls: TlsStatus {
            serial: held.wanted.as_ref().map(|facts| facts.serial.clone()),
            not_before: held.wanted.as_ref().map(|facts| seconds(facts.not_before)),
            not_after: held.wanted.as_ref().map(|facts| seconds(facts.not_after)),
            ca_not_after: ca
                .and_then(certificate::examine)
                .map(|facts| seconds(facts.not_after)),
        },
    })
}
