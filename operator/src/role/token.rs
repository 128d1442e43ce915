//! A token in a Secret: minted through a token role, renewed by its accessor, replaced when that does not go on, and
//! revoked when it is no longer wanted.
//!
//! The Secret's annotations say which token it holds, so that a restart mints nothing. What they name is touched only if
//! Vault says that it came from this VaultRole's token role: whoever may edit the Secret cannot have a foreign token
//! renewed or revoked.

pub mod deliver;
pub mod plan;
pub mod secret;

use std::collections::BTreeMap;
use std::time::Duration;

use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};
use vaultkeeper_vault::auth::tokens::TokenRole;

/// Where a token is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Name of the Secret.
    pub secret_name: String,
    /// Key in it.
    pub key: String,
    /// Labels of the Secret besides ours.
    pub labels: BTreeMap<String, String>,
}

/// The token role that gives what the settings say: Vault's token roles know no ttl, which each request names, and no
/// longest life but the explicit one.
pub fn role(token: &TokenParams) -> TokenRole {
    let TokenParams {
        ttl: _,
        max_ttl,
        explicit_max_ttl,
        period,
        policies,
        bound_cidrs,
        no_default_policy,
        num_uses,
        kind,
    } = token;
    let is_batch = *kind == TokenKind::Batch;
    let end = if period.is_zero() && explicit_max_ttl.is_zero() {
        *max_ttl
    } else if period.is_zero() && !max_ttl.is_zero() {
        (*explicit_max_ttl).min(*max_ttl)
    } else {
        *explicit_max_ttl
    };
    TokenRole {
        allowed_policies: policies.clone(),
        orphan: true,
        renewable: !is_batch,
        // A batch token ends with its ttl anyway, and Vault takes no other end for it.
        explicit_max_ttl: if is_batch { Duration::ZERO } else { end },
        period: *period,
        bound_cidrs: bound_cidrs.clone(),
        num_uses: *num_uses,
        no_default_policy: *no_default_policy,
        kind: *kind,
        ..TokenRole::default()
    }
}

/// How long one life of a token is: until it ends or is renewed.
pub fn life(token: &TokenParams) -> Duration {
    if token.period.is_zero() {
        token.ttl
    } else {
        token.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    #[test]
    fn a_minted_token_ends_when_a_tokens_of_a_login_would() {
        let token = TokenParams {
            ttl: hours(1),
            max_ttl: hours(4),
            policies: vec!["shop.app".to_owned()],
            kind: TokenKind::Service,
            ..TokenParams::default()
        };
        let found = role(&token);
        assert!(found.orphan && found.renewable, "{found:?}");
        assert_eq!(
            found.explicit_max_ttl,
            hours(4),
            "a token role knows no other longest life"
        );
        assert_eq!(life(&token), hours(1));
        let periodic = TokenParams {
            ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            period: hours(24),
            ..token.clone()
        };
        assert_eq!(
            (role(&periodic).explicit_max_ttl, life(&periodic)),
            (Duration::ZERO, hours(24))
        );
        let batch = TokenParams {
            kind: TokenKind::Batch,
            explicit_max_ttl: hours(4),
            ..token
        };
        let found = role(&batch);
        assert!(
            !found.renewable && found.explicit_max_ttl.is_zero(),
            "Vault refuses either: {found:?}"
        );
    }
}
