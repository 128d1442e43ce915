//! The CA for client certificates: what it issues, what it knows as its own, and its revocation list. Pure but for
//! randomness.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use vaultkeeper_vault::{ExposeSecret, SecretString};
use x509_parser::extensions::GeneralName;

use crate::cluster::tls::certificate as reader;
use crate::hex::{hex, short_hash};

/// How long the CA lives: ten years.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Certificates are good from a little before they are made: clocks differ.
pub(super) const SKEW: Duration = Duration::from_secs(300);
/// Bytes of a serial number: one half is random, the other shows whose certificate it is.
const HALF: usize = 8;

/// Why the CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What lies in its Secret is no CA.
    #[error(
        "the Secret of the CA for client certificates holds no usable certificate and key: restore it, or delete it to have all client certificates made anew"
    )]
    Ca(#[source] rcgen::Error),
    /// A certificate could not be made.
    #[error("failed to issue the client certificate")]
    Leaf(#[source] rcgen::Error),
    /// The list could not be made.
    #[error("failed to sign the revocation list")]
    Crl(#[source] rcgen::Error),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Random,
    /// There is no room for what may have to be revoked.
    #[error(
        "too many client certificates of this namespace were revoked before their end: Secrets were edited or deleted, or VaultRoles made and deleted, again and again. Wait until those have ended"
    )]
    ListUsedUp,
    /// What was made cannot be used.
    #[error(
        "the key of the CA for client certificates does not belong to its certificate: restore both from one backup, or delete the Secret to have all client certificates made anew"
    )]
    Mismatch,
}

/// The CA of one VaultCluster for the client certificates of its VaultRoles.
pub(super) struct ClientCa {
    /// Its certificate, PEM.
    pub(super) certificate: String,
    /// Its key, PKCS#8.
    pub(super) key: SecretString,
}

/// A client certificate and its key.
pub(super) struct Leaf {
    /// Certificate, PEM.
    pub(super) certificate: String,
    /// Key, PKCS#8.
    pub(super) key: SecretString,
    /// What is in the certificate.
    pub(super) facts: reader::Facts,
    /// The CA that signed it, PEM.
    pub(super) trust: String,
}

/// A serial number on the revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    /// In hexadecimal.
    pub(super) serial: String,
    /// When it was put there.
    pub(super) at: Timestamp,
    /// Until when its certificate would have been good.
    pub(super) until: Timestamp,
}

