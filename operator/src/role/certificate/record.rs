//! What the status says of the certificates that were issued, and what follows from it. Only this part writes it, from
//! what the API server has at that moment: what the watch shows may be older, and a serial number that is lost cannot be
//! revoked.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_crds::role::{CertificateStatus, IssuedCertificate, PkiIssuer};

use super::super::error::Error;
use super::super::validate::Certificate;
use super::ca::{ClientCa, Revoked, SKEW};
use crate::cluster::tls::certificate::Facts;
use crate::context::Context;

/// How long after its end a certificate is remembered: clocks differ.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is good for some time.
    Keep,
    /// It is good still, and a new one is due.
    Renew,
    /// There is none, or what is there is not what was written: whoever has the lost one must not log in with it.
    Replace,
}

/// Decides by the certificate that was found as it was written.
pub(super) fn plan(
    held: Option<&Facts>,
    status: Option<&CertificateStatus>,
    wanted: &Certificate,
    now: Timestamp,
) -> Plan {
    let Some(held) = held else { return Plan::Replace };
    let listed = status
        .iter()
        .flat_map(|status| &status.issued)
        .find(|one| one.serial == held.serial);
    let issuer = wanted.pki.as_ref().map(PkiIssuer::name);
    if listed.is_none_or(|one| one.revoked || one.issuer != issuer) {
        return Plan::Replace;
    }
    let life = held.not_after.duration_since(held.not_before).unsigned_abs();
    if due(held, wanted) <= now || life > wanted.ttl + 2 * SKEW {
        Plan::Renew
    } else {
        Plan::Keep
    }
}

/// When the next certificate is due. One that a PKI engine has made shorter than it was asked to has a third of its life left
/// then.
pub(super) fn due(held: &Facts, wanted: &Certificate) -> Timestamp {
    let life = held.not_after.duration_since(held.not_before).unsigned_abs();
    let before = wanted.renew_before.min(life / 2);
    held.not_after.checked_sub(before).unwrap_or(held.not_after)
}

/// The record with a new certificate, before it is stored anywhere. What is replaced is to be revoked; what is renewed
/// ends by itself.
pub(super) fn with(
    before: Option<&CertificateStatus>,
    held: Option<&Facts>,
    plan: Plan,
    issued: &Facts,
    uri: &str,
    wanted: &Certificate,
    now: Timestamp,
) -> CertificateStatus {
    let mut list: Vec<IssuedCertificate> = before.map(|status| status.issued.clone()).unwrap_or_default();
    if let Some(held) = held
        && !list.iter().any(|one| one.serial == held.serial)
    {
        // Nobody knows who signed it. If that was a PKI engine, its role in Vault names other serial numbers soon.
        list.push(entry(held, None));
    }
    list.retain(|one| is_remembered(one, now));
    if plan == Plan::Replace {
        for one in &mut list {
            one.revoked = true;
        }
    }
    list.push(entry(issued, wanted.pki.as_ref()));
    CertificateStatus {
        // That of an earlier name stands here until it is gone.
        secret_name: before.map_or_else(|| wanted.secret_name.clone(), |status| status.secret_name.clone()),
        uri: uri.to_owned(),
        issued: list,
    }
}

fn entry(facts: &Facts, pki: Option<&PkiIssuer>) -> IssuedCertificate {
    IssuedCertificate {
        serial: facts.serial.clone(),
        not_after: Time(facts.not_after),
        revoked: false,
        issuer: pki.map(PkiIssuer::name),
    }
}

/// What is to be on the revocation list of the certificates of this VaultRole: those that `wanted` picks, have not ended,
/// and were made for it. Whoever can write a status cannot have another's revoked.
pub(super) fn to_revoke(
    issued: &[IssuedCertificate],
    ca: &ClientCa,
    uid: &str,
    now: Timestamp,
    wanted: impl Fn(&IssuedCertificate) -> bool,
) -> Vec<Revoked> {
    issued
        .iter()
        .filter(|one| wanted(one) && is_remembered(one, now) && ca.made(&one.serial, uid))
        .map(|one| revoked(one, now))
        .collect()
}

/// Whether a certificate may be taken for good somewhere still.
pub(super) fn is_remembered(one: &IssuedCertificate, now: Timestamp) -> bool {
    one.not_after.0 + GRACE > now
}

/// The entry of a certificate on the revocation list.
pub(super) fn revoked(one: &IssuedCertificate, now: Timestamp) -> Revoked {
    Revoked {
        serial: one.serial.clone(),
        at: now,
        until: one.not_after.0 + GRACE,
    }
}

