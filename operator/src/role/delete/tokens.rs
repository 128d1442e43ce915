//! Revokes the tokens that were given to a role. I/O with Vault only.
//!
//! Vault keeps no list by role: each token is looked at by its accessor. `sys/leases/revoke-prefix/auth/approle/login` would
//! take the tokens of all roles.

use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::tokens::TokenInfo;

use super::super::error::Error;

/// Metadata of a token that name the role which it was given to: AppRole, Kubernetes and JWT, certificate, userpass.
const ROLE_KEYS: [&str; 4] = ["role_name", "role", "cert_name", "username"];

/// Whether a token was given at a login to the role `name`. One that was made from another token bears no such metadata by the
/// hand of Vault, and dies with its parent.
fn is_of(token: &TokenInfo, name: &str) -> bool {
    let by_login = token.path.starts_with("auth/") && token.path.contains("/login");
    let names_it = |key: &&str| {
        token
            .meta
            .get(*key)
            .is_some_and(|role| role.eq_ignore_ascii_case(name))
    };
    by_login && ROLE_KEYS.iter().any(names_it)
}

/// Revokes them all, and their children. Says how many there were.
pub(super) async fn revoke(vault: &Client, name: &str) -> Result<usize, Error> {
    let accessors = vault.list_accessors().await;
    let accessors = accessors.map_err(|e| Error::vault("list the accessors of all tokens", e))?;
    let mut revoked = 0;
    for accessor in accessors {
        let token = match vault.lookup_accessor(&accessor).await {
            Ok(token) => token,
            // It has ended meanwhile.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(Error::vault("look a token up by its accessor", error)),
        };
        if !is_of(&token, name) {
            continue;
        }
        match vault.revoke_accessor(&accessor).await {
            Ok(()) => revoked += 1,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Error::vault("revoke a token of the role", error)),
        }
    }
    Ok(revoked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_login_to_this_very_role_makes_a_token_of_it() {
        let of = |path: &str, key: &str, role: &str| {
            let token =
                json!({"path": path, "meta": {key: role}, "type": "service", "policies": ["shop.app"]});
            is_of(&serde_json::from_value(token).unwrap(), "shop.app")
        };
        for (path, key) in [
            ("auth/approle/login", "role_name"),
            ("auth/kubernetes/login", "role"),
            ("auth/team/k8s/login", "role"),
            ("auth/cert/login", "cert_name"),
            ("auth/userpass/login/shop.app", "username"),
        ] {
            assert!(of(path, key, "shop.app"), "{path} with {key}");
            assert!(!of(path, key, "shop.app2"), "{path}: another role");
        }
        assert!(
            of("auth/kubernetes/login", "role", "Shop.App"),
            "Vault keeps what was asked for"
        );
        assert!(
            !of("auth/token/create", "role_name", "shop.app"),
            "whoever makes a token writes into it what he likes"
        );
        assert!(!of("auth/approle/login", "team", "shop.app"), "other metadata");
    }
}
