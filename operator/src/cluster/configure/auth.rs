//! Settings, roles and users of auth methods as they are declared. Pure but for the secrets, which are handed in.

use serde_json::{Value, json};
use vaultkeeper_crds::cluster::configuration::{
    AuthMethod, BoundClaimsType, CertAuth, CertRole, JwtAuth, JwtRole, JwtRoleType, KubernetesAuth,
    LoginToken, UserpassUser,
};
use vaultkeeper_crds::duration;

use super::object::{Field, Wanted, field};
use super::secrets::Secrets;
use crate::cluster::error::Error;

/// Everything below one auth method that is declared, each with its field, or why it cannot be.
pub(crate) fn below(
    index: usize,
    method: &AuthMethod,
    secrets: &Secrets,
) -> Vec<(String, Result<Wanted, Error>)> {
    let AuthMethod {
        path,
        type_: _,
        description: _,
        tune: _,
        kubernetes,
        jwt,
        cert,
        userpass,
    } = method;
    let object = format!("spec.configuration.authMethods[{index}]");
    let mut all = Vec::new();
    if let Some(settings) = kubernetes {
        let field = format!("{object}.kubernetes");
        let wanted = kubernetes_config(&field, path, settings, secrets);
        all.push((field, wanted));
    }
    if let Some(settings) = jwt {
        let field = format!("{object}.jwt");
        let wanted = jwt_config(&field, path, settings, secrets);
        all.push((field, wanted));
        for (n, role) in settings.roles.iter().enumerate() {
            let field = format!("{object}.jwt.roles[{n}]");
            let wanted = jwt_role(&field, path, role);
            all.push((field, Ok(wanted)));
        }
    }
    if let Some(settings) = cert {
        let field = format!("{object}.cert");
        all.extend(cert_config(&field, path, settings).map(|wanted| (field, Ok(wanted))));
        for (n, role) in settings.roles.iter().enumerate() {
            let field = format!("{object}.cert.roles[{n}]");
            let wanted = cert_role(&field, path, role);
            all.push((field, Ok(wanted)));
        }
    }
    if let Some(settings) = userpass {
        for (n, user) in settings.users.iter().enumerate() {
            let field = format!("{object}.userpass.users[{n}]");
            let wanted = userpass_user(&field, path, user, secrets);
            all.push((field, wanted));
        }
    }
    all
}

fn kubernetes_config(
    object: &str,
    mount: &str,
    settings: &KubernetesAuth,
    secrets: &Secrets,
) -> Result<Wanted, Error> {
    let KubernetesAuth {
        host,
        ca_cert,
        token_reviewer,
    } = settings;
    let mut fields = vec![
        field("kubernetes_host", "host", host.as_str()),
        field(
            "kubernetes_ca_cert",
            "caCert",
            ca_cert.as_deref().unwrap_or_default(),
        ),
        // The token and CA of Vault's own pod belong to another cluster.
        field("disable_local_ca_jwt", "disable_local_ca_jwt", true),
    ];
    let mut values = Vec::new();
    match token_reviewer {
        Some(at) => values.push((
            "token_reviewer_jwt",
            secrets.value(&format!("{object}.tokenReviewer"), at)?,
        )),
        // Vault tells whether it has one, and forgets it with a write that holds none.
        None => fields.push(field("token_reviewer_jwt_set", "tokenReviewer", false)),
    }
    Ok(Wanted {
        field: object.to_owned(),
        what: format!("settings of auth method {mount}"),
        path: format!("auth/{mount}/config"),
        fields,
        always: Vec::new(),
        secrets: values,
        whole: true,
    })
}

fn jwt_config(object: &str, mount: &str, settings: &JwtAuth, secrets: &Secrets) -> Result<Wanted, Error> {
    let JwtAuth {
        discovery_url,
        discovery_ca,
        client_id,
        client_secret,
        jwks_url,
        jwks_ca,
        public_keys,
        bound_issuer,
        default_role,
        roles: _,
    } = settings;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut fields = vec![
        // Vault takes exactly one of the three, so that the others are to be empty.
        field("oidc_discovery_url", "discoveryUrl", text(discovery_url)),
        field("jwks_url", "jwksUrl", text(jwks_url)),
        field("jwt_validation_pubkeys", "publicKeys", json!(public_keys)),
        field("oidc_discovery_ca_pem", "discoveryCa", text(discovery_ca)),
        field("jwks_ca_pem", "jwksCa", text(jwks_ca)),
        field("oidc_client_id", "clientId", text(client_id)),
    ];
    optional(&mut fields, "bound_issuer", "boundIssuer", bound_issuer.clone());
    optional(&mut fields, "default_role", "defaultRole", default_role.clone());
    let secret = client_secret.as_ref();
    let secret = secret
        .map(|at| secrets.value(&format!("{object}.clientSecret"), at))
        .transpose()?;
    Ok(Wanted {
        field: object.to_owned(),
        what: format!("settings of auth method {mount}"),
        path: format!("auth/{mount}/config"),
        fields,
        always: Vec::new(),
        secrets: secret
            .map(|value| ("oidc_client_secret", value))
            .into_iter()
            .collect(),
        whole: true,
    })
}

