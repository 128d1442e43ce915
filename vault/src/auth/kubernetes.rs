//! The Kubernetes login method: its configuration, its roles and the login (`auth/<mount>/…`).

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::params::TokenParams;
use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::response::Auth;
use crate::wire::null_default;

/// The Kubernetes method at one mount. See [`Client::kubernetes`].
#[derive(Debug, Clone)]
pub struct Kubernetes {
    client: Client,
    mount: String,
}

/// How the server asks the cluster about a ServiceAccount's token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// The API server, `https://host:port`.
    pub kubernetes_host: String,
    /// Its CA, PEM; empty for the one in the server's own pod.
    pub kubernetes_ca_cert: String,
    /// Not to use the token and CA of the server's own pod.
    pub disable_local_ca_jwt: bool,
    /// Public keys to check tokens with instead of asking, PEM.
    #[serde(deserialize_with = "null_default")]
    pub pem_keys: Vec<String>,
}

/// Which ServiceAccounts may log in, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Names of ServiceAccounts; `*` for all.
    #[serde(deserialize_with = "null_default")]
    pub bound_service_account_names: Vec<String>,
    /// Their namespaces; `*` for all.
    #[serde(deserialize_with = "null_default")]
    pub bound_service_account_namespaces: Vec<String>,
    /// The audience that a token must be for; empty for any.
    pub audience: String,
    /// Whether the identity alias is made of the ServiceAccount's UID or its name.
    pub alias_name_source: AliasNameSource,
    /// The tokens of a login.
    #[serde(flatten)]
    pub token: TokenParams,
}

/// `alias_name_source`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasNameSource {
    /// The UID: a ServiceAccount that is deleted and made again is another one.
    #[default]
    ServiceaccountUid,
    /// `namespace/name`.
    ServiceaccountName,
}

impl Client {
    /// The Kubernetes method mounted at `auth/<mount>`.
    pub fn kubernetes(&self, mount: &str) -> Kubernetes {
        Kubernetes {
            client: self.clone(),
            mount: mount.trim_matches('/').to_owned(),
        }
    }
}

impl Kubernetes {
    fn role_path(&self, role: &str) -> String {
        format!("auth/{}/role/{role}", self.mount)
    }

    /// Writes the configuration: `PUT auth/<mount>/config`. Without a reviewer's token the server uses that of its
    /// own pod, which Kubernetes renews.
    pub async fn write_config(&self, config: &Config, reviewer: Option<&SecretString>) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            config: &'a Config,
            token_reviewer_jwt: &'a str,
        }
        let token_reviewer_jwt = reviewer.map_or("", |token| token.expose_secret());
        let body = Body {
            config,
            token_reviewer_jwt,
        };
        self.client
            .done(Request::put(format!("auth/{}/config", self.mount), &body))
            .await
    }

    /// The configuration: `GET auth/<mount>/config`. [`crate::Error::NotFound`] before the first write.
    pub async fn read_config(&self) -> Result<Config> {
        self.client
            .data(Request::get(format!("auth/{}/config", self.mount)))
            .await
    }

    /// Creates or changes a role: `PUT auth/<mount>/role/<role>`.
    pub async fn write_role(&self, role: &str, settings: &Role) -> Result<()> {
        self.client
            .done(Request::put(self.role_path(role), settings).named(role))
            .await
    }

    /// A role: `GET auth/<mount>/role/<role>`.
    pub async fn read_role(&self, role: &str) -> Result<Role> {
        self.client
            .data(Request::get(self.role_path(role)).named(role))
            .await
    }

    /// Deletes a role: `DELETE auth/<mount>/role/<role>`. Succeeds where there is none.
    pub async fn delete_role(&self, role: &str) -> Result<()> {
        self.client
            .done(Request::delete(self.role_path(role)).named(role))
            .await
    }

    /// The names of all roles: `LIST auth/<mount>/role`.
    pub async fn list_roles(&self) -> Result<Vec<String>> {
        self.client.list(&format!("auth/{}/role", self.mount)).await
    }

    /// Logs in with a ServiceAccount's token: `PUT auth/<mount>/login`. A token that the cluster does not
    /// accept answers [`crate::Error::Denied`].
    pub async fn login(&self, role: &str, jwt: &SecretString) -> Result<Auth> {
        let body = json!({"role": role, "jwt": jwt.expose_secret()});
        let request = Request::put(format!("auth/{}/login", self.mount), &body);
        self.client.without_token().auth(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_vault_writes_it() {
        let role: Role = serde_json::from_str(
            r#"{"alias_name_source":"serviceaccount_uid","bound_service_account_names":["app"],
                "bound_service_account_namespace_selector":"","bound_service_account_namespaces":["team"],
                "token_bound_cidrs":[],"token_explicit_max_ttl":0,"token_max_ttl":0,
                "token_no_default_policy":false,"token_num_uses":0,"token_period":0,"token_policies":[],
                "token_ttl":0,"token_type":"default"}"#,
        )
        .unwrap();
        let wanted = Role {
            bound_service_account_names: vec!["app".to_owned()],
            bound_service_account_namespaces: vec!["team".to_owned()],
            ..Role::default()
        };
        assert_eq!(role, wanted, "the audience is absent when it is empty");
    }
}
