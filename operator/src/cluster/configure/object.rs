//! One object in Vault as it is declared, and how it differs from what is there. Pure.

use serde_json::{Map, Value};

use super::secrets::SecretValue;
use crate::hex::short_hash;

/// The fields of an object as Vault answers them.
pub(crate) type Found = Map<String, Value>;

/// The longest value that is quoted in an event: the text of a policy is not.
const QUOTED: usize = 60;

/// One declared value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// Name in Vault's API.
    pub vault: &'static str,
    /// Name in the spec, below the object's own field.
    pub spec: &'static str,
    /// The value in the form in which Vault answers it: seconds, lower-case names.
    pub value: Value,
}

/// A declared value that Vault answers under the same meaning.
pub(crate) fn field(vault: &'static str, spec: &'static str, value: impl Into<Value>) -> Field {
    Field {
        vault,
        spec,
        value: value.into(),
    }
}

/// One object in Vault as it is declared.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Field of the spec, for example `spec.configuration.policies[0]`.
    pub field: String,
    /// What a person calls it, for example `policy app`.
    pub what: String,
    /// Path that is read and written.
    pub path: String,
    /// What is compared and written.
    pub fields: Vec<Field>,
    /// What is written with every write and not compared.
    pub always: Vec<(&'static str, Value)>,
    /// What Vault never answers: name in Vault's API and value.
    pub secrets: Vec<(&'static str, SecretValue)>,
    /// A write resets what it leaves out: what was found is sent along, and so are the secrets.
    pub whole: bool,
}

impl Wanted {
    /// A short hash of where its secrets go and of which versions of which Secrets they are, for a status: none of an
    /// object without any. Not of the values, which could be guessed from it. `store` tells one initialisation of Vault
    /// from the next.
    pub(crate) fn print_of_secrets(&self, store: &str) -> Option<String> {
        let versions: Vec<(&str, &str)> = self
            .secrets
            .iter()
            .map(|(name, secret)| (*name, secret.version.as_str()))
            .collect();
        let text = serde_json::to_vec(&(&self.path, &versions, store)).unwrap_or_default();
        (!versions.is_empty()).then(|| short_hash(&text, 5))
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Path of the field in the spec.
    pub field: String,
    /// What a person calls the object.
    pub what: String,
    /// What is in Vault, for a person.
    pub found: String,
    /// What is declared, for a person.
    pub wanted: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({}): {} in Vault, {} in the spec",
            self.field, self.what, self.found, self.wanted
        )
    }
}

/// What is to be done about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is as declared.
    None,
    /// It is not there.
    Create(Difference),
    /// These fields differ; none when only its secrets are to be written again.
    Update(Vec<Difference>),
}

impl Change {
    /// What differs.
    pub(crate) fn differences(&self) -> &[Difference] {
        match self {
            Self::None => &[],
            Self::Create(difference) => std::slice::from_ref(difference),
            Self::Update(differences) => differences,
        }
    }
}

/// Compares one object with what is there. `renew_secrets`: these were not written yet, and Vault never answers them.
pub(crate) fn plan(wanted: &Wanted, found: Option<&Found>, renew_secrets: bool) -> Change {
    let Some(found) = found else {
        return Change::Create(missing(&wanted.field, &wanted.what));
    };
    let differences = differences(&wanted.field, &wanted.what, &wanted.fields, found);
    if differences.is_empty() && (wanted.secrets.is_empty() || !renew_secrets) {
        Change::None
    } else {
        Change::Update(differences)
    }
}

/// Says that an object is not there.
pub(crate) fn missing(field: &str, what: &str) -> Difference {
    Difference {
        field: field.to_owned(),
        what: what.to_owned(),
        found: "nothing".to_owned(),
        wanted: "declared".to_owned(),
    }
}

/// The declared fields that are not as declared.
pub(crate) fn differences(object: &str, what: &str, fields: &[Field], found: &Found) -> Vec<Difference> {
    fields
        .iter()
        .filter(|field| !same(&field.value, found.get(field.vault)))
        .map(|field| Difference {
            field: format!("{object}.{}", field.spec),
            what: what.to_owned(),
            found: quoted(found.get(field.vault)),
            wanted: quoted(Some(&field.value)),
        })
        .collect()
}

/// The body of a write.
pub(crate) fn body(wanted: &Wanted, found: Option<&Found>, renew_secrets: bool) -> Map<String, Value> {
    use vaultkeeper_vault::ExposeSecret as _;
    let mut body = Map::new();
    if wanted.whole {
        // An empty value says as much as none, and some are not taken back (`null` for a list).
        let kept = found.into_iter().flatten().filter(|(_, value)| !is_empty(value));
        body.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    }
    body.extend(
        wanted
            .always
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone())),
    );
    body.extend(
        wanted
            .fields
            .iter()
            .map(|field| (field.vault.to_owned(), field.value.clone())),
    );
    if sends_secrets(wanted, found, renew_secrets) {
        let secrets = wanted.secrets.iter();
        body.extend(secrets.map(|(key, secret)| ((*key).to_owned(), secret.value.expose_secret().into())));
    }
    body
}

/// Whether a write holds the secrets.
pub(crate) fn sends_secrets(wanted: &Wanted, found: Option<&Found>, renew_secrets: bool) -> bool {
    found.is_none() || renew_secrets || wanted.whole
}

