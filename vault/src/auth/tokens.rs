//! Tokens: looking them up, renewing, revoking and making them (`auth/token/…`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::params::TokenKind;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::request::Request;
use crate::response::Auth;
use crate::wire::{null_default, optional_seconds, seconds};

/// A token as a look-up shows it. Its `id`, which is the token, is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenInfo {
    /// Empty for a batch token.
    #[serde(default)]
    pub accessor: String,
    /// The token's own policies.
    #[serde(default, deserialize_with = "null_default")]
    pub policies: Vec<String>,
    /// Those that come with its identity.
    #[serde(default, deserialize_with = "null_default")]
    pub identity_policies: Vec<String>,
    /// How long it still lives; zero for ever (a root token).
    #[serde(default, with = "seconds")]
    pub ttl: Duration,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub creation_time: i64,
    /// How long it was made for.
    #[serde(default, with = "seconds")]
    pub creation_ttl: Duration,
    /// The hard end that it was made with; zero for none.
    #[serde(default, with = "seconds")]
    pub explicit_max_ttl: Duration,
    /// Its period; zero for none.
    #[serde(default, with = "seconds")]
    pub period: Duration,
    /// When it ends, RFC 3339; `None` for never.
    #[serde(default)]
    pub expire_time: Option<String>,
    /// Whether it can be renewed. Absent for a root token, which counts as no.
    #[serde(default)]
    pub renewable: bool,
    /// Uses left; zero for no limit, -1 once the last one is being spent.
    #[serde(default)]
    pub num_uses: i64,
    /// Whether it has no parent.
    #[serde(default)]
    pub orphan: bool,
    /// `service` or `batch`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Where it was made: `auth/token/root` for a root token.
    #[serde(default)]
    pub path: String,
    /// Its name in the audit log.
    #[serde(default)]
    pub display_name: String,
    /// Its metadata.
    #[serde(default, deserialize_with = "null_default")]
    pub meta: BTreeMap<String, String>,
}

impl TokenInfo {
    /// Whether this is a root token.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }
}

/// What a new token is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TokenRequest {
    /// Its policies; a subset of the caller's own unless the caller has sudo.
    pub policies: Vec<String>,
    /// How long it lives.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    pub ttl: Option<Duration>,
    /// A hard end.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    pub explicit_max_ttl: Option<Duration>,
    /// A period; needs sudo.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    pub period: Option<Duration>,
    /// A limit of uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_uses: Option<u64>,
    /// Whether it can be renewed (yes otherwise).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewable: Option<bool>,
    /// Without the policy `default`.
    pub no_default_policy: bool,
    /// Its name in the audit log.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Its metadata. No secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Service or batch.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<TokenKind>,
}

/// A token role (`auth/token/roles/<role>`): what the tokens are like that are made through it. Written in full: Vault
/// keeps what an update leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRole {
    /// The policies that a token may have, and has where the request names none.
    #[serde(deserialize_with = "null_default")]
    pub allowed_policies: Vec<String>,
    /// Patterns of further ones.
    #[serde(deserialize_with = "null_default")]
    pub allowed_policies_glob: Vec<String>,
    /// Names in the identity store that a token may take.
    #[serde(deserialize_with = "null_default")]
    pub allowed_entity_aliases: Vec<String>,
    /// Whether tokens end with no other token.
    pub orphan: bool,
    /// Whether tokens can be renewed; not with batch tokens.
    pub renewable: bool,
    /// A hard end; not with batch tokens.
    #[serde(rename = "token_explicit_max_ttl", with = "seconds")]
    pub explicit_max_ttl: Duration,
    /// A period; not with batch tokens.
    #[serde(rename = "token_period", with = "seconds")]
    pub period: Duration,
    /// From where tokens may be used.
    #[serde(rename = "token_bound_cidrs", deserialize_with = "null_default")]
    pub bound_cidrs: Vec<String>,
    /// How many requests a token is good for; zero for no limit.
    #[serde(rename = "token_num_uses")]
    pub num_uses: u64,
    /// Without the policy `default`.
    #[serde(rename = "token_no_default_policy")]
    pub no_default_policy: bool,
    /// Service or batch.
    #[serde(rename = "token_type")]
    pub kind: TokenKind,
}