impl ClientCa {
    /// Makes one for the VaultCluster, ECDSA P-256.
    pub(super) fn new(namespace: &str, name: &str, now: Timestamp) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::Ca)?;
        let mut params = CertificateParams::default();
        let whose: String = format!("{namespace}/{name}").chars().take(20).collect();
        let made = now.strftime("%Y-%m-%dT%H:%M:%SZ");
        params.distinguished_name = common_name(&format!("Vaultkeeper client CA of {whose}, {made}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        good_for(&mut params, now, CA_LIFE);
        let certificate = params.self_signed(&key).map_err(Error::Ca)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: SecretString::from(key.serialize_pem()),
        })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Error> {
        let key = KeyPair::from_pem(self.key.expose_secret()).map_err(Error::Ca)?;
        Issuer::from_ca_cert_pem(&self.certificate, key).map_err(Error::Ca)
    }

    /// Issues a certificate that is good for nothing but to log in as a client, with this URI as its one name. The common
    /// name is the VaultRole's UID: Vault makes the identity of a login of it, and no two may share one.
    pub(super) fn issue(&self, uri: &str, uid: &str, life: Duration, now: Timestamp) -> Result<Leaf, Error> {
        let issuer = self.issuer()?;
        let key = KeyPair::generate().map_err(Error::Leaf)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(Error::Leaf)?)];
        params.distinguished_name = common_name(uid);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&self.new_serial(uid)?));
        good_for(&mut params, now, life);
        let certificate = params.signed_by(&key, &issuer).map_err(Error::Leaf)?.pem();
        let key = SecretString::from(key.serialize_pem());
        let facts = check(&self.certificate, &certificate, &key, uri, now).ok_or(Error::Mismatch)?;
        Ok(Leaf {
            certificate,
            key,
            facts,
            trust: self.certificate.clone(),
        })
    }

    /// A serial number that shows whose certificate it is: nobody can have another's revoked by naming its number.
    fn new_serial(&self, uid: &str) -> Result<[u8; 2 * HALF], Error> {
        let mut serial = [0; 2 * HALF];
        let random = SystemRandom::new().fill(&mut serial[..HALF]);
        random.map_err(|_| Error::Random)?;
        // Positive, and as long as it is: a number's leading zeros would be dropped.
        serial[0] = serial[0] & 0x7f | 0x40;
        let proof = self.proof(&[b"serial", uid.as_bytes(), &serial[..HALF]]);
        serial[HALF..].copy_from_slice(&proof.as_ref()[..HALF]);
        Ok(serial)
    }

    /// Whether a serial number (hexadecimal) is one that was made for this UID.
    pub(super) fn made(&self, serial: &str, uid: &str) -> bool {
        let Some(serial) = bytes(serial).filter(|bytes| bytes.len() == 2 * HALF) else {
            return false;
        };
        let proof = self.proof(&[b"serial", uid.as_bytes(), &serial[..HALF]]);
        serial[HALF..] == proof.as_ref()[..HALF]
    }

    /// A seal over what the operator has written, which nobody else can make.
    pub(super) fn seal(&self, parts: &[&[u8]]) -> String {
        let parts: Vec<&[u8]> = [b"content".as_slice()]
            .into_iter()
            .chain(parts.iter().copied())
            .collect();
        hex(&self.proof(&parts).as_ref()[..16])
    }

    fn proof(&self, parts: &[&[u8]]) -> hmac::Tag {
        let seed = format!(
            "vaultkeeper client certificates\n{}",
            self.key.expose_secret().trim()
        );
        let seed = digest::digest(&digest::SHA256, seed.as_bytes());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, seed.as_ref()));
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }

    /// Name of its revocation list in Vault: several CAs may have one there.
    pub(super) fn crl_name(&self) -> String {
        format!(
            "vaultkeeper.{}",
            short_hash(self.certificate.trim().as_bytes(), 8)
        )
    }

    /// The revocation list, PEM.
    pub(super) fn crl(&self, revoked: &[Revoked], now: Timestamp) -> Result<String, Error> {
        let facts = reader::examine(&self.certificate).ok_or(Error::Mismatch)?;
        let number = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let moment = |at: Timestamp| date_time_ymd(1970, 1, 1) + since_epoch(at);
        let params = CertificateRevocationListParams {
            this_update: moment(now),
            // Vault takes no notice of it.
            next_update: moment(facts.not_after),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .filter_map(|Revoked { serial, at, until: _ }| {
                    Some(RevokedCertParams {
                        serial_number: SerialNumber::from_slice(&bytes(serial)?),
                        revocation_time: moment(*at),
                        reason_code: None,
                        invalidity_date: None,
                    })
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer()?).map_err(Error::Crl)?;
        list.pem().map_err(Error::Crl)
    }
}

/// Reads a certificate, if one of these CAs (PEM) signed it for this URI alone, it is good now, and the key is its own.
pub(super) fn check(
    cas: &str,
    certificate: &str,
    key: &SecretString,
    uri: &str,
    now: Timestamp,
) -> Option<reader::Facts> {
    let facts = reader::examine(certificate)?;
    let own = CertificateDer::from(facts.der.clone());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).ok()?;
    CertifiedKey::from_der(vec![own.clone()], key, &provider).ok()?;
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(cas.as_bytes()) {
        roots.add(ca.ok()?).ok()?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .ok()?;
    let at = UnixTime::since_unix_epoch(since_epoch(now));
    verifier.verify_client_cert(&own, &[], at).ok()?;
    is_only_name(&facts.der, uri).then_some(facts)
}

/// The common name of a certificate.
pub(super) fn own_name(der: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

/// Whether a certificate holds this URI and no other name.
pub(super) fn is_only_name(der: &[u8], uri: &str) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(der) else {
        return false;
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return false;
    };
    matches!(names.value.general_names.as_slice(), [GeneralName::URI(found)] if *found == uri)
}

/// Since the beginning of 1970.
fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default())
}

/// From a little before now on, for this long.
fn good_for(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let now = date_time_ymd(1970, 1, 1) + since_epoch(now);
    (params.not_before, params.not_after) = (now - SKEW, now + life);
}

pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    subject
}

/// The bytes of hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect()
}

