//! What a configuration must not hold. Pure. The API server checks the same at admission; it is repeated since a CRD of
//! another version may have let the object in, and names in it are written into the operator's own policy.

mod devices;

use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::cluster::configuration::{
    AclPolicy, AuthMethod, Configuration, JwtRole, JwtRoleType, LoginToken,
};
use vaultkeeper_crds::names;

use super::auth::seconds;

pub(crate) use devices::Places;

/// Checks a configuration. The error is the problem, with its field.
pub(crate) fn check(
    configuration: &Configuration,
    distribution: Distribution,
    version: &str,
    places: Places<'_>,
) -> Result<(), String> {
    let Configuration {
        drift: _,
        secrets_engines,
        auth_methods,
        policies,
        password_policies,
        audit,
        mfa,
        namespaces,
    } = configuration;
    if !namespaces.is_empty() && distribution == Distribution::Vault && !version.contains("+ent") {
        return Err("namespaces: the community edition of Vault has none and ignores the namespace that a client names, so that everything would be done in the root namespace: use distribution OpenBao or Vault Enterprise, or remove them".to_owned());
    }
    for (n, namespace) in namespaces.iter().enumerate() {
        if !is_path(&namespace.path) {
            return Err(format!(
                "namespaces[{n}].path: must be a path such as team or team/dev"
            ));
        }
    }
    for (n, policy) in policies.iter().enumerate() {
        check_policy(&format!("policies[{n}]"), policy)?;
    }
    for (n, method) in auth_methods.iter().enumerate() {
        check_method(&format!("authMethods[{n}]"), method)?;
    }
    for (n, engine) in secrets_engines.iter().enumerate() {
        let field = format!("secretsEngines[{n}]");
        if !is_path(&engine.path) {
            return Err(format!("{field}.path: must be a mount path such as secret"));
        }
        let tune = &engine.tune;
        check_ttls(&field, [&tune.default_lease_ttl, &tune.max_lease_ttl])?;
    }
    for policy in password_policies {
        check_name("passwordPolicies", &policy.name)?;
    }
    for rule in &mfa.enforcements {
        check_name("mfa.enforcements", &rule.name)?;
        if rule
            .auth_methods
            .iter()
            .any(|path| is_own(path.trim_matches('/')))
        {
            return Err(format!(
                "mfa.enforcements: {} would lock the operator and applications out, which have no second factor: remove kubernetes and approle from authMethods",
                rule.name
            ));
        }
    }
    devices::check(audit.as_deref().unwrap_or_default(), places)
}

fn check_policy(field: &str, policy: &AclPolicy) -> Result<(), String> {
    let AclPolicy { name, hcl, persona } = policy;
    if name == "root" || name.starts_with("vaultkeeper") || !is_plain(name) {
        return Err(format!(
            "{field}.name: {name} is root, a policy of the operator, or could be that of a VaultRole: choose a name of lower-case letters, digits, - and _"
        ));
    }
    if hcl.is_some() == persona.is_some() {
        return Err(format!("{field}: must hold either hcl or persona"));
    }
    Ok(())
}

fn check_method(field: &str, method: &AuthMethod) -> Result<(), String> {
    let AuthMethod {
        path,
        type_,
        description: _,
        tune,
        kubernetes,
        jwt,
        cert,
        userpass,
    } = method;
    if !is_path(path) {
        return Err(format!("{field}.path: must be a mount path such as userpass"));
    }
    let has_settings = kubernetes.is_some() || jwt.is_some() || cert.is_some() || userpass.is_some();
    if is_own(path) && (has_settings || type_ != path) {
        return Err(format!(
            "{field}: the operator and VaultRoles log in at {path}, whose type and settings are not to be changed: choose another path"
        ));
    }
    // Roles and settings may be declared beside those of VaultRoles.
    if path == names::CERT_AUTH_PATH && type_ != path {
        return Err(format!(
            "{field}: VaultRoles log in at {path} by certificates: type must be the same word, or choose another path"
        ));
    }
    check_ttls(field, [&tune.default_lease_ttl, &tune.max_lease_ttl])?;
    for user in userpass.iter().flat_map(|u| &u.users) {
        check_token(&format!("{field}.userpass.users"), &user.name, &user.token)?;
    }
    if let Some(jwt) = jwt {
        for role in &jwt.roles {
            let field = format!("{field}.jwt.roles");
            check_token(&field, &role.name, &role.token)?;
            check_bounds(&field, role, jwt.client_id.is_some())?;
        }
    }
    for role in cert.iter().flat_map(|c| &c.roles) {
        check_token(&format!("{field}.cert.roles"), &role.name, &role.token)?;
    }
    Ok(())
}

