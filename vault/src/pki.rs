//! The PKI secrets engine, as far as client certificates need it (`<mount>/…`).

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::request::Request;

/// The PKI engine at one mount. See [`Client::pki`].
#[derive(Debug, Clone)]
pub struct Pki {
    client: Client,
    mount: String,
}

/// What is to be signed. The key stays with who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignRequest<'a> {
    /// The certificate signing request, PEM.
    pub csr: &'a str,
    /// The common name; it does not become a DNS name as well.
    pub common_name: &'a str,
    /// The one URI.
    pub uri: &'a str,
    /// How long the certificate is to be good for. The role may shorten it.
    pub ttl: Duration,
}

/// A signed certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Signed {
    /// The certificate, PEM.
    pub certificate: String,
    /// The CA that signed it, PEM.
    pub issuing_ca: String,
}

impl SignRequest<'_> {
    fn body(&self) -> serde_json::Value {
        let Self {
            csr,
            common_name,
            uri,
            ttl,
        } = self;
        json!({
            "csr": csr, "common_name": common_name, "uri_sans": uri, "exclude_cn_from_sans": true,
            "ttl": format!("{}s", ttl.as_secs()), "format": "pem",
        })
    }
}

impl Client {
    /// The PKI engine mounted at `<mount>`, which may have several steps.
    pub fn pki(&self, mount: &str) -> Pki {
        Pki {
            client: self.clone(),
            mount: mount.trim_matches('/').to_owned(),
        }
    }
}

impl Pki {
    /// Has a certificate signed: `PUT <mount>/sign/<role>`.
    pub async fn sign(&self, role: &str, wanted: &SignRequest<'_>) -> Result<Signed> {
        let path = format!("{}/sign/{role}", self.mount);
        self.client
            .data(Request::put(path, &wanted.body()).named(role))
            .await
    }

    /// A stored certificate (PEM) by its serial number (`aa:bb:…`): `GET <mount>/cert/<serial>`. None where it is not stored.
    pub async fn certificate(&self, serial: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Stored {
            certificate: String,
        }
        let request = Request::get(format!("{}/cert/{serial}", self.mount)).named(serial);
        match self.client.data::<Stored>(request).await {
            Ok(Stored { certificate }) => Ok(Some(certificate)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Revokes a certificate by its serial number (`aa:bb:…`): `PUT <mount>/revoke`. Succeeds where it was revoked before.
    pub async fn revoke(&self, serial: &str) -> Result<()> {
        let body = json!({"serial_number": serial});
        self.client
            .done(Request::put(format!("{}/revoke", self.mount), &body))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_name_becomes_no_further_name_and_the_life_has_a_unit() {
        let request = SignRequest {
            csr: "CSR",
            common_name: "uid",
            uri: "spiffe://a",
            ttl: Duration::from_secs(90),
        };
        let body = request.body();
        assert_eq!(body["exclude_cn_from_sans"], true);
        assert_eq!(body["ttl"], "90s");
        assert_eq!(body["uri_sans"], "spiffe://a");
    }

    #[test]
    fn what_was_signed_is_read_as_vault_writes_it() {
        let signed: Signed = serde_json::from_str(
            r#"{"ca_chain":["CA"],"certificate":"LEAF","expiration":1790000000,"issuing_ca":"CA",
                "serial_number":"0a:0b"}"#,
        )
        .unwrap();
        assert_eq!(
            (signed.certificate.as_str(), signed.issuing_ca.as_str()),
            ("LEAF", "CA")
        );
    }
}