/// Writes the record, if the VaultRole is as it was read.
pub(super) async fn write(
    ctx: &Context,
    role: &VaultRole,
    record: Option<&CertificateStatus>,
) -> Result<(), Error> {
    let namespace = role.namespace().unwrap_or_default();
    let api: Api<VaultRole> = Api::namespaced(ctx.client.clone(), &namespace);
    let patch = json!({
        "metadata": { "uid": role.uid(), "resourceVersion": role.resource_version() },
        "status": { "certificate": record },
    });
    let written = api
        .patch_status(&role.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    ctx.sweep.written.note(&role.uid().unwrap_or_default(), &written);
    match written {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::kubernetes("note which certificates were issued", error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::ca::tests::NOW;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW.as_second() + seconds).unwrap()
    }

    fn facts(serial: &str, from: i64, to: i64) -> Facts {
        Facts {
            der: Vec::new(),
            serial: serial.to_owned(),
            subject: String::new(),
            not_before: at(from),
            not_after: at(to),
            dns_names: BTreeSet::new(),
        }
    }

    fn wanted() -> Certificate {
        Certificate {
            secret_name: "app-tls".to_owned(),
            ttl: Duration::from_secs(900),
            renew_before: Duration::from_secs(300),
            pki: None,
        }
    }

    fn status(issued: &[(&str, i64, bool)]) -> CertificateStatus {
        CertificateStatus {
            secret_name: "app-tls".to_owned(),
            uri: "u".to_owned(),
            issued: issued
                .iter()
                .map(|(serial, end, revoked)| IssuedCertificate {
                    serial: (*serial).to_owned(),
                    not_after: Time(at(*end)),
                    revoked: *revoked,
                    issuer: None,
                })
                .collect(),
        }
    }

    #[test]
    fn it_is_kept_until_it_is_due_and_replaced_when_it_is_not_what_was_written() {
        let held = facts("a", -300, 900);
        let known = status(&[("a", 900, false)]);
        let plan = |held: Option<&Facts>, known: Option<&CertificateStatus>, now| {
            plan(held, known, &wanted(), at(now))
        };
        assert_eq!(plan(Some(&held), Some(&known), 0), Plan::Keep);
        assert_eq!(plan(Some(&held), Some(&known), 599), Plan::Keep);
        assert_eq!(plan(Some(&held), Some(&known), 600), Plan::Renew);
        assert_eq!(plan(None, Some(&known), 0), Plan::Replace, "edited or deleted");
        assert_eq!(
            plan(Some(&held), None, 0),
            Plan::Replace,
            "nobody knows its number"
        );
        let revoked = status(&[("a", 900, true)]);
        assert_eq!(plan(Some(&held), Some(&revoked), 0), Plan::Replace);
        let other = Certificate {
            pki: Some(PkiIssuer {
                mount: "pki".to_owned(),
                role: "apps".to_owned(),
            }),
            ..wanted()
        };
        assert_eq!(
            super::plan(Some(&held), Some(&known), &other, NOW),
            Plan::Replace,
            "another is to sign it now"
        );
        let short = facts("a", -30, 60);
        let due = due(&short, &wanted());
        assert_eq!(
            due.as_second() - NOW.as_second(),
            15,
            "shorter than asked for, and still not due at once"
        );
        let long = facts("a", -300, 90_000);
        assert_eq!(
            plan(Some(&long), Some(&status(&[("a", 90_000, false)])), 0),
            Plan::Renew,
            "the spec asks for a shorter life now"
        );
    }

    #[test]
    fn what_was_lost_is_to_be_revoked_and_what_is_renewed_ends_by_itself() {
        let before = status(&[("gone", -4000, false), ("a", 900, false)]);
        let after = |plan, held: Option<&Facts>| {
            let next = with(
                Some(&before),
                held,
                plan,
                &facts("b", -300, 1800),
                "u",
                &wanted(),
                NOW,
            );
            let list = next.issued.into_iter();
            list.map(|one| (one.serial, one.revoked)).collect::<Vec<_>>()
        };
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(after(Plan::Renew, None), [(a.clone(), false), (b.clone(), false)]);
        assert_eq!(
            after(Plan::Replace, None),
            [(a.clone(), true), (b.clone(), false)]
        );
        let unlisted = facts("c", -300, 900);
        assert_eq!(
            after(Plan::Replace, Some(&unlisted)),
            [(a, true), ("c".to_owned(), true), (b, false)],
            "one that the status does not know"
        );
    }

    #[test]
    fn the_secret_of_an_earlier_name_is_known_until_it_is_gone() {
        let renamed = Certificate {
            secret_name: "new".to_owned(),
            ..wanted()
        };
        let next = with(
            Some(&status(&[])),
            None,
            Plan::Replace,
            &facts("b", 0, 900),
            "u",
            &renamed,
            NOW,
        );
        assert_eq!(next.secret_name, "app-tls");
        let first = with(None, None, Plan::Replace, &facts("b", 0, 900), "u", &renamed, NOW);
        assert_eq!(first.secret_name, "new");
    }

    #[test]
    fn only_what_was_made_for_this_role_and_has_not_ended_is_revoked() {
        let ca = ClientCa::new("vault", "main", NOW).unwrap();
        let serial = |uid| {
            let leaf = ca.issue("spiffe://a/b", uid, Duration::from_secs(900), NOW);
            leaf.unwrap().facts.serial
        };
        let (ours, theirs) = (serial("uid-1"), serial("uid-2"));
        let list = status(&[(&ours, 900, false), (&theirs, 900, false), (&ours, -4000, false)]).issued;
        let revoked = to_revoke(&list, &ca, "uid-1", NOW, |_| true);
        let serials: Vec<&String> = revoked.iter().map(|one| &one.serial).collect();
        assert_eq!(
            serials,
            [&ours],
            "another role's number in the status counts for nothing"
        );
        assert!(to_revoke(&list, &ca, "uid-1", NOW, |one| one.revoked).is_empty());
    }
}
