//! The managed CA of a cluster and the certificate of its members. Pure but for randomness.

pub mod certificate;
pub mod judgement;
pub mod rollover;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use vaultkeeper_crds::names;
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::validate::Validated;

/// A certificate in PEM and its private key.
pub struct Issued {
    /// Certificate.
    pub certificate: String,
    /// Private key, PKCS#8.
    pub key: SecretString,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA Secret does not hold a usable key pair.
    #[error("the CA Secret does not hold a usable certificate and key: restore it from a backup")]
    Ca(#[source] rcgen::Error),
    /// The certificate of the members could not be made.
    #[error("failed to issue the certificate of the members: check spec.tls.managed.extraDnsNames")]
    Leaf(#[source] rcgen::Error),
    /// The key in the CA Secret is not that of its certificate.
    #[error(
        "what the key in the CA Secret signs is not trusted by the certificate beside it: restore both from one backup"
    )]
    Mismatch(#[source] certificate::Unusable),
    /// What was made cannot be read.
    #[error("the certificate just made cannot be read: this is a defect of the operator")]
    Unreadable,
}

/// How long a CA lives: ten years. It is replaced after two thirds of them.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Certificates are good from a little before they are made: clocks differ.
pub(super) const SKEW: Duration = Duration::from_secs(300);

/// From a little before now on, for this long.
fn good_for(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let moment = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    (params.not_before, params.not_after) = (moment - SKEW, moment + life);
}

/// Makes a CA, ECDSA P-256.
pub fn new_ca(namespace: &str, name: &str, now: Timestamp) -> Result<Issued, Error> {
    let key = KeyPair::generate().map_err(Error::Ca)?;
    let mut params = CertificateParams::default();
    // The time makes the names of two CAs of a cluster differ: some clients look the issuer up by its name alone.
    let whose: String = format!("{namespace}/{name}").chars().take(24).collect();
    let made = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    params.distinguished_name = common_name(&format!("Vaultkeeper CA of {whose}, {made}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    good_for(&mut params, now, CA_LIFE);
    let certificate = params.self_signed(&key).map_err(Error::Ca)?;
    Ok(Issued {
        certificate: certificate.pem(),
        key: SecretString::from(key.serialize_pem()),
    })
}

/// Makes the certificate of the members: one for all, for every name by which they are reached.
pub fn new_leaf(ca: &Issued, cluster: &Validated, now: Timestamp) -> Result<Issued, Error> {
    let ca_key = KeyPair::from_pem(ca.key.expose_secret()).map_err(Error::Ca)?;
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, ca_key).map_err(Error::Ca)?;
    let key = KeyPair::generate().map_err(Error::Leaf)?;
    let mut params = CertificateParams::default();
    for name in dns_names(cluster) {
        // Not by CertificateParams::new, which takes a name that looks like an address for one.
        let name = name.try_into().map_err(Error::Leaf)?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params
        .subject_alt_names
        .extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(SanType::IpAddress));
    params.distinguished_name = common_name(&names::service_host(&cluster.namespace, &cluster.name));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    good_for(&mut params, now, cluster.tls.lifetime);
    let certificate = params.signed_by(&key, &issuer).map_err(Error::Leaf)?;
    let issued = Issued {
        certificate: certificate.pem(),
        key: SecretString::from(key.serialize_pem()),
    };
    // Whoever has it is to be trusted: a key that was edited or restored without its certificate signs just as well.
    certificate::check(
        &issued.certificate,
        Some(&issued.key),
        &ca.certificate,
        &required_names(cluster),
        now,
    )
    .map_err(Error::Mismatch)?;
    Ok(issued)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    // A common name holds at most 64 characters (RFC 5280); nothing is verified by it.
    subject.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    subject
}

/// The names by which members are reached inside of the Kubernetes cluster: no certificate works without them.
pub fn required_names(cluster: &Validated) -> Vec<String> {
    let (ns, name) = (&cluster.namespace, &cluster.name);
    let services = [
        name.clone(),
        names::active_service(name),
        names::standby_service(name),
    ];
    let members = (0..cluster.replicas).map(|ordinal| names::member_host(ns, name, ordinal));
    services
        .iter()
        .map(|service| names::service_host(ns, service))
        .chain(members)
        .collect()
}

/// Every DNS name that the certificate holds, sorted.
pub fn dns_names(cluster: &Validated) -> Vec<String> {
    let (ns, name) = (&cluster.namespace, &cluster.name);
    let headless = names::headless_service(name);
    let mut all: Vec<String> = [
        "",
        &format!(".{ns}"),
        &format!(".{ns}.svc"),
        &format!(".{ns}.svc.cluster.local"),
    ]
    .iter()
    .flat_map(|suffix| {
        [
            name,
            &names::active_service(name),
            &names::standby_service(name),
            &format!("*.{headless}"),
        ]
        .map(|host| format!("{host}{suffix}"))
    })
    .chain(["localhost".to_owned()])
    .chain(cluster.tls.extra_dns_names.iter().cloned())
    .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::super::validate::{tests::cluster, validate};
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    #[test]
    fn two_cas_of_one_cluster_have_different_names() {
        let later = Timestamp::from_second(NOW.as_second() + 1).unwrap();
        let of = |now| {
            let ca = new_ca("a-long-namespace-of-a-big-company", "main", now).unwrap();
            certificate::examine(&ca.certificate).unwrap().subject
        };
        assert_ne!(of(NOW), of(later));
        assert!(of(NOW).contains("2027-01-15T08:00:00Z"), "{}", of(NOW));
    }

    #[test]
    fn the_certificate_holds_every_name_and_is_signed_by_the_ca() {
        let v = validate(&cluster(
            "  tls: {managed: {extraDnsNames: [vault.example.test]}}",
        ))
        .unwrap();
        let ca = new_ca("vault", "main", NOW).unwrap();
        let leaf = new_leaf(&ca, &v, NOW).unwrap();
        let (_, ca_pem) = x509_parser::pem::parse_x509_pem(ca.certificate.as_bytes()).unwrap();
        let (_, leaf_pem) = x509_parser::pem::parse_x509_pem(leaf.certificate.as_bytes()).unwrap();
        let (ca_cert, leaf_cert) = (ca_pem.parse_x509().unwrap(), leaf_pem.parse_x509().unwrap());
        assert_eq!(leaf_cert.issuer(), ca_cert.subject());
        let sans = format!(
            "{:?}",
            leaf_cert.subject_alternative_name().unwrap().unwrap().value
        );
        for name in [
            "main.vault.svc",
            "main-active.vault.svc",
            "main-standby.vault.svc",
            "*.main-internal.vault.svc",
            "localhost",
            "vault.example.test",
        ] {
            assert!(
                sans.contains(&format!("\"{name}\"")),
                "{name} is missing in {sans}"
            );
        }
    }

    #[test]
    fn a_ca_with_the_key_of_another_issues_nothing() {
        let (ours, theirs) = (
            new_ca("vault", "main", NOW).unwrap(),
            new_ca("vault", "main", NOW).unwrap(),
        );
        let mixed = Issued {
            certificate: ours.certificate,
            key: theirs.key,
        };
        let issued = new_leaf(&mixed, &validate(&cluster("")).unwrap(), NOW);
        assert!(
            matches!(issued, Err(Error::Mismatch(_))),
            "no member may get a certificate that nobody trusts"
        );
    }

    #[test]
    fn a_ca_secret_that_was_damaged_is_an_error_and_not_a_new_ca() {
        let ca = Issued {
            certificate: "x".into(),
            key: SecretString::from("y"),
        };
        assert!(matches!(
            new_leaf(&ca, &validate(&cluster("")).unwrap(), NOW),
            Err(Error::Ca(_))
        ));
    }
}