/// What Vault refuses of a role, or would let in everybody.
fn check_bounds(field: &str, role: &JwtRole, has_client: bool) -> Result<(), String> {
    let name = &role.name;
    match role.role_type {
        JwtRoleType::Jwt => {
            let is_bound = !role.bound_audiences.is_empty()
                || role.bound_subject.is_some()
                || !role.bound_claims.is_empty();
            if !is_bound || role.bound_claims.values().any(Vec::is_empty) {
                return Err(format!(
                    "{field}: {name} needs a bound: boundAudiences, boundSubject or boundClaims, each claim with a value"
                ));
            }
        }
        JwtRoleType::Oidc => {
            if role.allowed_redirect_uris.is_empty() || !has_client {
                return Err(format!(
                    "{field}: {name} of roleType Oidc needs allowedRedirectUris, and clientId and clientSecret beside the roles"
                ));
            }
        }
    }
    Ok(())
}

fn check_ttls(field: &str, ttls: [&Option<String>; 2]) -> Result<(), String> {
    for text in ttls.into_iter().flatten() {
        if seconds(Some(text)).is_none() {
            return Err(format!(
                "{field}.tune: {text} is not a duration such as 1h30m or 7d"
            ));
        }
    }
    Ok(())
}

fn check_token(field: &str, name: &str, token: &LoginToken) -> Result<(), String> {
    let LoginToken {
        policies,
        ttl,
        max_ttl,
    } = token;
    check_name(field, name)?;
    // Vault folds names to lower case before it looks them up, and splits them at commas.
    let is_forbidden = |policy: &&String| {
        let folded = policy.to_ascii_lowercase();
        folded == "root" || folded.starts_with("vaultkeeper") || !is_policy(policy)
    };
    if let Some(policy) = policies.iter().find(is_forbidden) {
        return Err(format!(
            "{field}: {name} must not hold {policy:?}, which is root, the operator's, or no name of a policy"
        ));
    }
    for text in [ttl, max_ttl].into_iter().flatten() {
        if seconds(Some(text)).is_none() {
            return Err(format!(
                "{field}: {text} of {name} is not a duration such as 1h30m or 7d"
            ));
        }
    }
    Ok(())
}

fn check_name(field: &str, name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!(
        "{field}: {name:?} must consist of lower-case letters, digits, -, _ and ."
    ))
}

/// Where the operator and VaultRoles log in.
fn is_own(path: &str) -> bool {
    path == names::KUBERNETES_AUTH_PATH || path == names::APPROLE_AUTH_PATH
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
}

fn is_policy(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:@".contains(c))
}

