//! What a certificate says, and whether it can serve a cluster. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use vaultkeeper_vault::{ExposeSecret, SecretString};

use crate::hex::hex;

/// What matters of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The certificate itself (DER).
    pub der: Vec<u8>,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Its subject.
    pub subject: String,
    /// From when it is good.
    pub not_before: Timestamp,
    /// Until when it is good.
    pub not_after: Timestamp,
    /// Its DNS names.
    pub dns_names: BTreeSet<String>,
}

impl Facts {
    /// Whether two thirds of its life are over.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = self.not_after.as_second() - self.not_before.as_second();
        self.not_after.as_second() - now.as_second() < life / 3
    }
}

/// Why a certificate cannot serve. Each says what is wrong; the remedy is the caller's, who knows where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no certificate.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// There are no CAs.
    #[error("holds no CA certificate in PEM")]
    NoCa,
    /// The key is none, or another's.
    #[error("holds a private key that does not belong to the certificate")]
    Key,
    /// It is over.
    #[error("holds a certificate that expired at {0}")]
    Expired(Timestamp),
    /// It has not begun.
    #[error("holds a certificate that is not good before {0}")]
    NotYetValid(Timestamp),
    /// None of the CAs signed it.
    #[error("holds a certificate that none of the CAs in ca.crt has signed")]
    UnknownIssuer,
    /// It lacks a name.
    #[error("holds a certificate without the name {0}")]
    Name(String),
    /// Something else.
    #[error("holds a certificate that cannot be verified: {0}")]
    Other(String),
}

/// Reads the first certificate of a PEM text.
pub fn examine(pem: &str) -> Option<Facts> {
    let first = CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok()?;
    examine_der(&first)
}

/// Reads a certificate.
pub fn examine_der(der: &[u8]) -> Option<Facts> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let validity = parsed.validity();
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    let names = parsed.subject_alternative_name().ok()?;
    let dns_names = names
        .iter()
        .flat_map(|names| names.value.general_names.iter())
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            _ => None,
        })
        .collect();
    Some(Facts {
        der: der.to_vec(),
        serial: hex(parsed.raw_serial()),
        subject: parsed.subject().to_string(),
        not_before: at(validity.not_before)?,
        not_after: at(validity.not_after)?,
        dns_names,
    })
}

/// Whether a chain (PEM, the server's own certificate first) with its key serves a server with these names, for clients
/// that trust the CAs. Without a key, only the chain is judged.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(
    chain: &str,
    key: Option<&SecretString>,
    cas: &str,
    names: &[String],
    now: Timestamp,
) -> Result<Facts, Unusable> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| Unusable::NoCertificate)?;
    let (own, others) = chain.split_first().ok_or(Unusable::NoCertificate)?;
    let facts = examine_der(own).ok_or(Unusable::NoCertificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    if let Some(key) = key {
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).map_err(|_| Unusable::Key)?;
        CertifiedKey::from_der(chain.clone(), key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Unusable::Key,
            error => Unusable::Other(error.to_string()),
        })?;
    }
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(cas.as_bytes()) {
        let ca = ca.map_err(|_| Unusable::NoCa)?;
        roots.add(ca).map_err(|_| Unusable::NoCa)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| Unusable::NoCa)?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(now.as_second()).unwrap_or_default(),
    ));
    for name in names {
        let server = ServerName::try_from(name.as_str()).map_err(|_| Unusable::Name(name.clone()))?;
        verifier
            .verify_server_cert(own, others, &server, &[], at)
            .map_err(|error| explain(error, &facts, name))?;
    }
    Ok(facts)
}

