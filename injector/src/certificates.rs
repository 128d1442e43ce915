//! The injector's own CA and the certificates that it issues. Time is a parameter; nothing is read or stored here.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret as _, SecretString};

/// How long a CA lives.
pub const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long a leaf lives; it is renewed at two thirds.
pub const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Clocks may differ by this much.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be made.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// The stored CA cannot be read.
    #[error("the certificate of the CA cannot be read: {0}")]
    Parse(String),
    /// The stored key is not that of the stored certificate.
    #[error("the key of the CA does not belong to its certificate")]
    Mismatch,
    /// The key cannot sign TLS handshakes.
    #[error("the key cannot be used for TLS")]
    Key(#[source] rustls::Error),
    /// A time outside of what certificates can hold.
    #[error("the clock shows a time that no certificate can hold")]
    Clock,
}

/// The CA of the webhook's certificate, the same for all replicas.
#[derive(Debug, Clone)]
pub struct Authority {
    certificate: String,
    key: SecretString,
    expires: Timestamp,
}

impl Authority {
    /// Makes a new CA.
    ///
    /// # Errors
    /// The randomness or the clock failed.
    pub fn generate(name: &str, now: Timestamp) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, now, CA_LIFE)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Self::from_pem(certificate, key.serialize_pem().into())
    }

    /// Takes a stored CA.
    ///
    /// # Errors
    /// Either part cannot be read, or the two do not belong together.
    pub fn from_pem(certificate: String, key: SecretString) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| Error::Parse(error.to_string()))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| Error::Parse(error.to_string()))?;
        let pair = KeyPair::from_pem(key.expose_secret())?;
        if parsed.public_key().subject_public_key.data != pair.public_key_raw() {
            return Err(Error::Mismatch);
        }
        let expires =
            Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|_| Error::Clock)?;
        Ok(Self {
            certificate,
            key,
            expires,
        })
    }

    /// The certificate as PEM: what the API server must trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key as PEM, for the Secret that all replicas share.
    pub fn key(&self) -> &SecretString {
        &self.key
    }

    /// When the CA ends.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Issues a certificate for a server.
    ///
    /// # Errors
    /// A name that no certificate can hold, or the randomness or the clock failed.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Leaf, Error> {
        let issuer =
            Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(self.key.expose_secret())?)?;
        let mut params = CertificateParams::new(names)?;
        if let Some(name) = names.first() {
            // At most 64 characters fit; the alternative names are what counts.
            params
                .distinguished_name
                .push(DnType::CommonName, name.chars().take(64).collect::<String>());
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let life = LEAF_LIFE.min(self.expires.duration_since(now));
        set_life(&mut params, now, life)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = rustls::crypto::ring::sign::any_supported_type(&der).map_err(Error::Key)?;
        Ok(Leaf {
            certified: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)),
            renew_at: now.checked_add(life * 2 / 3).map_err(|_| Error::Clock)?,
            expires: now.checked_add(life).map_err(|_| Error::Clock)?,
        })
    }
}

/// A server's certificate with its key, which is never stored.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// What TLS needs.
    pub certified: Arc<CertifiedKey>,
    /// When the next one should be made.
    pub renew_at: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

fn set_life(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) -> Result<(), Error> {
    let date = |at: SignedDuration| {
        let at = now.checked_add(at).map_err(|_| Error::Clock)?;
        let seconds = u64::try_from(at.as_second()).map_err(|_| Error::Clock)?;
        Ok::<_, Error>(rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds))
    };
    params.not_before = date(-SKEW)?;
    params.not_after = date(life)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        Authority::generate("test", Timestamp::now()).expect("a CA can be made")
    }

    fn verifies(authority: &Authority, leaf: &Leaf, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
        use rustls::client::WebPkiServerVerifier;
        use rustls_pki_types::{ServerName, UnixTime};
        let mut roots = rustls::RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(authority.certificate().as_bytes()).expect("the CA is PEM");
        roots.add(der).expect("the CA is usable as a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        let seconds = u64::try_from(at.as_second()).expect("after 1970");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            &leaf.certified.cert[0],
            &[],
            &name,
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        )
        .map(|_| ())
    }

    #[test]
    fn a_leaf_is_trusted_for_its_names_while_it_lives() {
        let (authority, now) = (authority(), Timestamp::now());
        let leaf = authority
            .issue(&["hook.ns.svc".into(), "127.0.0.1".into()], now)
            .expect("a leaf");
        let hours = |hours| now + SignedDuration::from_hours(hours);
        for (name, at, good) in [
            ("hook.ns.svc", now, true),
            ("127.0.0.1", now, true),
            ("hook.ns.svc", hours(7 * 24 - 1), true),
            ("hook.ns.svc", hours(7 * 24 + 1), false),
            ("other.ns.svc", now, false),
        ] {
            let result = verifies(&authority, &leaf, name, at);
            assert_eq!(result.is_ok(), good, "{name} at {at}: {result:?}");
        }
        let other = Authority::generate("test", now).expect("a CA can be made");
        assert!(
            verifies(&other, &leaf, "hook.ns.svc", now).is_err(),
            "another CA of the same name is not trusted"
        );
    }

    #[test]
    fn a_leaf_is_renewed_at_two_thirds_and_never_outlives_its_ca() {
        let (authority, now) = (authority(), Timestamp::now());
        let leaf = authority.issue(&["a".into()], now).expect("a leaf");
        assert_eq!(
            leaf.renew_at.duration_since(now),
            LEAF_LIFE * 2 / 3,
            "renewal is at two thirds"
        );
        let late = authority.expires() - SignedDuration::from_hours(2);
        let leaf = authority.issue(&["a".into()], late).expect("a leaf");
        assert_eq!(
            leaf.expires,
            authority.expires(),
            "nothing is trusted after the CA's end"
        );
    }

    #[test]
    fn a_stored_ca_is_the_same_ca() {
        let (first, now) = (authority(), Timestamp::now());
        let stored =
            Authority::from_pem(first.certificate().to_owned(), first.key().clone()).expect("it reads back");
        let leaf = stored.issue(&["a".into()], now).expect("a leaf");
        assert!(
            verifies(&first, &leaf, "a", now).is_ok(),
            "what one replica issues is trusted through the other's CA"
        );
    }

    #[test]
    fn a_key_of_another_ca_is_refused() {
        let (one, other) = (authority(), authority());
        let mixed = Authority::from_pem(one.certificate().to_owned(), other.key().clone());
        assert!(
            matches!(mixed, Err(Error::Mismatch)),
            "the two do not belong together: {mixed:?}"
        );
    }

    #[test]
    fn the_key_is_not_printed() {
        let authority = authority();
        let body: Vec<&str> = authority
            .key()
            .expose_secret()
            .lines()
            .filter(|l| !l.starts_with("---"))
            .collect();
        let shown = format!("{authority:?}");
        assert!(
            body.iter().all(|line| !shown.contains(line)),
            "the key is in {shown}"
        );
    }
}
