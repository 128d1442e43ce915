//! AppRole: roles, role-ids, secret-ids and the login (`auth/<mount>/…`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::params::TokenParams;
use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::response::{Auth, WrapInfo};
use crate::wire::{null_default, seconds};

/// The AppRole method at one mount. See [`Client::approle`].
#[derive(Debug, Clone)]
pub struct AppRole {
    client: Client,
    mount: String,
}

/// A role. Written in full: Vault keeps what an update leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Whether a login needs a secret-id. Without it a CIDR bound is needed.
    pub bind_secret_id: bool,
    /// From where a secret-id may be used.
    #[serde(deserialize_with = "null_default")]
    pub secret_id_bound_cidrs: Vec<String>,
    /// How many logins one secret-id is good for; zero for no limit.
    pub secret_id_num_uses: u64,
    /// How long a secret-id lives; zero for ever. The server is up to 60 s late to enforce it.
    #[serde(with = "seconds")]
    pub secret_id_ttl: Duration,
    /// Whether secret-ids stay in the cluster that made them. Decided at creation: see [`AppRole::create_role`].
    #[serde(skip_serializing)]
    pub local_secret_ids: bool,
    /// The role-id to have; none keeps it, or has one made. A read does not tell it: see [`AppRole::role_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// The tokens of a login.
    #[serde(flatten)]
    pub token: TokenParams,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            bind_secret_id: true,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: Duration::ZERO,
            local_secret_ids: false,
            role_id: None,
            token: TokenParams::default(),
        }
    }
}

/// What to ask of a new secret-id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretIdRequest {
    /// Carried by the secret-id and by every token of a login with it (`auth.metadata`). No secrets.
    pub metadata: BTreeMap<String, String>,
    /// From where it may be used; a subset of the role's.
    pub cidrs: Vec<String>,
    /// From where its tokens may be used; a subset of the role's.
    pub token_bound_cidrs: Vec<String>,
    /// A shorter life than the role's.
    pub ttl: Option<Duration>,
    /// Fewer uses than the role's.
    pub num_uses: Option<u64>,
}

/// A new secret-id. The only time that it is shown.
#[derive(Debug, Clone, Deserialize)]
pub struct SecretId {
    /// The secret-id.
    pub secret_id: SecretString,
    /// What it is looked up and destroyed by.
    pub secret_id_accessor: String,
    /// How long it lives; zero for ever.
    #[serde(default, rename = "secret_id_ttl", with = "seconds")]
    pub ttl: Duration,
    /// How many logins it is good for; zero for no limit.
    #[serde(default, rename = "secret_id_num_uses")]
    pub num_uses: u64,
}

/// A secret-id as its accessor shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecretIdInfo {
    /// The accessor.
    pub secret_id_accessor: String,
    /// What it was made with.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: BTreeMap<String, String>,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub creation_time: String,
    /// When it ends, RFC 3339; `0001-01-01T00:00:00Z` for never.
    #[serde(default)]
    pub expiration_time: String,
    /// How long it was made for; zero for ever.
    #[serde(default, rename = "secret_id_ttl", with = "seconds")]
    pub ttl: Duration,
    /// How many uses are left; zero for no limit.
    #[serde(default, rename = "secret_id_num_uses")]
    pub num_uses: u64,
}

impl Client {
    /// The AppRole method mounted at `auth/<mount>`.
    pub fn approle(&self, mount: &str) -> AppRole {
        AppRole {
            client: self.clone(),
            mount: mount.trim_matches('/').to_owned(),
        }
    }
}

impl AppRole {
    fn role_path(&self, role: &str, rest: impl fmt::Display) -> String {
        format!("auth/{}/role/{role}{rest}", self.mount)
    }

    /// Creates or changes a role: `PUT auth/<mount>/role/<role>`. Names are folded to lower case by the server. A role-id
    /// that another role has is refused with "`role_id` already in use" (500).
    pub async fn write_role(&self, role: &str, settings: &Role) -> Result<()> {
        self.client
            .done(Request::put(self.role_path(role, ""), settings).named(role))
            .await
    }

