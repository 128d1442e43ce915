//! Client certificates from a PKI secrets engine of the same Vault. I/O with Vault.
//!
//! The key is made here and never leaves: the engine signs a request. So no answer of Vault and no audit log holds it, and
//! what was signed when the answer was lost is of no use to anybody.

use k8s_openapi::jiff::Timestamp;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use std::time::Duration;
use vaultkeeper_crds::role::PkiIssuer;
use vaultkeeper_vault::pki::{SignRequest, Signed};
use vaultkeeper_vault::{Client, Error as VaultError, SecretString};

use super::super::error::Error;
use super::ca::{self, Leaf, check, common_name, is_only_name, own_name};
use crate::cluster::tls::certificate as reader;

/// Has a certificate signed with this URI as its one name, and looks whether it is what was asked for.
pub(super) async fn issue(
    vault: &Client,
    issuer: &PkiIssuer,
    uri: &str,
    uid: &str,
    life: Duration,
) -> Result<Leaf, Error> {
    let (key, csr) = request(uri, uid).map_err(|e| Error::ClientCa(ca::Error::Leaf(e)))?;
    let wanted = SignRequest {
        csr: &csr,
        common_name: uid,
        uri,
        ttl: life,
    };
    let engine = vault.pki(&issuer.mount);
    let signed = engine.sign(&issuer.role, &wanted).await;
    let signed = signed.map_err(|e| Error::vault("have the certificate signed by the PKI engine", e))?;
    let unfit = |problem| Error::PkiRoleUnfit {
        issuer: format!("{}/roles/{}", issuer.mount, issuer.role),
        problem,
    };
    let leaf = judge(signed, key, uri, uid).map_err(unfit)?;
    let stored = engine.certificate(&colons(&leaf.facts.serial)).await;
    let stored = stored.map_err(|e| Error::vault("read the certificate that the PKI engine signed", e))?;
    if stored.is_none() {
        return Err(unfit(
            "it keeps no certificates, so that they could not be revoked: set no_store=false",
        ));
    }
    Ok(leaf)
}

/// Key and certificate signing request.
fn request(uri: &str, uid: &str) -> Result<(SecretString, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.distinguished_name = common_name(uid);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let csr = params.serialize_request(&key)?.pem()?;
    Ok((SecretString::from(key.serialize_pem()), csr))
}

/// Whether what was signed can be used, or what is wrong with the role.
fn judge(signed: Signed, key: SecretString, uri: &str, uid: &str) -> Result<Leaf, &'static str> {
    let Signed {
        certificate,
        issuing_ca,
    } = signed;
    let facts = reader::examine(&certificate).ok_or("what it signed is no certificate")?;
    if !is_only_name(&facts.der, uri) {
        return Err(
            "it gives other names than the VaultRole's URI alone: set allowed_uri_sans to cover it, use_csr_sans=true",
        );
    }
    if own_name(&facts.der).as_deref() != Some(uid) {
        return Err(
            "it gives another common name than the VaultRole's UID, and Vault would take two of them for one: set \
             use_csr_common_name=true, and allow_any_name=true or cn_validations=disabled",
        );
    }
    // Made a moment ago, by another clock.
    let now = facts.not_before.max(Timestamp::now());
    let facts = check(&issuing_ca, &certificate, &key, uri, now).ok_or(
        "what it signed does not serve a client: set client_flag=true, and see that its issuer is a CA that has not ended",
    )?;
    Ok(Leaf {
        certificate,
        key,
        facts,
        trust: issuing_ca,
    })
}

/// What has become of a certificate that was to be revoked at its engine.
pub(super) enum Outcome {
    /// It is none with this URI, or nobody knows.
    NotFound,
    /// It is revoked.
    Revoked,
    /// It has this URI, and the operator may not revoke it there: the VaultCluster does not declare that engine any more.
    Denied(VaultError),
}

