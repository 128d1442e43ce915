//! Policies as they are declared. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vaultkeeper_crds::cluster::configuration::{AclPolicy, Configuration, PasswordPolicy, Persona};

use super::object::{Wanted, field};
use crate::cluster::error::Error;

/// Begin of what stands for the accessor of an auth method. Vault's own templates are written with `{{`, and no path
/// in Vault holds `<`.
const ACCESSOR: &str = "<accessor:";

/// The text of a ready policy.
pub(crate) fn persona(persona: Persona) -> &'static str {
    match persona {
        Persona::Operator => include_str!("personas/operator.hcl"),
        Persona::Responder => include_str!("personas/responder.hcl"),
        Persona::Auditor => include_str!("personas/auditor.hcl"),
        Persona::Application => include_str!("personas/application.hcl"),
    }
}

/// One ACL policy, its accessors filled in.
pub(crate) fn acl(
    index: usize,
    policy: &AclPolicy,
    accessors: &BTreeMap<String, String>,
) -> Result<Wanted, Error> {
    let AclPolicy {
        name,
        hcl,
        persona: ready,
    } = policy;
    let object = format!("spec.configuration.policies[{index}]");
    let (part, text) = match (hcl, ready) {
        (Some(text), _) => ("hcl", text.as_str()),
        (None, Some(ready)) => ("persona", persona(*ready)),
        (None, None) => ("hcl", ""),
    };
    let text = with_accessors(&plain(text), accessors).map_err(|path| Error::UnknownAccessor {
        field: format!("{object}.{part}"),
        path,
    })?;
    Ok(Wanted {
        what: format!("policy {name}"),
        path: format!("sys/policies/acl/{name}"),
        fields: vec![field("policy", part, text)],
        field: object,
        ..Wanted::default()
    })
}

/// The text of each declared policy by its name; none where an accessor in it is not there.
pub(crate) fn declared(
    configuration: &Configuration,
    accessors: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let policies = configuration.policies.iter().enumerate();
    let text = |(n, policy): (usize, &AclPolicy)| {
        let fields = acl(n, policy, accessors).map(|wanted| wanted.fields);
        let text = fields.ok().and_then(|fields| {
            let text = fields.first()?.value.as_str()?;
            Some(text.to_owned())
        });
        (policy.name.clone(), text)
    };
    policies.map(text).collect()
}

/// One password policy.
pub(crate) fn password(index: usize, policy: &PasswordPolicy) -> Wanted {
    let PasswordPolicy { name, hcl } = policy;
    Wanted {
        field: format!("spec.configuration.passwordPolicies[{index}]"),
        what: format!("password policy {name}"),
        path: format!("sys/policies/password/{name}"),
        fields: vec![field("policy", "hcl", plain(hcl).as_ref())],
        ..Wanted::default()
    }
}

/// The text of a policy that was given in base64, which Vault takes as well and answers as the text.
fn plain(text: &str) -> Cow<'_, str> {
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let decoded = STANDARD.decode(joined).ok();
    match decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Borrowed(text),
    }
}

/// Puts accessors in. The error is the path of an auth method that is not there.
fn with_accessors(text: &str, accessors: &BTreeMap<String, String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(ACCESSOR) {
        let (path, after) = after
            .split_once('>')
            .ok_or_else(|| after.chars().take(40).collect::<String>())?;
        let accessor = accessors
            .get(path.trim_matches('/'))
            .ok_or_else(|| path.to_owned())?;
        filled.push_str(before);
        filled.push_str(accessor);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accessors() -> BTreeMap<String, String> {
        BTreeMap::from([("kubernetes".to_owned(), "auth_kubernetes_1".to_owned())])
    }

    #[test]
    fn an_accessor_is_put_in_and_vaults_own_templates_are_left() {
        let text = with_accessors(
            "{{identity.entity.aliases.<accessor:kubernetes>.name}} {{identity.entity.name}}",
            &accessors(),
        );
        assert_eq!(
            text.unwrap(),
            "{{identity.entity.aliases.auth_kubernetes_1.name}} {{identity.entity.name}}"
        );
    }

    #[test]
    fn a_policy_in_base64_is_compared_as_the_text_that_vault_makes_of_it() {
        let text = "path \"a\" {}\n";
        let encoded = STANDARD.encode(text);
        let (first, second) = encoded.split_at(8);
        for given in [text, &encoded, &format!("{first}\n{second}\n")] {
            assert_eq!(plain(given), text, "{given:?}");
        }
    }

    #[test]
    fn an_auth_method_that_is_not_there_is_named() {
        assert_eq!(
            with_accessors("a <accessor:oidc> b", &accessors()),
            Err("oidc".to_owned())
        );
        assert!(
            with_accessors("a <accessor:oidc", &accessors()).is_err(),
            "not closed"
        );
    }

    #[test]
    fn no_ready_policy_can_write_policies_or_auth_methods_or_make_root_tokens() {
        for ready in [
            Persona::Operator,
            Persona::Responder,
            Persona::Auditor,
            Persona::Application,
        ] {
            let text = persona(ready);
            for line in text.lines().filter(|l| l.contains("capabilities")) {
                let writes = ["create", "update", "delete", "patch"]
                    .iter()
                    .any(|c| line.contains(c));
                for path in [
                    "sys/policies",
                    "sys/auth",
                    "sys/generate-root",
                    "auth/token/create",
                    "sys/raw",
                    "sys/mounts",
                ] {
                    assert!(!(writes && line.contains(path)), "{ready:?}: {line}");
                }
                assert!(!line.contains("path \"*\""), "{ready:?}: {line}");
            }
        }
    }
}