/// A path that may stand in a policy.
fn is_path(path: &str) -> bool {
    let is_step = |step: &str| {
        step.starts_with(|c: char| c.is_ascii_alphanumeric())
            && step
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    path.split('/').all(is_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<String> {
        let configuration: Configuration = serde_yaml::from_str(text).unwrap();
        check(&configuration, Distribution::Vault, "1.21.1", Places::default()).err()
    }

    #[test]
    fn what_would_break_the_operator_or_another_tenant_is_refused_and_its_neighbour_taken() {
        let user = |policy: &str, ttl: &str| {
            format!(
                "{{authMethods: [{{path: people, type: userpass, userpass: {{users: [{{name: ana, password: {{name: a, key: b}}, token: {{policies: ['{policy}'], ttl: '{ttl}'}}}}]}}}}]}}"
            )
        };
        let jwt = |bound: &str| {
            let mut role: serde_yaml::Mapping =
                serde_yaml::from_str("{name: r, roleType: Jwt, userClaim: sub}").unwrap();
            role.extend(serde_yaml::from_str::<serde_yaml::Mapping>(bound).unwrap());
            let role = serde_json::to_string(&role).unwrap();
            format!(
                "{{authMethods: [{{path: ci, type: jwt, jwt: {{jwksUrl: https://k, roles: [{role}]}}}}]}}"
            )
        };
        let oidc = |settings: &str, uris: &str| {
            let mut settings: serde_yaml::Mapping = serde_yaml::from_str(settings).unwrap();
            let role = format!("[{{name: r, roleType: Oidc, userClaim: sub, allowedRedirectUris: {uris}}}]");
            settings.insert("roles".into(), serde_yaml::from_str(&role).unwrap());
            let settings = serde_json::to_string(&settings).unwrap();
            format!("{{authMethods: [{{path: oidc, type: oidc, jwt: {settings}}}]}}")
        };
        let audit = |devices: &str| {
            let devices: Vec<serde_yaml::Mapping> = serde_yaml::from_str(&format!("[{devices}]")).unwrap();
            let devices = devices.into_iter().enumerate().map(|(n, mut device)| {
                device.insert("path".into(), format!("d{n}").into());
                device
            });
            let devices = serde_json::to_string(&devices.collect::<Vec<_>>()).unwrap();
            format!("{{audit: {devices}}}")
        };
        for (taken, refused) in [
            (
                "{policies: [{name: app, hcl: x}]}".to_owned(),
                "{policies: [{name: shop.app, hcl: x}]}".to_owned(),
            ),
            (
                "{policies: [{name: keeper, hcl: x}]}".to_owned(),
                "{policies: [{name: vaultkeeper-operator, hcl: x}]}".to_owned(),
            ),
            (
                "{policies: [{name: app, persona: Auditor}]}".to_owned(),
                "{policies: [{name: app, hcl: x, persona: Auditor}]}".to_owned(),
            ),
            (
                "{authMethods: [{path: other, type: kubernetes, kubernetes: {host: https://a}}]}".to_owned(),
                "{authMethods: [{path: kubernetes, type: kubernetes, kubernetes: {host: https://a}}]}"
                    .to_owned(),
            ),
            (
                "{authMethods: [{path: approle, type: approle}]}".to_owned(),
                "{authMethods: [{path: approle, type: jwt}]}".to_owned(),
            ),
            (
                "{authMethods: [{path: cert, type: cert, cert: {roles: []}}]}".to_owned(),
                "{authMethods: [{path: cert, type: jwt}]}".to_owned(),
            ),
            (
                "{authMethods: [{path: team/people, type: userpass}]}".to_owned(),
                "{authMethods: [{path: 'a\" {', type: userpass}]}".to_owned(),
            ),
            (user("app", "1h"), user("Root", "1h")),
            (user("app", "1h"), user("app,root", "1h")),
            (user("app", "1h"), user("app", "1x")),
            (user("app", "1h"), user("app", "99999999999999999999s")),
            (jwt("{boundAudiences: [a]}"), jwt("{}")),
            (
                jwt("{boundClaims: {ref: [main]}}"),
                jwt("{boundClaims: {ref: []}}"),
            ),
            (
                oidc("{discoveryUrl: https://idp, clientId: v}", "[https://v/cb]"),
                oidc("{discoveryUrl: https://idp, clientId: v}", "[]"),
            ),
            (
                oidc("{discoveryUrl: https://idp, clientId: v}", "[https://v/cb]"),
                oidc("{discoveryUrl: https://idp}", "[https://v/cb]"),
            ),
            (audit("{stdout: {}}"), audit("{syslog: {}}")),
            (
                audit("{file: {path: /dev/stderr}}"),
                audit("{file: {path: /vault/audit/a.log}}"),
            ),
            (
                audit("{socket: {address: 'a:1'}}"),
                audit("{socket: {address: /a, type: Unix}}"),
            ),
            (
                audit("{stdout: {}}, {file: {path: /dev/stdout}}"),
                audit("{stdout: {}}, {stdout: {}}"),
            ),
            (
                "{secretsEngines: [{path: a, type: kv, tune: {maxLeaseTtl: 1h}}]}".to_owned(),
                "{secretsEngines: [{path: a, type: kv, tune: {maxLeaseTtl: '1'}}]}".to_owned(),
            ),
            (
                "{mfa: {enforcements: [{name: a, methods: [app], authMethods: [people]}]}}".to_owned(),
                "{mfa: {enforcements: [{name: a, methods: [app], authMethods: [kubernetes/]}]}}".to_owned(),
            ),
        ] {
            assert_eq!(problem(&taken), None, "{taken}");
            assert!(problem(&refused).is_some(), "{refused} should be refused");
        }
    }

    #[test]
    fn namespaces_are_refused_where_the_product_ignores_them() {
        let none = Places::default();
        let configuration: Configuration = serde_yaml::from_str("{namespaces: [{path: team}]}").unwrap();
        let refused = check(&configuration, Distribution::Vault, "1.21.1", none).unwrap_err();
        assert!(refused.contains("ignores the namespace"), "{refused}");
        assert!(check(&configuration, Distribution::Vault, "1.21.1+ent", none).is_ok());
        assert!(check(&configuration, Distribution::OpenBao, "2.6.2", none).is_ok());
        let wild: Configuration = serde_yaml::from_str("{namespaces: [{path: '+/*'}]}").unwrap();
        assert!(
            check(&wild, Distribution::OpenBao, "2.6.2", none).is_err(),
            "the path stands in the operator's own policy"
        );
    }
}