/// Revokes a certificate at the engine of its issuer, `<mount>/<role>`, if it is one with this URI.
pub(super) async fn revoke(vault: &Client, issuer: &str, serial: &str, uri: &str) -> Result<Outcome, Error> {
    let Some((mount, _)) = issuer.rsplit_once('/') else {
        return Ok(Outcome::NotFound);
    };
    let engine = vault.pki(mount);
    let serial = colons(serial);
    let found = engine.certificate(&serial).await;
    let found = found.map_err(|e| Error::vault("read a certificate of the PKI engine", e))?;
    // Whoever can write a status cannot have another's revoked.
    let facts = found.as_deref().and_then(reader::examine);
    if !facts.is_some_and(|facts| is_only_name(&facts.der, uri)) {
        return Ok(Outcome::NotFound);
    }
    match engine.revoke(&serial).await {
        Ok(()) => Ok(Outcome::Revoked),
        // The engine is not there any more.
        Err(error) if error.is_not_found() => Ok(Outcome::Revoked),
        Err(error) if error.is_denied() && !error.is_invalid_token() => Ok(Outcome::Denied(error)),
        Err(error) => Err(Error::vault("revoke a certificate of the PKI engine", error)),
    }
}

/// A serial number as the PKI engine writes it: no zero in front, and a colon after each byte.
fn colons(serial: &str) -> String {
    let digits: Vec<char> = serial.chars().collect();
    let bytes: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
    let first = bytes.iter().position(|byte| byte != "00").unwrap_or_default();
    bytes[first..].join(":")
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateSigningRequestParams, CertifiedIssuer, DnType, IsCa};
    use vaultkeeper_vault::ExposeSecret as _;

    use super::*;

    const URI: &str = "spiffe://main.vault.vaultkeeper/ns/shop/vaultrole/app/uid-1";

    /// Signs a request as an engine would, with this done to it before.
    fn signed(change: impl FnOnce(&mut CertificateParams)) -> (Signed, SecretString) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "PKI");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (key, csr) = request(URI, "uid-1").unwrap();
        let mut csr = CertificateSigningRequestParams::from_pem(&csr).unwrap();
        change(&mut csr.params);
        let certificate = csr.signed_by(&ca).unwrap();
        let signed = Signed {
            certificate: certificate.pem(),
            issuing_ca: ca.pem(),
        };
        (signed, key)
    }

    fn judged(change: impl FnOnce(&mut CertificateParams)) -> Result<Leaf, &'static str> {
        let (signed, key) = signed(change);
        judge(signed, key, URI, "uid-1")
    }

    #[test]
    fn what_was_asked_for_is_taken_with_its_ca_and_its_key() {
        let (signed, key) = signed(|_| ());
        let (ca, wanted) = (signed.issuing_ca.clone(), key.expose_secret().to_owned());
        let leaf = judge(signed, key, URI, "uid-1").expect("it is what was asked for");
        assert_eq!(leaf.trust, ca);
        assert_eq!(leaf.key.expose_secret(), wanted);
    }

    #[test]
    fn a_certificate_with_another_name_or_for_another_purpose_is_refused() {
        type Change = fn(&mut CertificateParams);
        let changes: [(Change, &str); 5] = [
            (|p| p.subject_alt_names.clear(), "allowed_uri_sans"),
            (
                |p| {
                    p.subject_alt_names
                        .push(SanType::DnsName("a.example.com".try_into().unwrap()));
                },
                "allowed_uri_sans",
            ),
            (
                |p| p.subject_alt_names = vec![SanType::URI("spiffe://other".try_into().unwrap())],
                "allowed_uri_sans",
            ),
            (|p| p.distinguished_name = common_name("uid-2"), "common name"),
            (
                |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
                "client_flag",
            ),
        ];
        for (change, part) in changes {
            let problem = judged(change).err().expect("it should be refused");
            assert!(problem.contains(part), "{problem} should name {part}");
        }
    }

    #[test]
    fn a_serial_number_has_the_form_of_the_engine() {
        assert_eq!(colons("0a0bff"), "0a:0b:ff");
        assert_eq!(
            colons("00ff01"),
            "ff:01",
            "without the zero that keeps it positive"
        );
    }
}