/// Where a token shows that it was made through a role: [`TokenInfo::path`].
pub fn path_of_role(role: &str) -> String {
    format!("auth/token/create/{role}")
}

const LOOKUP_ACCESSOR: &str = "auth/token/lookup-accessor";

impl Client {
    /// Creates or changes a token role: `PUT auth/token/roles/<role>`.
    pub async fn write_token_role(&self, role: &str, settings: &TokenRole) -> Result<()> {
        self.done(Request::put(format!("auth/token/roles/{role}"), settings).named(role))
            .await
    }

    /// A token role: `GET auth/token/roles/<role>`.
    pub async fn read_token_role(&self, role: &str) -> Result<TokenRole> {
        self.data(Request::get(format!("auth/token/roles/{role}")).named(role))
            .await
    }

    /// Makes a token through a role, which says what it may do: `PUT auth/token/create/<role>`. `ttl` counts where the
    /// role has no period. `end`: the role's hard end, which a look-up shows only if the request names it too.
    pub async fn create_token_of_role(
        &self,
        role: &str,
        ttl: Duration,
        end: Duration,
        meta: &BTreeMap<String, String>,
    ) -> Result<Auth> {
        let mut body = json!({"ttl": format!("{}s", ttl.as_secs()), "meta": meta});
        if !end.is_zero() {
            body["explicit_max_ttl"] = json!(format!("{}s", end.as_secs()));
        }
        self.auth(Request::put(path_of_role(role), &body).named(role))
            .await
    }

    /// Renews a token by its accessor: `PUT auth/token/renew-accessor`. The increment is a wish. [`Error::NotFound`]
    /// where there is none.
    pub async fn renew_accessor(&self, accessor: &str, increment: Duration) -> Result<Duration> {
        // The answer has an empty token, which is none.
        #[derive(Deserialize)]
        struct Renewed {
            auth: Life,
        }
        #[derive(Deserialize)]
        struct Life {
            #[serde(with = "seconds")]
            lease_duration: Duration,
        }
        let body = json!({"accessor": accessor, "increment": increment.as_secs()});
        let renewed = self
            .body::<Renewed>(Request::put("auth/token/renew-accessor", &body))
            .await;
        let renewed = renewed.map_err(|error| error.absent_when("invalid accessor"))?;
        Ok(renewed.auth.lease_duration)
    }

    /// This client's own token: `GET auth/token/lookup-self`. [`Error::Denied`] says that it is not valid, whatever
    /// the server's words: every token with the policy `default` may look itself up.
    pub async fn lookup_self(&self) -> Result<TokenInfo> {
        self.data(Request::get("auth/token/lookup-self")).await
    }

    /// Renews this client's own token: `PUT auth/token/renew-self`. The increment is a wish.
    pub async fn renew_self(&self, increment: Option<Duration>) -> Result<Auth> {
        let body = match increment {
            Some(increment) => json!({"increment": increment.as_secs()}),
            None => json!({}),
        };
        self.auth(Request::put("auth/token/renew-self", &body)).await
    }

    /// Revokes this client's own token and its children: `PUT auth/token/revoke-self`.
    pub async fn revoke_self(&self) -> Result<()> {
        self.done(Request::put_empty("auth/token/revoke-self")).await
    }

    /// A token by its accessor: `PUT auth/token/lookup-accessor`. [`Error::NotFound`] where there is none
    /// (the server says 400 or 403).
    pub async fn lookup_accessor(&self, accessor: &str) -> Result<TokenInfo> {
        let request = Request::put(LOOKUP_ACCESSOR, &json!({"accessor": accessor}));
        let denied = match self.data(request).await {
            Err(error @ Error::Denied { .. }) => error,
            other => return other.map_err(|error: Error| error.absent_when("invalid accessor")),
        };
        let says_so = matches!(&denied, Error::Denied { errors, .. }
            if errors.mention("bad token") || errors.mention("invalid accessor"));
        // Of a token that has just ended, whose accessor is still there, Vault says "permission denied" and no more, as it
        // does to whoever may not ask.
        let is_gone = says_so || self.may_look_up().await;
        Err(match denied {
            Error::Denied { call, errors, .. } if is_gone => Error::NotFound { call, errors },
            denied => denied,
        })
    }