    /// Creates a role, with what is decided then for ever (`local_secret_ids`). Where it exists the server refuses that
    /// (400).
    pub async fn create_role(&self, role: &str, settings: &Role) -> Result<()> {
        let mut body = json!(settings);
        if settings.local_secret_ids {
            body["local_secret_ids"] = json!(true);
        }
        self.client
            .done(Request::put(self.role_path(role, ""), &body).named(role))
            .await
    }

    /// A role: `GET auth/<mount>/role/<role>`.
    pub async fn read_role(&self, role: &str) -> Result<Role> {
        self.client
            .data(Request::get(self.role_path(role, "")).named(role))
            .await
    }

    /// Deletes a role with its secret-ids: `DELETE auth/<mount>/role/<role>`. Tokens of earlier logins stay valid,
    /// but can no longer be renewed. Succeeds where there is none.
    pub async fn delete_role(&self, role: &str) -> Result<()> {
        self.client
            .done(Request::delete(self.role_path(role, "")).named(role))
            .await
    }

    /// The names of all roles: `LIST auth/<mount>/role`.
    pub async fn list_roles(&self) -> Result<Vec<String>> {
        self.client.list(&format!("auth/{}/role", self.mount)).await
    }

    /// The role-id, which is no secret by itself: `GET auth/<mount>/role/<role>/role-id`.
    pub async fn role_id(&self, role: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct RoleId {
            role_id: String,
        }
        let answer: RoleId = self
            .client
            .data(Request::get(self.role_path(role, "/role-id")).named(role))
            .await?;
        Ok(answer.role_id)
    }

    /// Makes a secret-id: `PUT auth/<mount>/role/<role>/secret-id`.
    pub async fn create_secret_id(&self, role: &str, wanted: &SecretIdRequest) -> Result<SecretId> {
        let path = self.role_path(role, "/secret-id");
        self.client
            .data(Request::put(path, &wanted.body()).named(role))
            .await
    }

    /// Makes a secret-id that only the holder of the wrapping token sees. `wrapped_accessor` is its accessor.
    pub async fn create_wrapped_secret_id(
        &self,
        role: &str,
        wanted: &SecretIdRequest,
        ttl: Duration,
    ) -> Result<WrapInfo> {
        let mut request = Request::put(self.role_path(role, "/secret-id"), &wanted.body()).named(role);
        request.wrap_ttl = Some(ttl);
        self.client.wrapped(request).await
    }

    /// The accessors of all secret-ids of a role: `LIST auth/<mount>/role/<role>/secret-id`.
    pub async fn list_secret_id_accessors(&self, role: &str) -> Result<Vec<String>> {
        self.client
            .keys(Request::list(self.role_path(role, "/secret-id")).named(role))
            .await
    }

    /// A secret-id, without using it up: `PUT auth/<mount>/role/<role>/secret-id/lookup`. None where the role has no such
    /// one.
    pub async fn lookup_secret_id(
        &self,
        role: &str,
        secret_id: &SecretString,
    ) -> Result<Option<SecretIdInfo>> {
        let path = self.role_path(role, "/secret-id/lookup");
        let body = json!({"secret_id": secret_id.expose_secret()});
        let request = Request::put(path, &body).named(role);
        let call = self.client.call(&request);
        let Some(answer) = self.client.optional_secret(request).await? else {
            return Ok(None);
        };
        let decoded = answer.data.decode();
        let decoded = decoded.map_err(|error| crate::Error::Decode {
            call,
            reason: error.to_string(),
        });
        decoded.map(Some)
    }

    /// A secret-id by its accessor: `PUT auth/<mount>/role/<role>/secret-id-accessor/lookup`.
    pub async fn lookup_secret_id_accessor(&self, role: &str, accessor: &str) -> Result<SecretIdInfo> {
        let path = self.role_path(role, "/secret-id-accessor/lookup");
        self.client
            .data(Request::put(path, &json!({"secret_id_accessor": accessor})).named(role))
            .await
    }

