//! Checks the login by client certificate.

use std::time::Duration;

use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::role::{Capability, CertificateLogin, PkiIssuer, PolicyRule};
use vaultkeeper_crds::{duration, names};

use super::super::token::Delivery;
use super::{Refusal, invalid, is_object_name, policy};

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(8760 * 3600);
/// Less than this leaves no time for a second try.
const LAST_MOMENT: Duration = Duration::from_secs(10);

/// A client certificate that can be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Secret that receives it.
    pub secret_name: String,
    /// How long it is good for.
    pub ttl: Duration,
    /// How long before its end it is renewed.
    pub renew_before: Duration,
    /// Who signs it, if not the operator's own CA.
    pub pki: Option<PkiIssuer>,
}

/// Whether the VaultCluster lets the namespace have certificates signed there: as if the VaultRole asked for the right to do
/// so itself.
pub(super) fn is_granted(
    login: &CertificateLogin,
    namespace: &str,
    grants: &[&AccessGrant],
    cluster: &str,
) -> Result<(), Refusal> {
    let Some(PkiIssuer { mount, role }) = &login.pki else {
        return Ok(());
    };
    let rule: PolicyRule = serde_json::from_value(serde_json::json!({
        "path": format!("{mount}/sign/{role}"), "capabilities": [Capability::Update],
    }))
    .map_err(|e| invalid(format!("spec.certificate.pki: {e}")))?;
    let judged = policy::rules(&[rule], namespace, grants, cluster);
    judged.map(drop).map_err(|refusal| Refusal {
        message: refusal
            .message
            .replace("spec.policy.rules[0].path", "spec.certificate.pki")
            .replace("spec.policy.rules[0]", "spec.certificate.pki"),
        ..refusal
    })
}

/// Whether nothing else is to lie in its Secret.
pub(super) fn is_alone(
    certificate: &Certificate,
    secret_of_app_role: Option<&str>,
    delivery: Option<&Delivery>,
) -> Result<(), Refusal> {
    let name = certificate.secret_name.as_str();
    let other = if secret_of_app_role == Some(name) {
        "spec.appRole"
    } else if delivery.is_some_and(|delivery| delivery.secret_name == name) {
        "spec.token.deliver"
    } else {
        return Ok(());
    };
    Err(invalid(format!(
        "spec.certificate.secretName: `{name}` is that of {other}, and one Secret cannot be of both types: choose another \
         name"
    )))
}

