//! The source of the members' certificate as one checked value. Pure.

use std::time::Duration;

use vaultkeeper_crds::cluster::{CertManagerTls, IssuerRef, ManagedTls, Tls as Given};
use vaultkeeper_crds::{duration, names};

use super::{Invalid, invalid};

/// Where the members' certificate comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Who issues it.
    pub source: CertificateSource,
    /// Further DNS names of it.
    pub extra_dns_names: Vec<String>,
    /// How long it is good for, where that is ours to say.
    pub lifetime: Duration,
}

/// Who issues the members' certificate.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateSource {
    /// The operator, which replaces its CA with this overlap.
    Managed {
        /// How long each half of a replacement of the CA lasts.
        ca_overlap: Duration,
    },
    /// cert-manager, asked by the operator.
    CertManager(IssuerRef),
    /// Somebody who keeps this Secret current.
    Secret(String),
}

impl Tls {
    /// Of a spec that is refused: nothing is issued for it.
    pub(super) fn of_nobody() -> Self {
        Self {
            source: CertificateSource::Secret(String::new()),
            extra_dns_names: Vec::new(),
            lifetime: Duration::ZERO,
        }
    }

    /// Name of the Secret that the members mount, in the cluster's namespace.
    pub fn secret_name(&self, cluster: &str) -> String {
        match &self.source {
            CertificateSource::Managed { .. } | CertificateSource::CertManager(_) => {
                names::tls_secret(cluster)
            }
            CertificateSource::Secret(name) => name.clone(),
        }
    }

    /// Whether the operator's own CA signs.
    pub fn is_managed(&self) -> bool {
        matches!(self.source, CertificateSource::Managed { .. })
    }
}

pub(super) fn validate(given: &Given) -> Result<Tls, Invalid> {
    let Given {
        managed,
        cert_manager,
        secret_name,
    } = given;
    let read = |field, text: &str| duration::parse(text).map_err(|error| invalid(field, error.to_string()));
    match (managed, cert_manager, secret_name) {
        (Some(managed), None, None) => {
            let ManagedTls {
                extra_dns_names,
                certificate_lifetime,
                ca_overlap,
            } = managed;
            let field = "spec.tls.managed.certificateLifetime";
            Ok(Tls {
                source: CertificateSource::Managed {
                    ca_overlap: read("spec.tls.managed.caOverlap", ca_overlap)?,
                },
                extra_dns_names: extra_dns_names.clone(),
                lifetime: long_enough(field, read(field, certificate_lifetime)?)?,
            })
        }
        (None, Some(cert_manager), None) => {
            let CertManagerTls {
                issuer_ref,
                extra_dns_names,
                certificate_lifetime,
            } = cert_manager;
            let field = "spec.tls.certManager.certificateLifetime";
            Ok(Tls {
                source: CertificateSource::CertManager(issuer_ref.clone()),
                extra_dns_names: extra_dns_names.clone(),
                lifetime: long_enough(field, read(field, certificate_lifetime)?)?,
            })
        }
        (None, None, Some(name)) => {
            if name.starts_with("vault-keys.") || name.starts_with("vault-ca.") {
                return Err(invalid(
                    "spec.tls.secretName",
                    "must not be that of a Secret in which the operator keeps keys: name another",
                ));
            }
            Ok(Tls {
                source: CertificateSource::Secret(name.clone()),
                extra_dns_names: Vec::new(),
                lifetime: Duration::ZERO,
            })
        }
        _ => Err(invalid(
            "spec.tls",
            "must name exactly one known source: managed, certManager or secretName",
        )),
    }
}

/// The kubelet needs minutes to bring a new certificate.
fn long_enough(field: &'static str, lifetime: Duration) -> Result<Duration, Invalid> {
    if lifetime < Duration::from_secs(3600) {
        return Err(invalid(field, "must be at least 1h: set 2160h"));
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::super::validate;
    use super::*;

    fn read(tls: &str) -> Result<Tls, &'static str> {
        match validate(&cluster(&format!("  tls: {tls}"))) {
            Ok(v) => Ok(v.tls),
            Err(invalid) => Err(invalid.field),
        }
    }

    #[test]
    fn by_default_the_operator_issues_for_ninety_days() {
        let tls = validate(&cluster("")).unwrap().tls;
        let day = Duration::from_secs(86_400);
        assert_eq!(tls.source, CertificateSource::Managed { ca_overlap: day });
        assert_eq!(tls.lifetime, 90 * day);
        assert_eq!(tls.secret_name("main"), "main-tls");
    }

    #[test]
    fn each_source_names_the_secret_that_members_mount() {
        let own = read("{secretName: bought}").unwrap();
        assert_eq!(own.secret_name("main"), "bought");
        let asked = read("{certManager: {issuerRef: {name: ca}}}").unwrap();
        assert_eq!(asked.secret_name("main"), "main-tls");
        assert!(
            matches!(&asked.source, CertificateSource::CertManager(i) if i.kind == "Issuer" && i.group == "cert-manager.io"),
            "{asked:?}"
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_field() {
        assert_eq!(read("{}"), Err("spec.tls"));
        assert_eq!(read("{managed: {}, secretName: bought}"), Err("spec.tls"));
        assert_eq!(
            read("{secretName: vault-keys.v.main}"),
            Err("spec.tls.secretName")
        );
        assert_eq!(
            read("{managed: {certificateLifetime: 59m}}"),
            Err("spec.tls.managed.certificateLifetime")
        );
        assert_eq!(
            read("{managed: {caOverlap: soon}}"),
            Err("spec.tls.managed.caOverlap")
        );
        assert_eq!(
            read("{certManager: {issuerRef: {name: ca}, certificateLifetime: 1m}}"),
            Err("spec.tls.certManager.certificateLifetime")
        );
    }
}
