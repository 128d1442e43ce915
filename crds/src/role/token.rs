//! What the tokens of a login are like.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deliver::TokenDelivery;

/// What the tokens are like that every way to log in gives. Such a token is an orphan by nature: it ends with no
/// other token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'Batch' || (!has(self.period) && !has(self.numUses))")
        .message("a token of type Batch has neither period nor numUses: Vault does not store it, so that it can be neither renewed nor counted"),
    validation = Rule::new("!has(self.period) || (!has(self.ttl) && !has(self.maxTtl))")
        .message("spec.token.period takes the place of ttl and maxTtl, which Vault would not heed: remove them, and set explicitMaxTtl where the token must end one day"),
    validation = Rule::new(concat!("!has(self.period) || !has(self.explicitMaxTtl) || ", span!("self.period"), " <= ", span!("self.explicitMaxTtl")))
        .message("spec.token.period must not be longer than spec.token.explicitMaxTtl: Vault would cut the period short"),
    validation = Rule::new(concat!("!has(self.maxTtl) || !has(self.explicitMaxTtl) || ", span!("self.maxTtl"), " <= ", span!("self.explicitMaxTtl")))
        .message("spec.token.maxTtl must not be longer than spec.token.explicitMaxTtl: Vault would end the token earlier"),
    validation = Rule::new(concat!("!has(self.ttl) || !has(self.maxTtl) || ", span!("self.ttl"), " <= ", span!("self.maxTtl")))
        .message("spec.token.ttl must not be longer than spec.token.maxTtl"),
    validation = Rule::new(concat!("!has(self.ttl) || has(self.maxTtl) || ", span!("self.ttl"), " <= (has(self.explicitMaxTtl) ? ", span!("self.explicitMaxTtl"), " : 14400)"))
        .message("spec.token.ttl must not be longer than the token can live, which without spec.token.maxTtl is explicitMaxTtl, or 4h without that too"),
)]
pub struct TokenSettings {
    /// Kind of the tokens. A Batch token is not stored by Vault: it is cheap, and can be neither renewed nor revoked. An
    /// auth mount that gives one kind only must be of this kind.
    #[serde(rename = "type", default)]
    pub type_: RoleTokenType,

    /// How long a token lives unless it is renewed, for example 1h. Default: 1h, or maxTtl if that is shorter. At most
    /// what the auth mount allows: 32 days unless it is tuned, else nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]') && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.ttl must be a duration such as 1h, not zero, its units in this order: d, h, m, s, and at most 9999d"))]
    pub ttl: Option<String>,

    /// How long a token can live with renewals, for example 4h. Default: explicitMaxTtl, or else 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]') && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.maxTtl must be a duration such as 4h, not zero, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_ttl: Option<String>,

    /// A hard end for each token that no later change of this spec or of the mount moves. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]') && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.explicitMaxTtl must be a duration such as 24h, not zero, its units in this order: d, h, m, s, and at most 9999d"))]
    pub explicit_max_ttl: Option<String>,

    /// Makes tokens periodic: each renewal gives them this long again, without an end but explicitMaxTtl. In the place
    /// of ttl and maxTtl. For what runs for long and cannot log in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]') && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.period must be a duration such as 24h, not zero, its units in this order: d, h, m, s, and at most 9999d"))]
    pub period: Option<String>,

    /// How many requests a token is good for. Every request counts, also those that renew it or look it up, and such a
    /// token makes no child tokens. An agent that renews its token spends it on that, and logs in again once it is spent:
    /// choose a number only for what makes a few requests and ends. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub num_uses: Option<u32>,

    /// True: tokens do not get Vault's policy `default`, by which a token may look itself up, renew and revoke itself. An
    /// agent needs that, or a policy that allows the same.
    #[serde(default)]
    pub no_default_policy: bool,

    /// Addresses from which tokens may be used, for example 10.0.0.0/8 or 192.0.2.7; all ways to log in but AppRole are
    /// refused from elsewhere as well. Vault must see the clients' own addresses. Default: from everywhere.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 64)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) ? cidr(c) == cidr(c).masked() : isIP(c))").message("each of spec.token.boundCidrs must be a range such as 10.0.0.0/8 without bits behind the prefix, or an address such as 192.0.2.7"))]
    pub bound_cidrs: Vec<String>,

    /// Also puts a token in a Secret of this namespace, which the operator renews and replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<TokenDelivery>,
}

/// Kind of the tokens of a VaultRole.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleTokenType {
    /// Stored by Vault; can be renewed and revoked.
    #[default]
    Service,
    /// Not stored by Vault; lives for its ttl, whatever happens.
    Batch,
}