    /// Whether this client's own token may look others up.
    async fn may_look_up(&self) -> bool {
        let allowed = self.capabilities_self(&[LOOKUP_ACCESSOR]).await;
        let words = allowed.ok().and_then(|mut paths| paths.remove(LOOKUP_ACCESSOR));
        words.is_some_and(|words| words.iter().any(|word| word == "update" || word == "root"))
    }

    /// Revokes a token by its accessor: `PUT auth/token/revoke-accessor`. Succeeds where there is none, on most versions;
    /// [`Error::NotFound`] otherwise.
    pub async fn revoke_accessor(&self, accessor: &str) -> Result<()> {
        let request = Request::put("auth/token/revoke-accessor", &json!({"accessor": accessor}));
        self.done(request)
            .await
            .map_err(|error| error.absent_when("invalid accessor"))
    }

    /// The accessors of all tokens: `LIST auth/token/accessors`. Needs sudo.
    pub async fn list_accessors(&self) -> Result<Vec<String>> {
        self.list("auth/token/accessors").await
    }

    /// Makes a token without a parent: `PUT auth/token/create-orphan`.
    pub async fn create_orphan(&self, wanted: &TokenRequest) -> Result<Auth> {
        self.auth(Request::put("auth/token/create-orphan", wanted)).await
    }

    /// Makes a token that ends with this client's own: `PUT auth/token/create`.
    pub async fn create_token(&self, wanted: &TokenRequest) -> Result<Auth> {
        self.auth(Request::put("auth/token/create", wanted)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_token_is_known_by_its_policy_and_the_token_itself_is_not_kept() {
        let info: TokenInfo = serde_json::from_str(
            r#"{"accessor":"acc","creation_time":1,"creation_ttl":0,"display_name":"root","entity_id":"",
                "expire_time":null,"explicit_max_ttl":0,"id":"hvs.abc","meta":null,"num_uses":0,
                "orphan":true,"path":"auth/token/root","policies":["root"],"ttl":0,"type":"service"}"#,
        )
        .unwrap();
        assert!(
            info.is_root() && !info.renewable && info.expire_time.is_none(),
            "as Vault writes it: {info:?}"
        );
        assert!(!format!("{info:?}").contains("hvs."), "the id is the token");
    }

    #[test]
    fn a_token_role_is_read_as_vault_writes_it_and_written_in_full() {
        let role: TokenRole = serde_json::from_str(
            r#"{"allowed_entity_aliases":null,"allowed_policies":["shop.app"],"allowed_policies_glob":[],
                "disallowed_policies":[],"disallowed_policies_glob":[],"explicit_max_ttl":0,"name":"shop.app",
                "orphan":true,"path_suffix":"","period":0,"renewable":true,"token_explicit_max_ttl":14400,
                "token_no_default_policy":false,"token_period":0,"token_type":"service"}"#,
        )
        .unwrap();
        let wanted = TokenRole {
            allowed_policies: vec!["shop.app".to_owned()],
            orphan: true,
            renewable: true,
            explicit_max_ttl: Duration::from_secs(14400),
            kind: TokenKind::Service,
            ..TokenRole::default()
        };
        assert_eq!(role, wanted, "what is empty is left out by the server");
        let written = serde_json::to_value(&wanted).unwrap();
        assert_eq!(written.as_object().unwrap().len(), 11, "all of them: {written}");
    }

    #[test]
    fn a_token_request_leaves_out_what_is_not_asked_for() {
        let wanted = TokenRequest {
            policies: vec!["app".to_owned()],
            ttl: Some(Duration::from_secs(60)),
            ..TokenRequest::default()
        };
        assert_eq!(
            serde_json::to_value(&wanted).unwrap(),
            json!({"policies": ["app"], "ttl": 60, "no_default_policy": false}),
            "a period or type that is sent needs other rights"
        );
    }
}
