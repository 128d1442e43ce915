//! Checks the logins for people and CI, which are at auth methods that the cluster's owner has declared and granted.

use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::cluster::configuration::{AuthMethod, BoundClaimsType};
use vaultkeeper_crds::role::{JwtLogin, PasswordSecret, UserpassLogin};

use super::deliver::is_key;
use super::{Refusal, invalid, is_object_name, not_allowed};

/// A person's login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Path of the mount.
    pub mount: String,
    /// Where the password is, in the VaultRole's namespace.
    pub secret_name: String,
    /// Its key.
    pub key: String,
}

/// A login by a token of another provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Path of the mount.
    pub mount: String,
    /// What a token must be, as the spec says it.
    pub login: JwtLogin,
}

/// What a mount is asked for.
struct Asked<'a> {
    field: &'a str,
    path: &'a str,
    types: &'a [&'a str],
    cluster: &'a str,
}

/// Whether the cluster's owner grants this auth method, and has declared it.
fn is_granted(asked: &Asked<'_>, grants: &[&AccessGrant], methods: &[AuthMethod]) -> Result<(), Refusal> {
    let Asked {
        field,
        path,
        types,
        cluster,
    } = asked;
    if !grants
        .iter()
        .any(|grant| grant.auth_methods.iter().any(|granted| granted == path))
    {
        return Err(not_allowed(format!(
            "{field}.path: {cluster} does not let this namespace log in at auth/{path}: its owner has to name `{path}` in \
             spec.access[].authMethods"
        )));
    }
    match methods.iter().find(|method| method.path == *path) {
        Some(method) if types.contains(&method.type_.as_str()) => Ok(()),
        Some(method) => Err(invalid(format!(
            "{field}.path: auth/{path} is of type {} in {cluster}, and {} is needed: choose another path",
            method.type_,
            types.join(" or ")
        ))),
        None => Err(invalid(format!(
            "{field}.path: {cluster} has no auth method at `{path}`: its owner has to declare one of type {} in \
             spec.configuration.authMethods",
            types.join(" or ")
        ))),
    }
}

pub(super) fn person(
    login: &UserpassLogin,
    name: &str,
    grants: &[&AccessGrant],
    methods: &[AuthMethod],
    cluster: &str,
) -> Result<Person, Refusal> {
    let UserpassLogin {
        path,
        password_secret,
    } = login;
    let asked = Asked {
        field: "spec.userpass",
        path,
        types: &["userpass"],
        cluster,
    };
    is_granted(&asked, grants, methods)?;
    let declared = methods.iter().filter(|method| method.path == *path);
    let mut users = declared
        .filter_map(|method| method.userpass.as_ref())
        .flat_map(|u| &u.users);
    if users.any(|user| user.name == name) {
        return Err(taken("spec.userpass", "user", name, path));
    }
    let PasswordSecret {
        name: secret_name,
        key,
    } = password_secret;
    if !is_object_name(secret_name)
        || secret_name.starts_with("vault-keys.")
        || secret_name.starts_with("vault-ca.")
    {
        return Err(invalid(format!(
            "spec.userpass.passwordSecret.name: `{secret_name}` is no name of a Secret of yours: change it"
        )));
    }
    if !is_key(key) {
        return Err(invalid(format!(
            "spec.userpass.passwordSecret.key: `{key}` is no key of a Secret: use letters, digits and - _ ."
        )));
    }
    Ok(Person {
        mount: path.clone(),
        secret_name: secret_name.clone(),
        key: key.clone(),
    })
}

pub(super) fn provider(
    login: &JwtLogin,
    name: &str,
    grants: &[&AccessGrant],
    methods: &[AuthMethod],
    cluster: &str,
) -> Result<Provider, Refusal> {
    let JwtLogin {
        path,
        bound_audiences,
        bound_subject,
        bound_claims,
        bound_claims_type,
        user_claim,
    } = login;
    let asked = Asked {
        field: "spec.jwt",
        path,
        types: &["jwt", "oidc"],
        cluster,
    };
    is_granted(&asked, grants, methods)?;
    let declared = methods.iter().filter(|method| method.path == *path);
    let mut roles = declared
        .filter_map(|method| method.jwt.as_ref())
        .flat_map(|jwt| &jwt.roles);
    if roles.any(|role| role.name == name) {
        return Err(taken("spec.jwt", "role", name, path));
    }
    if bound_audiences.is_empty() || bound_audiences.iter().any(|a| a.is_empty() || a.contains('*')) {
        return Err(invalid(
            "spec.jwt.boundAudiences: must hold an audience, each in full and without wildcards".to_owned(),
        ));
    }
    let is_bound_by_subject = bound_subject.as_ref().is_some_and(|subject| !subject.is_empty());
    if !is_bound_by_subject && bound_claims.is_empty() {
        return Err(invalid(
            "spec.jwt: holds neither boundSubject nor boundClaims: everybody with a token of that provider and audience \
             could log in: add one"
                .to_owned(),
        ));
    }
    let binds = |value: &String| match bound_claims_type {
        BoundClaimsType::String => !value.is_empty(),
        BoundClaimsType::Glob => value.chars().any(|c| c != '*'),
    };
    if let Some((claim, _)) = bound_claims
        .iter()
        .find(|(claim, values)| claim.is_empty() || values.is_empty() || !values.iter().all(binds))
    {
        return Err(invalid(format!(
            "spec.jwt.boundClaims: `{claim}` has a value that binds nobody: write one that is neither empty nor all \
             wildcard"
        )));
    }
    if user_claim.is_empty() {
        return Err(invalid(
            "spec.jwt.userClaim: is empty: name a claim such as sub".to_owned(),
        ));
    }
    Ok(Provider {
        mount: path.clone(),
        login: login.clone(),
    })
}

