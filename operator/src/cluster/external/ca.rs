//! The CA certificates of a Vault that runs elsewhere, from where the spec says. Of a Secret only certificates go on.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use vaultkeeper_crds::cluster::{ConfigMapKey, ExternalCa, SecretKey};
use x509_parser::pem::Pem;

use super::Error;
use crate::cluster::apply;
use crate::context::Context;

/// The most certificates that a bundle may hold.
const MOST: usize = 50;

/// Reads the certificates, in PEM.
pub(crate) async fn read(ctx: &Context, namespace: &str, ca: &ExternalCa) -> Result<String, Error> {
    let (object, text) = match ca {
        ExternalCa {
            bundle: Some(bundle),
            secret: None,
            config_map: None,
        } => ("bundle".to_owned(), Ok(bundle.clone())),
        ExternalCa {
            bundle: None,
            secret: Some(at),
            config_map: None,
        } => (
            format!("Secret {}", at.name),
            of_secret(ctx, namespace, at).await?,
        ),
        ExternalCa {
            bundle: None,
            secret: None,
            config_map: Some(at),
        } => (
            format!("ConfigMap {}", at.name),
            of_config_map(ctx, namespace, at).await?,
        ),
        _ => (
            "it".to_owned(),
            Err("must hold exactly one of bundle, secret and configMap"),
        ),
    };
    text.and_then(|text| certificates(&text))
        .map_err(|problem| Error::Ca { object, problem })
}

/// A value, or what is wrong with it.
type Found = Result<String, &'static str>;

async fn of_secret(ctx: &Context, namespace: &str, at: &SecretKey) -> Result<Found, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&at.name).await;
    let found = found.map_err(|e| Error::kubernetes("read the Secret with the CA", e))?;
    Ok(match found {
        None => Err("does not exist: create it"),
        // In the operator's own namespace it could be one with unseal shares.
        Some(secret) if apply::is_managed(&secret) => {
            Err("is kept by the operator itself: refer to one of your own")
        }
        Some(secret) => {
            let value = secret.data.unwrap_or_default().remove(&at.key);
            value.map_or(Err("lacks the key that is referred to: add it"), |value| {
                String::from_utf8(value.0).map_err(|_| "holds a value that is not text")
            })
        }
    })
}

async fn of_config_map(ctx: &Context, namespace: &str, at: &ConfigMapKey) -> Result<Found, Error> {
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&at.name).await;
    let found = found.map_err(|e| Error::kubernetes("read the ConfigMap with the CA", e))?;
    Ok(match found {
        None => Err("does not exist: create it"),
        Some(map) => {
            let value = map.data.unwrap_or_default().remove(&at.key);
            value.ok_or("lacks the key that is referred to: add it")
        }
    })
}

/// The certificates of a text and nothing else of it, written anew: they are published to every namespace with a
/// VaultRole, and a private key may stand beside them.
fn certificates(text: &str) -> Found {
    let mut written = String::new();
    let mut count = 0;
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|_| "holds no readable PEM")?;
        if block.label != "CERTIFICATE" {
            continue;
        }
        if block.parse_x509().is_err() {
            return Err("holds a certificate that cannot be read");
        }
        count += 1;
        if count > MOST {
            return Err(
                "holds more than 50 certificates: name the CA that signed that Vault's certificate only",
            );
        }
        let encoded = STANDARD.encode(&block.contents);
        written.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            let _ = writeln!(written, "{line}");
            rest = more;
        }
        written.push_str("-----END CERTIFICATE-----\n");
    }
    if count == 0 {
        return Err("holds no certificate in PEM");
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use vaultkeeper_vault::ExposeSecret as _;

    use super::*;
    use crate::cluster::tls;

    #[test]
    fn of_a_bundle_only_the_certificates_go_on() {
        let ca = tls::new_ca("vault", "main", Timestamp::now()).unwrap();
        let key = ca.key.expose_secret();
        let mixed = format!("# of the team\n{key}\n{}\n{}", ca.certificate, ca.certificate);
        let written = certificates(&mixed).unwrap();
        assert!(!written.contains("PRIVATE"), "a private key went on: {written}");
        assert_eq!(written.matches("BEGIN CERTIFICATE").count(), 2, "{written}");
        assert_eq!(
            certificates(&written).unwrap(),
            written,
            "what was written reads as it was"
        );
        let body = |text: &str| {
            text.lines()
                .filter(|l| !l.starts_with('-') && !l.starts_with('#'))
                .collect::<String>()
        };
        assert_eq!(
            body(&certificates(&ca.certificate).unwrap()),
            body(&ca.certificate),
            "the certificate is the same one"
        );
    }

    #[test]
    fn what_holds_no_certificate_is_refused_without_repeating_it() {
        for text in [
            "",
            "s3cret",
            "-----BEGIN CERTIFICATE-----\ns3cret\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nczNjcmV0\n-----END CERTIFICATE-----\n",
        ] {
            let problem = certificates(text).unwrap_err();
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }
}