    /// Destroys a secret-id: `PUT auth/<mount>/role/<role>/secret-id-accessor/destroy`. Tokens of its logins stay
    /// valid. [`crate::Error::NotFound`] where it is gone already (the server says 500); an accessor of *another* role is
    /// answered as success and nothing is destroyed.
    pub async fn destroy_secret_id_accessor(&self, role: &str, accessor: &str) -> Result<()> {
        let path = self.role_path(role, "/secret-id-accessor/destroy");
        let request = Request::put(path, &json!({"secret_id_accessor": accessor})).named(role);
        let done = self.client.done(request).await;
        done.map_err(|error| error.absent_when("failed to find accessor entry"))
    }

    /// Logs in: `PUT auth/<mount>/login`. Wrong or destroyed credentials answer [`crate::Error::BadRequest`] with
    /// "invalid role or secret ID".
    pub async fn login(&self, role_id: &str, secret_id: &SecretString) -> Result<Auth> {
        let body = json!({"role_id": role_id, "secret_id": secret_id.expose_secret()});
        let request = Request::put(format!("auth/{}/login", self.mount), &body);
        self.client.without_token().auth(request).await
    }
}

impl SecretIdRequest {
    /// The body. The server takes metadata only as a string that holds JSON.
    fn body(&self) -> serde_json::Value {
        let Self {
            metadata,
            cidrs,
            token_bound_cidrs,
            ttl,
            num_uses,
        } = self;
        let mut body = serde_json::Map::new();
        if !metadata.is_empty() {
            body.insert("metadata".to_owned(), json!(json!(metadata).to_string()));
        }
        if !cidrs.is_empty() {
            body.insert("cidr_list".to_owned(), json!(cidrs));
        }
        if !token_bound_cidrs.is_empty() {
            body.insert("token_bound_cidrs".to_owned(), json!(token_bound_cidrs));
        }
        if let Some(ttl) = ttl {
            body.insert("ttl".to_owned(), json!(ttl.as_secs()));
        }
        if let Some(num_uses) = num_uses {
            body.insert("num_uses".to_owned(), json!(num_uses));
        }
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_sent_as_a_string_that_holds_json() {
        let metadata = BTreeMap::from([("namespace".to_owned(), "team \"a\"".to_owned())]);
        let body = SecretIdRequest {
            metadata,
            ..SecretIdRequest::default()
        }
        .body();
        assert_eq!(
            body,
            json!({"metadata": r#"{"namespace":"team \"a\""}"#}),
            "an object is refused by the server, and what is not set is not sent"
        );
    }

    #[test]
    fn a_role_is_read_as_vault_writes_it() {
        let role: Role = serde_json::from_str(
            r#"{"bind_secret_id":true,"local_secret_ids":false,"secret_id_bound_cidrs":null,
                "secret_id_num_uses":0,"secret_id_ttl":86400,"token_bound_cidrs":[],
                "token_explicit_max_ttl":0,"token_max_ttl":14400,"token_no_default_policy":false,
                "token_num_uses":0,"token_period":0,"token_policies":["app"],"token_ttl":3600,
                "token_type":"default"}"#,
        )
        .unwrap();
        let token = TokenParams {
            ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(14400),
            policies: vec!["app".to_owned()],
            ..TokenParams::default()
        };
        let wanted = Role {
            secret_id_ttl: Duration::from_secs(86400),
            token,
            ..Role::default()
        };
        assert_eq!(
            role, wanted,
            "null lists, seconds and the flattened token settings"
        );
    }

    #[test]
    fn what_is_decided_at_creation_is_not_sent_with_a_change() {
        let role = Role {
            local_secret_ids: true,
            ..Role::default()
        };
        let sent = json!(role);
        assert!(sent.get("local_secret_ids").is_none(), "Vault refuses it: {sent}");
        assert!(sent.get("role_id").is_none(), "it would be emptied: {sent}");
    }

    #[test]
    fn debug_of_a_secret_id_hides_it() {
        let secret: SecretId =
            serde_json::from_str(r#"{"secret_id":"s3cret","secret_id_accessor":"acc"}"#).unwrap();
        let text = format!("{secret:?}");
        assert!(
            !text.contains("s3cret") && text.contains("acc"),
            "only the accessor is shown: {text}"
        );
    }
}
