//! Certificate authorities and certificates for the testbed's servers. Keys are ECDSA P-256 and live for one run.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// A certificate authority.
#[derive(Debug)]
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
pub struct Pair {
    /// The certificate alone, without its issuer.
    pub cert_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// Where a [`Pair`] or a CA was written to.
#[derive(Debug, Clone)]
pub struct PairFiles {
    /// `<name>.crt`
    pub cert: PathBuf,
    /// `<name>.key`, mode 0600.
    pub key: PathBuf,
}

/// Where [`write_signing_key`] wrote to.
#[derive(Debug, Clone)]
pub struct SigningKeyFiles {
    /// PKCS #8, mode 0600.
    pub private: PathBuf,
    /// PEM.
    pub public: PathBuf,
}

impl Ca {
    /// A self-signed authority of this common name.
    pub fn new(common_name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("cannot make a CA key")?;
        let issuer = CertifiedIssuer::self_signed(params, key)
            .with_context(|| format!("cannot sign the CA {common_name}"))?;
        Ok(Self { issuer })
    }

    /// The authority's own certificate.
    pub fn cert_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server, good for the names and addresses given. It may be used as a client's, too:
    /// members of an etcd or Raft cluster are both.
    pub fn server(&self, common_name: &str, names: &[&str]) -> anyhow::Result<Pair> {
        self.server_until(common_name, names, None)
    }

    /// The same, but it expires then.
    pub fn server_until(
        &self,
        common_name: &str,
        names: &[&str],
        not_after: Option<SystemTime>,
    ) -> anyhow::Result<Pair> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .with_context(|| format!("the names of {common_name} do not fit into a certificate"))?;
        if let Some(end) = not_after {
            params.not_after = end.into();
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(params, name(common_name, &[]))
    }

    /// A client's certificate. Kubernetes reads the user from the common name and groups from the organisations.
    pub fn client(&self, user: &str, groups: &[&str]) -> anyhow::Result<Pair> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, name(user, groups))
    }

    /// Writes certificate and key as `<name>.crt` and `<name>.key`.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<PairFiles> {
        let pair = Pair {
            cert_pem: self.cert_pem(),
            key_pem: self.issuer.key().serialize_pem(),
        };
        pair.write(folder, name)
    }

    fn sign(&self, mut params: CertificateParams, subject: DistinguishedName) -> anyhow::Result<Pair> {
        params.distinguished_name = subject;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("cannot make a key")?;
        let cert = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign a certificate")?;
        Ok(Pair {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Pair {
    /// Writes both as `<name>.crt` and `<name>.key`, replacing earlier ones.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<PairFiles> {
        let files = PairFiles {
            cert: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.cert, &self.cert_pem)
            .with_context(|| format!("cannot write {}", files.cert.display()))?;
        write_private(&files.key, &self.key_pem)?;
        Ok(files)
    }
}

/// Writes a key pair that signs and verifies ServiceAccount tokens, as `<name>.key` and `<name>.pub`.
pub fn write_signing_key(folder: &Path, name: &str) -> anyhow::Result<SigningKeyFiles> {
    let pair = KeyPair::generate().context("cannot make a signing key")?;
    let files = SigningKeyFiles {
        private: folder.join(format!("{name}.key")),
        public: folder.join(format!("{name}.pub")),
    };
    write_private(&files.private, &pair.serialize_pem())?;
    fs::write(&files.public, pair.public_key_pem())
        .with_context(|| format!("cannot write {}", files.public.display()))?;
    Ok(files)
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(path);
        let mut file: File = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn name(common_name: &str, organisations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    for organisation in organisations {
        name.push(DnType::OrganizationName, *organisation);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_the_owner_can_read_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let files = Ca::new("test-ca")
            .unwrap()
            .server("x", &["x.test", "127.0.0.1"])
            .unwrap()
            .write(folder.path(), "x");
        let mode = fs::metadata(files.unwrap().key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the mode of a key file");
    }
}