fn jwt_role(object: &str, mount: &str, role: &JwtRole) -> Wanted {
    let JwtRole {
        name,
        role_type,
        user_claim,
        bound_audiences,
        bound_subject,
        bound_claims,
        bound_claims_type,
        groups_claim,
        claim_mappings,
        allowed_redirect_uris,
        oidc_scopes,
        token,
    } = role;
    let type_ = match role_type {
        JwtRoleType::Jwt => "jwt",
        JwtRoleType::Oidc => "oidc",
    };
    let claims_type = match bound_claims_type {
        BoundClaimsType::String => "string",
        BoundClaimsType::Glob => "glob",
    };
    // What decides who may log in is compared as a whole: a bound that somebody took away is drift.
    let mut fields = vec![
        field("role_type", "roleType", type_),
        field("user_claim", "userClaim", user_claim.as_str()),
        field("bound_audiences", "boundAudiences", json!(bound_audiences)),
        field(
            "bound_subject",
            "boundSubject",
            bound_subject.as_deref().unwrap_or_default(),
        ),
        field("bound_claims", "boundClaims", json!(bound_claims)),
        field("bound_claims_type", "boundClaimsType", claims_type),
        field(
            "groups_claim",
            "groupsClaim",
            groups_claim.as_deref().unwrap_or_default(),
        ),
        field("claim_mappings", "claimMappings", json!(claim_mappings)),
        field(
            "allowed_redirect_uris",
            "allowedRedirectUris",
            json!(allowed_redirect_uris),
        ),
        field("oidc_scopes", "oidcScopes", json!(oidc_scopes)),
    ];
    fields.extend(login_token(token));
    Wanted {
        field: object.to_owned(),
        what: format!("role {name} of auth method {mount}"),
        path: format!("auth/{mount}/role/{name}"),
        fields,
        ..Wanted::default()
    }
}

fn cert_config(object: &str, mount: &str, settings: &CertAuth) -> Option<Wanted> {
    let CertAuth {
        disable_binding,
        enable_identity_alias_metadata,
        roles: _,
    } = settings;
    let mut fields = Vec::new();
    optional(&mut fields, "disable_binding", "disableBinding", *disable_binding);
    optional(
        &mut fields,
        "enable_identity_alias_metadata",
        "enableIdentityAliasMetadata",
        *enable_identity_alias_metadata,
    );
    (!fields.is_empty()).then(|| Wanted {
        field: object.to_owned(),
        what: format!("settings of auth method {mount}"),
        path: format!("auth/{mount}/config"),
        fields,
        ..Wanted::default()
    })
}

fn cert_role(object: &str, mount: &str, role: &CertRole) -> Wanted {
    let CertRole {
        name,
        certificate,
        allowed_common_names,
        allowed_dns_sans,
        allowed_uri_sans,
        allowed_organizational_units,
        token,
    } = role;
    let mut fields = vec![
        field("certificate", "certificate", certificate.as_str()),
        field(
            "allowed_common_names",
            "allowedCommonNames",
            json!(allowed_common_names),
        ),
        field("allowed_dns_sans", "allowedDnsSans", json!(allowed_dns_sans)),
        field("allowed_uri_sans", "allowedUriSans", json!(allowed_uri_sans)),
        field(
            "allowed_organizational_units",
            "allowedOrganizationalUnits",
            json!(allowed_organizational_units),
        ),
    ];
    fields.extend(login_token(token));
    Wanted {
        field: object.to_owned(),
        what: format!("role {name} of auth method {mount}"),
        path: format!("auth/{mount}/certs/{name}"),
        fields,
        ..Wanted::default()
    }
}

fn userpass_user(object: &str, mount: &str, user: &UserpassUser, secrets: &Secrets) -> Result<Wanted, Error> {
    let UserpassUser {
        name,
        password,
        token,
    } = user;
    Ok(Wanted {
        field: object.to_owned(),
        what: format!("user {name} of auth method {mount}"),
        path: format!("auth/{mount}/users/{name}"),
        fields: login_token(token),
        always: Vec::new(),
        secrets: vec![(
            "password",
            secrets.value(&format!("{object}.password"), password)?,
        )],
        whole: false,
    })
}