/// Whether it is one path, of which each step is a name.
fn is_path(path: &str) -> bool {
    let is_step = |step: &str| {
        step.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && step
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    path.len() <= 200 && !path.contains("..") && path.split('/').all(is_step)
}

pub(super) fn check(login: &CertificateLogin) -> Result<Certificate, Refusal> {
    let CertificateLogin {
        secret_name,
        ttl,
        renew_before,
        pki,
    } = login;
    let field = "spec.certificate";
    if !is_object_name(secret_name) {
        return Err(invalid(format!(
            "{field}.secretName: `{secret_name}` is no name of a Secret: change it"
        )));
    }
    if names::is_reserved_secret(secret_name) {
        return Err(invalid(format!(
            "{field}.secretName: `{secret_name}` is reserved for the operator: choose another name"
        )));
    }
    let parse =
        |name: &str, text: &str| duration::parse(text).map_err(|e| invalid(format!("{field}.{name}: {e}")));
    let life = parse("ttl", ttl)?;
    if !(SHORTEST..=LONGEST).contains(&life) {
        return Err(invalid(format!(
            "{field}.ttl: {ttl} is not between 1m and 8760h: change it"
        )));
    }
    let before = match renew_before {
        None => life / 3,
        Some(text) => {
            let before = parse("renewBefore", text)?;
            if before < LAST_MOMENT || before > life / 2 {
                return Err(invalid(format!(
                    "{field}.renewBefore: {text} is not between 10s and half of ttl, {ttl}: change it"
                )));
            }
            before
        }
    };
    if let Some(PkiIssuer { mount, role }) = pki {
        let ends_well = role
            .chars()
            .next_back()
            .is_some_and(|c| c.is_ascii_alphanumeric());
        if !is_path(mount) {
            return Err(invalid(format!(
                "{field}.pki.mount: `{mount}` is no mount path such as pki: correct it"
            )));
        }
        if !is_path(role) || role.contains('/') || !ends_well {
            return Err(invalid(format!(
                "{field}.pki.role: `{role}` is no name of a role: correct it"
            )));
        }
    }
    Ok(Certificate {
        secret_name: secret_name.clone(),
        ttl: life,
        renew_before: before,
        pki: pki.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(secret_name: &str, ttl: &str, renew_before: Option<&str>) -> CertificateLogin {
        CertificateLogin {
            secret_name: secret_name.to_owned(),
            ttl: ttl.to_owned(),
            renew_before: renew_before.map(str::to_owned),
            pki: None,
        }
    }

    fn signed_by(mount: &str, role: &str) -> CertificateLogin {
        CertificateLogin {
            pki: Some(PkiIssuer {
                mount: mount.to_owned(),
                role: role.to_owned(),
            }),
            ..login("app", "1h", None)
        }
    }

    #[test]
    fn a_pki_engine_signs_for_those_who_could_be_given_the_right_themselves() {
        let grant: AccessGrant = serde_json::from_value(serde_json::json!({
            "namespaces": ["shop"], "pathPrefixes": ["pki/sign/{{namespace}}/", "team/pki/", "secret/"],
        }))
        .unwrap();
        let granted = |mount: &str, role: &str| {
            let login = signed_by(mount, role);
            check(&login).unwrap();
            is_granted(&login, "shop", &[&grant], "VaultCluster vault/main")
        };
        assert_eq!(granted("team/pki", "apps"), Ok(()));
        for (mount, role) in [
            ("pki", "shop"),
            ("pki2", "apps"),
            ("team/pki2", "apps"),
            ("team", "pki"),
        ] {
            let refusal = granted(mount, role).expect_err("nobody granted that");
            assert!(refusal.withdraws, "{refusal:?}");
            assert!(
                refusal.message.starts_with("spec.certificate.pki: ")
                    && refusal.message.contains(&format!("`{mount}/sign/{role}`")),
                "{refusal:?}"
            );
        }
        assert_eq!(
            is_granted(&login("app", "1h", None), "shop", &[&grant], "x"),
            Ok(()),
            "the operator's own CA needs no grant"
        );
    }

    #[test]
    fn what_would_reach_another_path_is_no_mount_and_no_role() {
        assert!(check(&signed_by("team/pki", "shop.app-1")).is_ok());
        for (mount, role) in [
            ("", "a"),
            ("/pki", "a"),
            ("pki/", "a"),
            ("a//b", "a"),
            ("../sys", "a"),
            ("pki/..", "a"),
            ("pki/*", "a"),
            ("+/pki", "a"),
            ("pki", ""),
            ("pki", "a/b"),
            ("pki", "*"),
            ("pki", "a..b"),
            ("pki", "a-"),
        ] {
            assert!(check(&signed_by(mount, role)).is_err(), "{mount} {role}");
        }
    }

    #[test]
    fn it_is_renewed_after_two_thirds_of_its_life_unless_the_spec_says_otherwise() {
        let day = Duration::from_secs(86400);
        let checked = check(&login("app", "720h", None)).unwrap();
        assert_eq!((checked.ttl, checked.renew_before), (30 * day, 10 * day));
        let checked = check(&login("app", "720h", Some("48h"))).unwrap();
        assert_eq!(checked.renew_before, 2 * day);
    }

    #[test]
    fn what_could_not_work_is_refused_with_its_field() {
        for (taken, refused, field) in [
            (login("app", "1m", None), login("App", "1m", None), "secretName"),
            (
                login("vault", "1m", None),
                login("vault-ca.a.b", "1m", None),
                "secretName",
            ),
            (
                login("vault", "1m", None),
                login("vault-keys.a.b", "1m", None),
                "secretName",
            ),
            (login("app", "60s", None), login("app", "59s", None), "ttl"),
            (login("app", "8760h", None), login("app", "8761h", None), "ttl"),
            (login("app", "1h", None), login("app", "1x", None), "ttl"),
            (
                login("app", "1m", Some("10s")),
                login("app", "1m", Some("9s")),
                "renewBefore",
            ),
            (
                login("app", "1m", Some("30s")),
                login("app", "1m", Some("31s")),
                "renewBefore",
            ),
        ] {
            assert!(check(&taken).is_ok(), "{taken:?} should be taken");
            let refusal = check(&refused).expect_err("should be refused");
            assert!(
                refusal.message.contains(&format!("spec.certificate.{field}")) && !refusal.withdraws,
                "{refusal:?}"
            );
        }
    }
}