/// A serial number in decimal digits, as Vault writes it; none where it is no number.
pub(super) fn decimal(serial: &str) -> Option<String> {
    /// Nine digits at a time.
    const GROUP: u64 = 1_000_000_000;
    let mut groups: Vec<u64> = vec![0];
    for byte in bytes(serial)? {
        let mut carry = u64::from(byte);
        for group in &mut groups {
            let value = *group * 256 + carry;
            (*group, carry) = (value % GROUP, value / GROUP);
        }
        if carry > 0 {
            groups.push(carry);
        }
    }
    let mut groups = groups.iter().rev();
    let first = groups.next().map(u64::to_string).unwrap_or_default();
    Some(groups.fold(first, |text, group| format!("{text}{group:09}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::role::certificate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const URI: &str = "spiffe://main.vault.vaultkeeper/ns/shop/vaultrole/app/uid-1";
    const HOUR: Duration = Duration::from_secs(3600);

    fn ca() -> ClientCa {
        ClientCa::new("vault", "main", NOW).unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW.as_second() + seconds).unwrap()
    }

    #[test]
    fn a_certificate_is_for_one_client_and_nothing_else() {
        let ca = ca();
        let leaf = ca.issue(URI, "uid-1", HOUR, NOW).unwrap();
        assert_eq!(leaf.facts.subject, "CN=uid-1");
        assert!(leaf.facts.dns_names.is_empty());
        assert_eq!(leaf.facts.not_after, later(3600));
        let (_, pem) = x509_parser::pem::parse_x509_pem(leaf.certificate.as_bytes()).unwrap();
        let parsed = pem.parse_x509().unwrap();
        assert!(!parsed.is_ca(), "it signs nothing");
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any, "{usage:?}");
        assert!(is_only_name(&leaf.facts.der, URI));
    }

    #[test]
    fn a_certificate_is_known_with_its_key_its_name_and_its_ca_and_while_it_is_good() {
        let (ca, other) = (ca(), ca());
        let leaf = ca.issue(URI, "uid-1", HOUR, NOW).unwrap();
        let strange = other.issue(URI, "uid-1", HOUR, NOW).unwrap();
        let known =
            |certificate: &str, key, uri, now| check(&ca.certificate, certificate, key, uri, now).is_some();
        assert!(known(&leaf.certificate, &leaf.key, URI, NOW));
        assert!(
            !known(&strange.certificate, &strange.key, URI, NOW),
            "of another CA of the same name"
        );
        assert!(
            !known(&leaf.certificate, &strange.key, URI, NOW),
            "the key of another"
        );
        let longer = format!("{URI}2");
        assert!(
            !known(&leaf.certificate, &leaf.key, &longer, NOW),
            "of another role"
        );
        assert!(
            !known(&leaf.certificate, &leaf.key, URI, later(3601)),
            "it has ended"
        );
        assert!(!known("no", &leaf.key, URI, NOW));
    }

    #[test]
    fn a_serial_number_shows_whose_it_is() {
        let (ca, other) = (ca(), ca());
        let leaf = ca.issue(URI, "uid-1", HOUR, NOW).unwrap();
        let serial = &leaf.facts.serial;
        assert_eq!(serial.len(), 32, "{serial}");
        assert!(ca.made(serial, "uid-1"));
        assert!(!ca.made(serial, "uid-2"), "another role's");
        assert!(!other.made(serial, "uid-1"), "another CA's");
        assert!(!ca.made("00", "uid-1") && !ca.made("zz", "uid-1") && !ca.made("é", "uid-1"));
        let again = ca.issue(URI, "uid-1", HOUR, NOW).unwrap();
        assert_ne!(&again.facts.serial, serial, "each has its own");
    }

    #[test]
    fn a_seal_can_be_made_by_the_ca_alone_and_tells_its_parts_apart() {
        let ca = ca();
        assert_eq!(ca.seal(&[b"a", b"b"]), ca.seal(&[b"a", b"b"]));
        assert_ne!(ca.seal(&[b"ab", b""]), ca.seal(&[b"a", b"b"]));
        assert_ne!(ca.seal(&[b"a"]), super::tests::ca().seal(&[b"a"]));
    }

    #[test]
    fn the_list_holds_what_was_revoked() {
        use x509_parser::prelude::FromDer as _;
        let ca = ca();
        let serial = ca.issue(URI, "uid-1", HOUR, NOW).unwrap().facts.serial;
        let revoked = Revoked {
            serial: serial.clone(),
            at: NOW,
            until: later(3600),
        };
        for (list, wanted) in [(vec![], 0), (vec![revoked], 1)] {
            let pem = ca.crl(&list, later(10)).unwrap();
            assert!(pem.starts_with("-----BEGIN X509 CRL-----"), "{pem}");
            let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
            let (_, parsed) =
                x509_parser::revocation_list::CertificateRevocationList::from_der(&pem.contents).unwrap();
            let found: Vec<String> = parsed
                .iter_revoked_certificates()
                .map(|one| hex(one.raw_serial()))
                .collect();
            assert_eq!(found.len(), wanted);
            assert!(found.iter().all(|one| *one == serial), "{found:?}");
        }
    }

    #[test]
    fn a_ca_that_was_damaged_issues_nothing() {
        let (one, two) = (ca(), ca());
        let mixed = ClientCa {
            certificate: one.certificate,
            key: two.key,
        };
        assert!(matches!(
            mixed.issue(URI, "uid-1", HOUR, NOW),
            Err(Error::Mismatch)
        ));
        let none = ClientCa {
            certificate: "x".to_owned(),
            key: SecretString::from("y"),
        };
        assert!(matches!(none.issue(URI, "uid-1", HOUR, NOW), Err(Error::Ca(_))));
    }

    #[test]
    fn a_serial_number_in_decimal_digits_is_that_of_vault() {
        for (hex, wanted) in [
            ("00", "0"),
            ("ff", "255"),
            ("3b9aca00", "1000000000"),
            (
                "ffffffffffffffffffffffffffffffff",
                "340282366920938463463374607431768211455",
            ),
            ("0de0b6b3a7640001", "1000000000000000001"),
        ] {
            assert_eq!(decimal(hex).as_deref(), Some(wanted), "{hex}");
        }
        assert_eq!(decimal("xy"), None);
    }
}