fn login_token(token: &LoginToken) -> Vec<Field> {
    let LoginToken {
        policies,
        ttl,
        max_ttl,
    } = token;
    // As Vault keeps them.
    let mut policies: Vec<String> = policies.iter().map(|p| p.trim().to_lowercase()).collect();
    policies.sort();
    policies.dedup();
    let mut fields = vec![field("token_policies", "token.policies", json!(policies))];
    optional(&mut fields, "token_ttl", "token.ttl", seconds(ttl.as_deref()));
    optional(
        &mut fields,
        "token_max_ttl",
        "token.maxTtl",
        seconds(max_ttl.as_deref()),
    );
    fields
}

/// Whole seconds. The API server has checked the form.
pub(crate) fn seconds(text: Option<&str>) -> Option<u64> {
    text.and_then(|text| duration::parse(text).ok())
        .map(|d| d.as_secs())
}

fn optional(
    fields: &mut Vec<Field>,
    vault: &'static str,
    spec: &'static str,
    value: Option<impl Into<Value>>,
) {
    fields.extend(value.map(|value| field(vault, spec, value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(text: &str) -> AuthMethod {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_bound_that_is_not_declared_is_to_be_empty_and_a_ttl_that_is_not_declared_is_left_alone() {
        let method = method(
            "{path: ci, type: jwt, jwt: {jwksUrl: https://ci/keys, roles: [{name: build, roleType: Jwt, userClaim: sub, boundAudiences: [vault], token: {policies: [B, a]}}]}}",
        );
        let all: Vec<Wanted> = below(3, &method, &Secrets::default())
            .into_iter()
            .map(|(_, wanted)| wanted)
            .collect::<Result<_, _>>()
            .unwrap();
        let [config, role] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(config.path, "auth/ci/config");
        assert!(config.whole, "a write of this endpoint resets what it leaves out");
        assert!(
            config
                .fields
                .contains(&field("oidc_discovery_url", "discoveryUrl", ""))
        );
        assert_eq!(role.field, "spec.configuration.authMethods[3].jwt.roles[0]");
        assert!(role.fields.contains(&field("bound_subject", "boundSubject", "")));
        assert!(
            role.fields
                .contains(&field("token_policies", "token.policies", json!(["a", "b"])))
        );
        assert!(
            !role.fields.iter().any(|f| f.vault == "token_ttl"),
            "not declared: {role:?}"
        );
    }

    #[test]
    fn a_token_that_reviews_is_taken_out_of_vault_when_it_is_no_longer_declared() {
        use super::super::object::{Change, Found, body, plan};
        let method = method("{path: other, type: kubernetes, kubernetes: {host: https://other}}");
        let (_, wanted) = below(0, &method, &Secrets::default()).remove(0);
        let wanted = wanted.unwrap();
        let found = |set: Option<bool>| -> Found {
            let mut found: Found = [
                ("kubernetes_host".to_owned(), json!("https://other")),
                ("disable_local_ca_jwt".to_owned(), json!(true)),
            ]
            .into_iter()
            .collect();
            found.extend(set.map(|set| ("token_reviewer_jwt_set".to_owned(), json!(set))));
            found
        };
        for none in [Some(false), None] {
            assert_eq!(plan(&wanted, Some(&found(none)), false), Change::None, "{none:?}");
        }
        let there = found(Some(true));
        let change = plan(&wanted, Some(&there), false);
        assert_eq!(
            change.differences()[0].field,
            "spec.configuration.authMethods[0].kubernetes.tokenReviewer"
        );
        let body = body(&wanted, Some(&there), false);
        assert!(
            !body.contains_key("token_reviewer_jwt"),
            "none, so that Vault forgets it"
        );
    }

    #[test]
    fn a_secret_that_is_missing_is_told_and_keeps_back_only_what_needs_it() {
        let method = method(
            "{path: people, type: userpass, userpass: {users: [{name: ana, password: {name: ana, key: password}}]}}",
        );
        let all = below(0, &method, &Secrets::default());
        let (field, wanted) = all.into_iter().next().unwrap();
        assert_eq!(field, "spec.configuration.authMethods[0].userpass.users[0]");
        let error = wanted.unwrap_err().to_string();
        assert!(
            error.contains("spec.configuration.authMethods[0].userpass.users[0].password"),
            "{error}"
        );
    }
}