/// Whether Vault's answer means the same as what is declared. Vault leaves out what is empty, sorts lists, and keeps
/// the white space around a text.
fn same(wanted: &Value, found: Option<&Value>) -> bool {
    match (wanted, found) {
        (wanted, None) => is_empty(wanted),
        (wanted, Some(found)) if is_empty(wanted) && is_empty(found) => true,
        (Value::String(wanted), Some(Value::String(found))) => wanted.trim() == found.trim(),
        (Value::Array(wanted), Some(Value::Array(found))) => sorted(wanted) == sorted(found),
        (Value::Number(wanted), Some(Value::Number(found))) => wanted.as_f64() == found.as_f64(),
        (Value::Object(wanted), Some(Value::Object(found))) => {
            wanted.len() == found.len() && wanted.iter().all(|(key, value)| same(value, found.get(key)))
        }
        (wanted, Some(found)) => wanted == found,
    }
}

fn sorted(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.trim().to_owned(),
        value => value.to_string(),
    };
    let mut texts: Vec<String> = values.iter().map(text).collect();
    texts.sort();
    texts
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.is_empty(),
    }
}

/// A value for a person.
fn quoted(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) if is_empty(value) && !value.is_boolean() && !value.is_number() => "nothing".to_owned(),
        Some(value) => {
            let text = value.to_string();
            if text.len() <= QUOTED {
                text
            } else {
                format!("a text of {} bytes", text.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vaultkeeper_vault::SecretString;

    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            field: "spec.configuration.authMethods[0].userpass.users[0]".to_owned(),
            what: "user ana of auth method userpass".to_owned(),
            path: "auth/userpass/users/ana".to_owned(),
            fields: vec![
                field("token_policies", "token.policies", json!(["b", "a"])),
                field("token_ttl", "token.ttl", 3600),
            ],
            always: Vec::new(),
            secrets: vec![("password", of_version("1"))],
            whole: false,
        }
    }

    fn of_version(version: &str) -> SecretValue {
        SecretValue {
            value: SecretString::from("s3cret"),
            version: version.to_owned(),
        }
    }

    #[test]
    fn secrets_are_told_apart_by_their_versions_and_not_by_what_else_is_declared() {
        let print = |wanted: &Wanted| wanted.print_of_secrets("store").unwrap();
        let first = print(&wanted());
        let mut other = wanted();
        other.fields.clear();
        assert_eq!(print(&other), first, "other policies are no other password");
        other.secrets = vec![("password", of_version("2"))];
        assert_ne!(print(&other), first, "the Secret was changed");
        assert_ne!(
            wanted().print_of_secrets("another").unwrap(),
            first,
            "another Vault"
        );
        other.secrets.clear();
        assert_eq!(other.print_of_secrets("store"), None);
    }

    fn found(value: Value) -> Found {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    #[test]
    fn an_object_that_is_as_declared_is_left_alone_whatever_else_it_holds() {
        let there = found(json!({"token_policies": ["a", "b"], "token_ttl": 3600, "token_period": 7}));
        assert_eq!(plan(&wanted(), Some(&there), false), Change::None);
    }

    #[test]
    fn the_field_that_differs_is_named_with_both_values() {
        let there = found(json!({"token_policies": ["a", "b", "root"], "token_ttl": 3600}));
        let change = plan(&wanted(), Some(&there), false);
        let texts: Vec<String> = change.differences().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "spec.configuration.authMethods[0].userpass.users[0].token.policies (user ana of auth method userpass): [\"a\",\"b\",\"root\"] in Vault, [\"b\",\"a\"] in the spec"
            ]
        );
    }

    #[test]
    fn secrets_are_written_when_the_object_is_new_or_they_have_changed_and_not_with_other_corrections() {
        let there = found(json!({"token_policies": [], "token_ttl": 3600}));
        assert!(
            body(&wanted(), None, false).contains_key("password"),
            "a new user"
        );
        assert!(
            body(&wanted(), Some(&there), true).contains_key("password"),
            "another Secret"
        );
        let correction = body(&wanted(), Some(&there), false);
        assert!(
            !correction.contains_key("password"),
            "a correction of the policies must not take back a password that the user chose"
        );
        let same = found(json!({"token_policies": ["a", "b"], "token_ttl": 3600}));
        assert_eq!(plan(&wanted(), Some(&same), true), Change::Update(Vec::new()));
    }

    #[test]
    fn what_a_write_would_reset_is_sent_along() {
        let mut whole = wanted();
        whole.whole = true;
        let there = found(json!({"default_role": "kept", "token_ttl": 1, "list": null}));
        let body = body(&whole, Some(&there), false);
        assert_eq!(
            body.get("default_role"),
            Some(&json!("kept")),
            "set by somebody else"
        );
        assert_eq!(body.get("token_ttl"), Some(&json!(3600)), "declared");
        assert!(!body.contains_key("list"), "an empty value is not sent");
        assert!(body.contains_key("password"), "or the secret would be lost");
    }

    #[test]
    fn what_vault_leaves_out_or_rewrites_is_no_difference() {
        for (declared, answered) in [
            (json!(""), None),
            (json!([]), Some(json!(null))),
            (json!(false), None),
            (json!("a\n"), Some(json!("a"))),
            (json!(["b\n", "a"]), Some(json!(["a", "b"]))),
            (json!({"k": ["1", "2"]}), Some(json!({"k": ["2", "1"]}))),
        ] {
            assert!(same(&declared, answered.as_ref()), "{declared} and {answered:?}");
        }
        for (declared, answered) in [
            (json!("a"), None),
            (json!(["a"]), Some(json!(["a", "b"]))),
            (json!(["a", "a"]), Some(json!(["a", "b"]))),
            (json!(3600), Some(json!(7200))),
            (json!({"k": "1"}), Some(json!({"k": "1", "l": "2"}))),
            (json!(true), Some(json!(false))),
        ] {
            assert!(!same(&declared, answered.as_ref()), "{declared} and {answered:?}");
        }
    }

    #[test]
    fn debug_and_messages_hold_no_secret() {
        let wanted = wanted();
        assert!(!format!("{wanted:?}").contains("s3cret"), "{wanted:?}");
    }
}
