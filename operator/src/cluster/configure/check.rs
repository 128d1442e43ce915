//! What a configuration must not hold. Pure. The API server checks the same at admission; it is repeated since a CRD of
//! another version may have let the object in.

use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::cluster::configuration::Configuration;
use vaultkeeper_crds::names;

use super::auth::seconds;

/// Checks a configuration. The error is the problem, with its field.
pub(crate) fn check(
    configuration: &Configuration,
    distribution: Distribution,
    version: &str,
) -> Result<(), String> {
    if !configuration.namespaces.is_empty()
        && distribution == Distribution::Vault
        && !version.contains("+ent")
    {
        return Err("namespaces: the community edition of Vault has none and ignores the namespace that a client names, so that everything would be done in the root namespace: use distribution OpenBao or Vault Enterprise, or remove them".to_owned());
    }
    for (n, policy) in configuration.policies.iter().enumerate() {
        let name = &policy.name;
        if name == "root" || name.starts_with("vaultkeeper") || !is_plain(name) {
            return Err(format!(
                "policies[{n}].name: {name} is root, a policy of the operator, or could be that of a VaultRole: choose a name of lower-case letters, digits, - and _"
            ));
        }
        if policy.hcl.is_some() == policy.persona.is_some() {
            return Err(format!("policies[{n}]: must hold either hcl or persona"));
        }
    }
    for (n, method) in configuration.auth_methods.iter().enumerate() {
        let path = method.path.as_str();
        // The paths are written into the operator's policy.
        if path.is_empty()
            || !path
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        {
            return Err(format!(
                "authMethods[{n}].path: must be a mount path such as userpass"
            ));
        }
        let settings = method.kubernetes.is_some()
            || method.jwt.is_some()
            || method.cert.is_some()
            || method.userpass.is_some();
        if settings && (path == names::KUBERNETES_AUTH_PATH || path == names::APPROLE_AUTH_PATH) {
            return Err(format!(
                "authMethods[{n}]: the operator and VaultRoles log in at {path}, whose settings are not to be changed: choose another path"
            ));
        }
        let tune = &method.tune;
        check_ttls(
            &format!("authMethods[{n}]"),
            [&tune.default_lease_ttl, &tune.max_lease_ttl],
        )?;
        for user in method.userpass.iter().flat_map(|u| &u.users) {
            check_token(
                &format!("authMethods[{n}].userpass.users"),
                &user.name,
                &user.token,
            )?;
        }
        for role in method.jwt.iter().flat_map(|j| &j.roles) {
            check_token(&format!("authMethods[{n}].jwt.roles"), &role.name, &role.token)?;
        }
        for role in method.cert.iter().flat_map(|c| &c.roles) {
            check_token(&format!("authMethods[{n}].cert.roles"), &role.name, &role.token)?;
        }
    }
    for (n, engine) in configuration.secrets_engines.iter().enumerate() {
        let tune = &engine.tune;
        check_ttls(
            &format!("secretsEngines[{n}]"),
            [&tune.default_lease_ttl, &tune.max_lease_ttl],
        )?;
    }
    let named = configuration
        .password_policies
        .iter()
        .map(|p| ("passwordPolicies", &p.name));
    let named = named.chain(
        configuration
            .mfa
            .enforcements
            .iter()
            .map(|r| ("mfa.enforcements", &r.name)),
    );
    for (field, name) in named.chain(configuration.audit.iter().flatten().map(|d| ("audit", &d.path))) {
        if !is_name(name) {
            return Err(format!(
                "{field}: {name} must consist of lower-case letters, digits, -, _ and ."
            ));
        }
    }
    if distribution == Distribution::OpenBao
        && configuration
            .audit
            .iter()
            .flatten()
            .any(|device| device.path == "stdout")
    {
        return Err("audit: the path stdout is that of OpenBao's default device, which cannot be changed: choose another path".to_owned());
    }
    for rule in &configuration.mfa.enforcements {
        let own = [names::KUBERNETES_AUTH_PATH, names::APPROLE_AUTH_PATH];
        if rule
            .auth_methods
            .iter()
            .any(|path| own.contains(&path.trim_matches('/')))
        {
            return Err(format!(
                "mfa.enforcements: {} would lock the operator and applications out, which have no second factor: remove kubernetes and approle from authMethods",
                rule.name
            ));
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

fn check_token(
    field: &str,
    name: &str,
    token: &vaultkeeper_crds::cluster::configuration::LoginToken,
) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!(
            "{field}: {name} must consist of lower-case letters, digits, -, _, @ and ."
        ));
    }
    let forbidden = |p: &&String| {
        p.trim().eq_ignore_ascii_case("root") || p.trim().to_lowercase().starts_with("vaultkeeper")
    };
    if let Some(policy) = token.policies.iter().find(forbidden) {
        return Err(format!(
            "{field}: {name} must not hold {policy}, which is root or the operator's"
        ));
    }
    for text in [&token.ttl, &token.max_ttl].into_iter().flatten() {
        if seconds(Some(text)).is_none() {
            return Err(format!(
                "{field}: {text} of {name} is not a duration such as 1h30m or 7d"
            ));
        }
    }
    Ok(())
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
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<String> {
        let configuration: Configuration = serde_yaml::from_str(text).unwrap();
        check(&configuration, Distribution::Vault, "1.21.1").err()
    }

    #[test]
    fn what_would_break_the_operator_or_another_tenant_is_refused_and_its_neighbour_taken() {
        let user = |policy: &str, ttl: &str| {
            format!(
                "{{authMethods: [{{path: people, type: userpass, userpass: {{users: [{{name: ana, password: {{name: a, key: b}}, token: {{policies: ['{policy}'], ttl: '{ttl}'}}}}]}}}}]}}"
            )
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
                "{authMethods: [{path: team/people, type: userpass}]}".to_owned(),
                "{authMethods: [{path: 'a\" {', type: userpass}]}".to_owned(),
            ),
            (user("app", "1h"), user("Root", "1h")),
            (user("app", "1h"), user("app", "1x")),
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
        let configuration: Configuration = serde_yaml::from_str("{namespaces: [{path: team}]}").unwrap();
        let refused = check(&configuration, Distribution::Vault, "1.21.1").unwrap_err();
        assert!(refused.contains("ignores the namespace"), "{refused}");
        assert!(check(&configuration, Distribution::Vault, "1.21.1+ent").is_ok());
        assert!(check(&configuration, Distribution::OpenBao, "2.6.2").is_ok());
    }
}
