//! Reads the CA and the certificate of a cluster, and makes them when they are not there.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::apply;
use super::error::Error;
use super::tls::{self, Issued};
use super::validate::Validated;
use crate::context::Context;

const CA_KEY_KEY: &str = "ca.key";

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn issued(secret: &Secret, certificate: &'static str, key: &'static str) -> Result<Issued, Error> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let lacks = |key| Error::Incomplete {
        name: name.clone(),
        key,
    };
    Ok(Issued {
        certificate: text(secret, certificate).ok_or_else(|| lacks(certificate))?,
        key: SecretString::from(text(secret, key).ok_or_else(|| lacks(key))?),
    })
}

fn year() -> i32 {
    i32::from(
        k8s_openapi::jiff::Timestamp::now()
            .to_zoned(k8s_openapi::jiff::tz::TimeZone::UTC)
            .year(),
    )
}

/// The certificate of a cluster's CA in PEM, if there is one.
pub async fn ca_certificate(ctx: &Context, namespace: &str, name: &str) -> Result<Option<String>, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let secret = api.get_opt(&names::ca_secret(namespace, name)).await;
    let secret = secret.map_err(|e| Error::kubernetes("read the CA Secret", e))?;
    Ok(secret.as_ref().and_then(|s| text(s, names::CA_KEY)))
}

/// The CA: the stored one, or a new one that is stored first. Never replaced.
pub async fn ensure_ca(ctx: &Context, cluster: &Validated) -> Result<Issued, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let name = names::ca_secret(&cluster.namespace, &cluster.name);
    let step = |e| Error::kubernetes("read the CA Secret", e);
    if let Some(secret) = api.get_opt(&name).await.map_err(step)? {
        return issued(&secret, names::CA_KEY, CA_KEY_KEY);
    }
    // Not there: a new one may only be made where no member and no client trusts an old one.
    let certificates = names::tls_secret(&cluster.name);
    let in_use: Api<Secret> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let found = in_use.get_opt(&certificates).await;
    let found = found.map_err(|e| Error::kubernetes("read the certificate Secret", e))?;
    if let Some(found) = found {
        if !apply::is_owned_by(&found, &cluster.uid) {
            return Err(Error::NotOurs {
                kind: "Secret",
                name: certificates,
            });
        }
        if let Some(certificate) = text(&found, names::CA_KEY) {
            return Err(Error::CaLost {
                secret: name,
                certificates,
                certificate,
            });
        }
    }
    let ca = tls::new_ca(&cluster.namespace, &cluster.name, year())?;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(ctx.namespace.clone()),
            labels: Some(BTreeMap::from([(
                "app.kubernetes.io/managed-by".to_owned(),
                annotations::FIELD_MANAGER.to_owned(),
            )])),
            annotations: Some(BTreeMap::from([(
                annotations::CLUSTER.to_owned(),
                format!("{}.{}", cluster.namespace, cluster.name),
            )])),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([
            (names::CA_KEY.to_owned(), bytes(&ca.certificate)),
            (CA_KEY_KEY.to_owned(), bytes(ca.key.expose_secret())),
        ])),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(ca),
        // Another operator was first: its CA counts.
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
            issued(&api.get(&name).await.map_err(step)?, names::CA_KEY, CA_KEY_KEY)
        }
        Err(error) => Err(Error::kubernetes("create the CA Secret", error)),
    }
}

/// The members' certificate: the one in use while it holds the right names and CA, else a new one.
pub async fn current_or_new_leaf(ctx: &Context, cluster: &Validated, ca: &Issued) -> Result<Issued, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let name = names::tls_secret(&cluster.name);
    let found = api
        .get_opt(&name)
        .await
        .map_err(|e| Error::kubernetes("read the certificate Secret", e))?;
    if let Some(secret) = found {
        let same_ca = text(&secret, names::CA_KEY).is_some_and(|c| c == ca.certificate);
        if let Ok(leaf) = issued(&secret, "tls.crt", "tls.key")
            && same_ca
            && holds(
                &leaf.certificate,
                &tls::dns_names(cluster),
                k8s_openapi::jiff::Timestamp::now().as_second(),
            )
        {
            return Ok(leaf);
        }
    }
    Ok(tls::new_leaf(ca, cluster, year())?)
}

/// Whether a certificate holds exactly these DNS names and has a third of its life left.
fn holds(certificate: &str, wanted: &[String], now: i64) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()) else {
        return false;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return false;
    };
    let validity = certificate.validity();
    let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if end - now < (end - begin) / 3 {
        return false;
    }
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    let held: BTreeSet<&str> = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(dns) => Some(*dns),
            _ => None,
        })
        .collect();
    held == wanted.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::super::validate::{tests::cluster, validate};
    use super::*;

    #[test]
    fn a_name_that_looks_like_an_address_does_not_make_a_new_certificate_each_time() {
        let v = validate(&cluster("  tls: {managed: {extraDnsNames: [10.0.0.1]}}")).unwrap();
        let ca = tls::new_ca("vault", "main", 2026).unwrap();
        let leaf = tls::new_leaf(&ca, &v, 2026).unwrap();
        assert!(
            holds(&leaf.certificate, &tls::dns_names(&v), IN_2027),
            "the certificate just made should be kept"
        );
    }

    const IN_2027: i64 = 1_800_000_000;
    const IN_2030: i64 = 1_900_000_000;

    #[test]
    fn a_certificate_is_kept_until_the_wanted_names_change() {
        let v = validate(&cluster("")).unwrap();
        let ca = tls::new_ca("vault", "main", 2026).unwrap();
        let leaf = tls::new_leaf(&ca, &v, 2026).unwrap();
        assert!(holds(&leaf.certificate, &tls::dns_names(&v), IN_2027));
        assert!(
            !holds(&leaf.certificate, &tls::dns_names(&v), IN_2030),
            "most of its life is over"
        );
        let wider = validate(&cluster(
            "  tls: {managed: {extraDnsNames: [vault.example.test]}}",
        ))
        .unwrap();
        assert!(!holds(&leaf.certificate, &tls::dns_names(&wider), IN_2027));
        assert!(!holds("not a certificate", &tls::dns_names(&v), IN_2027));
    }
}