fn explain(error: rustls::Error, facts: &Facts, name: &str) -> Unusable {
    use CertificateError as Cause;
    let rustls::Error::InvalidCertificate(cause) = error else {
        return Unusable::Other(error.to_string());
    };
    match cause {
        Cause::Expired | Cause::ExpiredContext { .. } => Unusable::Expired(facts.not_after),
        Cause::NotValidYet | Cause::NotValidYetContext { .. } => Unusable::NotYetValid(facts.not_before),
        // Signed by another CA of the same name, for example.
        Cause::UnknownIssuer | Cause::BadSignature => Unusable::UnknownIssuer,
        Cause::NotValidForName | Cause::NotValidForNameContext { .. } => Unusable::Name(name.to_owned()),
        other => Unusable::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::{Validated, tests::cluster, validate};
    use super::super::{Issued, new_ca, new_leaf, required_names};
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const DAY: i64 = 86_400;

    fn after_days(days: i64) -> Timestamp {
        Timestamp::from_second(NOW.as_second() + days * DAY).unwrap()
    }

    fn pair() -> (Validated, Issued, Issued) {
        let v = validate(&cluster("")).unwrap();
        let ca = new_ca("vault", "main", NOW).unwrap();
        let leaf = new_leaf(&ca, &v, NOW).unwrap();
        (v, ca, leaf)
    }

    #[test]
    fn our_own_certificate_serves_every_name_that_is_required() {
        let (v, ca, leaf) = pair();
        let names = required_names(&v);
        assert_eq!(names.len(), 6, "three Services and three members: {names:?}");
        let facts = check(&leaf.certificate, Some(&leaf.key), &ca.certificate, &names, NOW).unwrap();
        assert_eq!(facts.not_after, after_days(90), "90 days by default");
        assert!(
            facts.dns_names.contains("main.vault.svc"),
            "{:?}",
            facts.dns_names
        );
        assert!(facts.serial.len() > 16, "{}", facts.serial);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let (v, ca, leaf) = pair();
        let names = required_names(&v);
        let (_, other_ca, other) = pair();
        let judge = |chain: &str, key: &SecretString, cas: &str, names: &[String], now| {
            check(chain, Some(key), cas, names, now).unwrap_err()
        };
        let leaf_pem = leaf.certificate.as_str();
        let ca_pem = ca.certificate.as_str();
        assert_eq!(
            judge("no", &leaf.key, ca_pem, &names, NOW),
            Unusable::NoCertificate
        );
        assert_eq!(judge(leaf_pem, &other.key, ca_pem, &names, NOW), Unusable::Key);
        assert_eq!(judge(leaf_pem, &"no".into(), ca_pem, &names, NOW), Unusable::Key);
        assert_eq!(judge(leaf_pem, &leaf.key, "", &names, NOW), Unusable::NoCa);
        assert_eq!(
            judge(leaf_pem, &leaf.key, &other_ca.certificate, &names, NOW),
            Unusable::UnknownIssuer,
            "a CA of the same name has another key"
        );
        assert_eq!(
            judge(leaf_pem, &leaf.key, ca_pem, &names, after_days(91)),
            Unusable::Expired(after_days(90))
        );
        assert!(matches!(
            judge(leaf_pem, &leaf.key, ca_pem, &names, after_days(-1)),
            Unusable::NotYetValid(_)
        ));
        let more = ["vault.example.test".to_owned()];
        assert_eq!(
            judge(leaf_pem, &leaf.key, ca_pem, &more, NOW),
            Unusable::Name("vault.example.test".to_owned())
        );
    }

    #[test]
    fn either_ca_of_a_bundle_will_do() {
        let (v, ca, leaf) = pair();
        let (_, other_ca, _) = pair();
        for bundle in [
            format!("{}{}", ca.certificate, other_ca.certificate),
            format!("{}{}", other_ca.certificate, ca.certificate),
        ] {
            assert!(check(&leaf.certificate, None, &bundle, &required_names(&v), NOW).is_ok());
        }
    }

    #[test]
    fn a_certificate_is_due_after_two_thirds_of_its_life() {
        let (_, _, leaf) = pair();
        let facts = examine(&leaf.certificate).unwrap();
        assert!(!facts.is_due(NOW) && !facts.is_due(after_days(59)));
        assert!(facts.is_due(after_days(61)) && facts.is_due(after_days(100)));
    }
}