/// The cluster's own configuration has the name.
fn taken(field: &str, what: &str, name: &str, path: &str) -> Refusal {
    invalid(format!(
        "{field}: the VaultCluster's spec.configuration declares a {what} `{name}` at auth/{path} itself: rename the \
         VaultRole"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "VaultCluster vault/main";

    fn methods() -> Vec<AuthMethod> {
        let text = "[{path: people, type: userpass, userpass: {users: [{name: shop.ana, password: {name: a, key: b}}]}}, {path: ci, type: jwt}, {path: sso, type: oidc}, {path: hidden, type: jwt}, {path: web, type: cert}]";
        serde_yaml::from_str(text).unwrap()
    }

    fn grant() -> AccessGrant {
        serde_yaml::from_str("{namespaces: [shop], authMethods: [people, ci, sso, web, absent]}").unwrap()
    }

    fn user(path: &str, secret: &str, name: &str) -> Result<Person, Refusal> {
        let login = serde_json::json!({"path": path, "passwordSecret": {"name": secret}});
        let login = serde_json::from_value(login).unwrap();
        person(&login, name, &[&grant()], &methods(), CLUSTER)
    }

    fn ci(change: serde_json::Value) -> Result<Provider, Refusal> {
        let mut login =
            serde_json::json!({"path": "ci", "boundAudiences": ["vault"], "boundSubject": "repo:a"});
        for (key, value) in change.as_object().unwrap() {
            login[key] = value.clone();
        }
        let login = serde_json::from_value(login).unwrap();
        provider(&login, "shop.app", &[&grant()], &methods(), CLUSTER)
    }

    #[test]
    fn a_method_that_is_not_granted_not_declared_or_of_another_type_is_refused_with_the_remedy() {
        assert_eq!(ci(serde_json::json!({})).unwrap().mount, "ci");
        assert_eq!(ci(serde_json::json!({"path": "sso"})).unwrap().mount, "sso");
        for (path, withdraws, part) in [
            ("hidden", true, "spec.access[].authMethods"),
            ("absent", false, "spec.configuration.authMethods"),
            ("people", false, "is of type userpass"),
            ("web", false, "is of type cert"),
        ] {
            let refusal = ci(serde_json::json!({"path": path})).unwrap_err();
            assert_eq!(refusal.withdraws, withdraws, "{path}: {refusal:?}");
            assert!(refusal.message.contains(part), "{path}: {}", refusal.message);
        }
        assert_eq!(user("people", "mine", "shop.bob").unwrap().key, "password");
        assert!(user("ci", "mine", "shop.bob").is_err(), "of type jwt");
    }

    #[test]
    fn a_name_of_the_clusters_own_and_a_secret_of_the_operators_are_left_alone() {
        let refusal = user("people", "mine", "shop.ana").unwrap_err();
        assert!(
            refusal.message.contains("spec.configuration declares a user"),
            "{refusal:?}"
        );
        assert!(user("people", "vault-keys.vault.main", "shop.bob").is_err());
    }

    #[test]
    fn a_provider_without_a_bound_lets_nobody_in() {
        for bad in [
            serde_json::json!({"boundAudiences": []}),
            serde_json::json!({"boundAudiences": ["*"]}),
            serde_json::json!({"boundSubject": null}),
            serde_json::json!({"boundClaims": {"ref": []}}),
            serde_json::json!({"boundClaims": {"ref": ["**"]}, "boundClaimsType": "Glob"}),
        ] {
            assert!(ci(bad.clone()).is_err(), "{bad}");
        }
        for good in [
            serde_json::json!({"boundSubject": null, "boundClaims": {"ref": ["main"]}}),
            serde_json::json!({"boundClaims": {"ref": ["release-*"]}, "boundClaimsType": "Glob"}),
        ] {
            assert!(ci(good.clone()).is_ok(), "{good}: {:?}", ci(good.clone()));
        }
    }
}
