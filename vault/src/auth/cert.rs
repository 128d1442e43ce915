//! The login method for client certificates: its roles, its revocation lists and the login (`auth/<mount>/…`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::params::TokenParams;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::request::Request;
use crate::response::Auth;
use crate::wire::null_default;

/// The cert method at one mount. See [`Client::cert`].
#[derive(Debug, Clone)]
pub struct Cert {
    client: Client,
    mount: String,
}

/// Which certificates log in, and with what. Written in full: Vault keeps what an update leaves out. Every value of a list
/// may hold `*` for any text, and one match is enough; an empty list asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// CAs (PEM) of which one must have signed the certificate.
    pub certificate: String,
    /// Name of the tokens in the audit log.
    pub display_name: String,
    /// Common name, DNS name or e-mail address.
    #[serde(deserialize_with = "null_default")]
    pub allowed_names: Vec<String>,
    /// Common name.
    #[serde(deserialize_with = "null_default")]
    pub allowed_common_names: Vec<String>,
    /// DNS names.
    #[serde(deserialize_with = "null_default")]
    pub allowed_dns_sans: Vec<String>,
    /// E-mail addresses.
    #[serde(deserialize_with = "null_default")]
    pub allowed_email_sans: Vec<String>,
    /// URIs.
    #[serde(deserialize_with = "null_default")]
    pub allowed_uri_sans: Vec<String>,
    /// Organisational units.
    #[serde(deserialize_with = "null_default")]
    pub allowed_organizational_units: Vec<String>,
    /// Extensions with their values.
    #[serde(deserialize_with = "null_default")]
    pub required_extensions: Vec<String>,
    /// Extensions that become metadata of the token.
    #[serde(deserialize_with = "null_default")]
    pub allowed_metadata_extensions: Vec<String>,
    /// Whether an OCSP server is asked.
    pub ocsp_enabled: bool,
    /// The tokens of a login.
    #[serde(flatten)]
    pub token: TokenParams,
}

impl Client {
    /// The cert method mounted at `auth/<mount>`.
    pub fn cert(&self, mount: &str) -> Cert {
        Cert {
            client: self.clone(),
            mount: mount.trim_matches('/').to_owned(),
        }
    }
}

impl Cert {
    fn role_path(&self, role: &str) -> String {
        format!("auth/{}/certs/{role}", self.mount)
    }

    fn crl_path(&self, name: &str) -> String {
        format!("auth/{}/crls/{name}", self.mount)
    }

    /// Creates or changes a role: `PUT auth/<mount>/certs/<role>`. Names are folded to lower case by the server.
    pub async fn write_role(&self, role: &str, settings: &Role) -> Result<()> {
        self.client
            .done(Request::put(self.role_path(role), settings).named(role))
            .await
    }

    /// A role: `GET auth/<mount>/certs/<role>`.
    pub async fn read_role(&self, role: &str) -> Result<Role> {
        self.client
            .data(Request::get(self.role_path(role)).named(role))
            .await
    }

    /// Deletes a role: `DELETE auth/<mount>/certs/<role>`. Tokens of earlier logins stay valid, but can no longer be
    /// renewed. Succeeds where there is none.
    pub async fn delete_role(&self, role: &str) -> Result<()> {
        self.client
            .done(Request::delete(self.role_path(role)).named(role))
            .await
    }

    /// The names of all roles: `LIST auth/<mount>/certs`.
    pub async fn list_roles(&self) -> Result<Vec<String>> {
        self.client.list(&format!("auth/{}/certs", self.mount)).await
    }

    /// Stores a revocation list (PEM) under a name: `PUT auth/<mount>/crls/<name>`. The server keeps its serial numbers
    /// alone: neither signature nor issuer are looked at, nor when it ends.
    pub async fn write_crl(&self, name: &str, pem: &str) -> Result<()> {
        let body = json!({"crl": pem});
        self.client
            .done(Request::put(self.crl_path(name), &body).named(name))
            .await
    }

    /// The serial numbers on a stored revocation list, in decimal digits: `GET auth/<mount>/crls/<name>`. None where there
    /// is no such list (the server says 400).
    pub async fn read_crl(&self, name: &str) -> Result<Option<BTreeSet<String>>> {
        #[derive(Deserialize)]
        struct Crl {
            #[serde(default, deserialize_with = "null_default")]
            serials: serde_json::Map<String, serde_json::Value>,
        }
        let request = Request::get(self.crl_path(name)).named(name);
        match self.client.data::<Crl>(request).await {
            Ok(Crl { serials }) => Ok(Some(serials.into_iter().map(|(serial, _)| serial).collect())),
            Err(Error::NotFound { .. } | Error::BadRequest { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Logs in with the certificate that the client was made with
    /// ([`crate::ClientBuilder::client_certificate`]): `PUT auth/<mount>/login`. Without the name of a role the server
    /// tries all of them.
    pub async fn login(&self, role: Option<&str>) -> Result<Auth> {
        let body = role.map_or_else(|| json!({}), |role| json!({"name": role}));
        let request = Request::put(format!("auth/{}/login", self.mount), &body);
        self.client.without_token().auth(request).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_role_is_read_as_vault_writes_it() {
        let role: Role = serde_json::from_str(
            r#"{"allowed_common_names":null,"allowed_dns_sans":null,"allowed_email_sans":null,
                "allowed_metadata_extensions":null,"allowed_names":null,"allowed_organizational_units":null,
                "allowed_organizations":null,"allowed_uri_sans":["spiffe://a/b"],"certificate":"PEM",
                "display_name":"shop.app","ocsp_ca_certificates":"","ocsp_enabled":false,"ocsp_fail_open":false,
                "ocsp_max_retries":4,"ocsp_query_all_servers":false,"ocsp_servers_override":null,
                "ocsp_this_update_max_age":0,"required_extensions":null,"token_bound_cidrs":[],
                "token_explicit_max_ttl":0,"token_max_ttl":0,"token_no_default_policy":false,"token_num_uses":0,
                "token_period":0,"token_policies":["shop.app"],"token_ttl":600,"token_type":"default"}"#,
        )
        .unwrap();
        let wanted = Role {
            certificate: "PEM".to_owned(),
            display_name: "shop.app".to_owned(),
            allowed_uri_sans: vec!["spiffe://a/b".to_owned()],
            token: TokenParams {
                ttl: Duration::from_secs(600),
                policies: vec!["shop.app".to_owned()],
                ..TokenParams::default()
            },
            ..Role::default()
        };
        assert_eq!(role, wanted, "what was never set is null");
    }

    #[test]
    fn every_bound_is_written_so_that_none_of_an_earlier_one_stays() {
        let written = serde_json::to_value(Role::default()).unwrap();
        for field in [
            "allowed_names",
            "allowed_common_names",
            "allowed_dns_sans",
            "allowed_email_sans",
            "allowed_uri_sans",
            "allowed_organizational_units",
            "required_extensions",
        ] {
            assert_eq!(written[field], json!([]), "{field}");
        }
        assert_eq!(written["token_policies"], json!([]));
    }
}
