//! Secrets engines and auth methods as they are declared, and as Vault lists them. Pure.

use serde_json::{Map, Value, json};
use vaultkeeper_crds::cluster::configuration::{
    AuthMethod, AuthTune, ListingVisibility, MountTune, SecretsEngine,
};

use super::auth::seconds;
use super::object::{Difference, Field, Found, differences, field, missing};
use crate::cluster::error::Error;

/// One mount as it is declared.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Field of the spec.
    pub field: String,
    /// `sys/mounts` or `sys/auth`.
    pub family: &'static str,
    /// Path without slashes at its ends.
    pub path: String,
    /// Type.
    pub kind: String,
    /// What is compared. `description` and `options` lie beside the others in a request that mounts.
    pub fields: Vec<Field>,
}

/// What is to be done about a mount.
#[derive(Debug, PartialEq)]
pub(crate) enum MountChange {
    /// It is as declared.
    None,
    /// Mount it: the body for `PUT <family>/<path>`.
    Mount(Map<String, Value>),
    /// Tune it: the body for `PUT <family>/<path>/tune`.
    Tune(Map<String, Value>, Vec<Difference>),
}

/// One secrets engine.
pub(crate) fn engine(index: usize, engine: &SecretsEngine) -> Mount {
    let SecretsEngine {
        path,
        type_,
        description,
        options,
        tune,
    } = engine;
    let MountTune {
        default_lease_ttl,
        max_lease_ttl,
        listing_visibility,
        audit_non_hmac_request_keys,
        audit_non_hmac_response_keys,
        passthrough_request_headers,
        allowed_response_headers,
    } = tune;
    let mut fields = common(
        description,
        default_lease_ttl.as_deref(),
        max_lease_ttl.as_deref(),
    );
    if !options.is_empty() {
        fields.push(field("options", "options", json!(options)));
    }
    fields.extend(shown(*listing_visibility));
    fields.extend(list(
        "audit_non_hmac_request_keys",
        "tune.auditNonHmacRequestKeys",
        audit_non_hmac_request_keys.as_ref(),
    ));
    fields.extend(list(
        "audit_non_hmac_response_keys",
        "tune.auditNonHmacResponseKeys",
        audit_non_hmac_response_keys.as_ref(),
    ));
    fields.extend(list(
        "passthrough_request_headers",
        "tune.passthroughRequestHeaders",
        passthrough_request_headers.as_ref(),
    ));
    fields.extend(list(
        "allowed_response_headers",
        "tune.allowedResponseHeaders",
        allowed_response_headers.as_ref(),
    ));
    Mount {
        field: format!("spec.configuration.secretsEngines[{index}]"),
        family: "sys/mounts",
        path: path.clone(),
        kind: type_.clone(),
        fields,
    }
}

/// One auth method.
pub(crate) fn method(index: usize, method: &AuthMethod) -> Mount {
    let AuthMethod {
        path,
        type_,
        description,
        tune,
        kubernetes: _,
        jwt: _,
        cert: _,
        userpass: _,
    } = method;
    let AuthTune {
        default_lease_ttl,
        max_lease_ttl,
        listing_visibility,
        token_type,
        audit_non_hmac_request_keys,
        audit_non_hmac_response_keys,
    } = tune;
    let mut fields = common(
        description,
        default_lease_ttl.as_deref(),
        max_lease_ttl.as_deref(),
    );
    fields.extend(shown(*listing_visibility));
    if let Some(kind) = token_type {
        fields.push(field("token_type", "tune.tokenType", kind.as_str()));
    }
    fields.extend(list(
        "audit_non_hmac_request_keys",
        "tune.auditNonHmacRequestKeys",
        audit_non_hmac_request_keys.as_ref(),
    ));
    fields.extend(list(
        "audit_non_hmac_response_keys",
        "tune.auditNonHmacResponseKeys",
        audit_non_hmac_response_keys.as_ref(),
    ));
    Mount {
        field: format!("spec.configuration.authMethods[{index}]"),
        family: "sys/auth",
        path: path.clone(),
        kind: type_.clone(),
        fields,
    }
}

fn shown(visibility: Option<ListingVisibility>) -> Option<Field> {
    visibility.map(|to| field("listing_visibility", "tune.listingVisibility", to.as_str()))
}

fn list(vault: &'static str, spec: &'static str, names: Option<&Vec<String>>) -> Option<Field> {
    names.map(|names| field(vault, spec, json!(names)))
}

fn common(description: &str, default_ttl: Option<&str>, max_ttl: Option<&str>) -> Vec<Field> {
    let mut fields = Vec::new();
    if !description.is_empty() {
        fields.push(field("description", "description", description));
    }
    let ttls = [
        ("default_lease_ttl", "tune.defaultLeaseTtl", default_ttl),
        ("max_lease_ttl", "tune.maxLeaseTtl", max_ttl),
    ];
    let ttls = ttls
        .into_iter()
        .filter_map(|(vault, spec, text)| Some(field(vault, spec, seconds(text)?)));
    fields.extend(ttls);
    fields
}

/// Compares a mount with the list of `sys/mounts` or `sys/auth`. Another type at its path is an error: to mount anew
/// would destroy what is there.
pub(crate) fn plan(mount: &Mount, listed: &Found) -> Result<MountChange, Error> {
    let Mount {
        field: object,
        family: _,
        path,
        kind,
        fields,
    } = mount;
    let entry = listed
        .get(&format!("{path}/"))
        .or_else(|| listed.get(path))
        .and_then(Value::as_object);
    let Some(entry) = entry else {
        return Ok(MountChange::Mount(mount_body(kind, fields)));
    };
    let found = entry.get("type").and_then(Value::as_str).unwrap_or_default();
    if found != kind {
        return Err(Error::MountDiffers {
            field: object.clone(),
            path: path.clone(),
            found: found.to_owned(),
            wanted: kind.clone(),
        });
    }
    let differing = differences(object, &what(mount), fields, &flattened(entry, fields));
    if differing.is_empty() {
        return Ok(MountChange::None);
    }
    let is_differing = |field: &&Field| {
        differing
            .iter()
            .any(|d| d.field == format!("{object}.{}", field.spec))
    };
    let body = fields.iter().filter(is_differing).map(written).collect();
    Ok(MountChange::Tune(body, differing))
}

/// What a person calls a mount.
pub(crate) fn what(mount: &Mount) -> String {
    let kind = if mount.family == "sys/auth" {
        "auth method"
    } else {
        "secrets engine"
    };
    format!("{kind} {}", mount.path)
}

/// Says that a mount is not there.
pub(crate) fn absent(mount: &Mount) -> Difference {
    missing(&mount.field, &what(mount))
}

/// The description, the declared options and the tuning in one: options that the spec does not name are left alone.
fn flattened(entry: &Found, fields: &[Field]) -> Found {
    let mut all = entry
        .get("config")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    all.extend(
        entry
            .get("description")
            .map(|text| ("description".to_owned(), text.clone())),
    );
    let declared = fields
        .iter()
        .find(|f| f.vault == "options")
        .and_then(|f| f.value.as_object());
    if let (Some(declared), Some(options)) = (declared, entry.get("options").and_then(Value::as_object)) {
        let named = options.iter().filter(|(key, _)| declared.contains_key(*key));
        let named: Map<String, Value> = named.map(|(key, value)| (key.clone(), value.clone())).collect();
        all.insert("options".to_owned(), Value::Object(named));
    }
    all
}

fn mount_body(kind: &str, fields: &[Field]) -> Map<String, Value> {
    let (beside, config): (Vec<&Field>, Vec<&Field>) = fields
        .iter()
        .partition(|f| matches!(f.vault, "description" | "options"));
    let mut body: Map<String, Value> = beside.into_iter().map(written).collect();
    body.insert("type".to_owned(), kind.into());
    let config: Map<String, Value> = config.into_iter().map(written).collect();
    body.insert("config".to_owned(), Value::Object(config));
    body
}

/// Both calls take durations only as text with a unit.
fn written(field: &Field) -> (String, Value) {
    let value = match (&field.value, field.vault.ends_with("_ttl")) {
        (Value::Number(seconds), true) => Value::String(format!("{seconds}s")),
        (value, _) => value.clone(),
    };
    (field.vault.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Mount {
        engine(0, &serde_yaml::from_str(text).unwrap())
    }

    fn listed(value: Value) -> Found {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    const KV: &str =
        "{path: secret, type: kv, description: apps, options: {version: '2'}, tune: {maxLeaseTtl: 1h}}";

    #[test]
    fn a_mount_that_is_absent_is_mounted_with_all_that_is_declared() {
        let change = plan(&declared(KV), &Map::new()).unwrap();
        let MountChange::Mount(body) = change else {
            panic!("{change:?}")
        };
        assert_eq!(
            Value::Object(body),
            json!({"type": "kv", "description": "apps", "options": {"version": "2"}, "config": {"max_lease_ttl": "3600s"}})
        );
    }

    #[test]
    fn only_what_differs_is_tuned_and_what_is_not_declared_is_left() {
        let there = |ttl: u64| {
            listed(json!({"secret/": {"type": "kv", "description": "apps",
                "options": {"version": "2", "other": "x"},
                "config": {"max_lease_ttl": ttl, "default_lease_ttl": 5, "listing_visibility": "unauth"}}}))
        };
        assert_eq!(plan(&declared(KV), &there(3600)).unwrap(), MountChange::None);
        let MountChange::Tune(body, differing) = plan(&declared(KV), &there(7200)).unwrap() else {
            panic!("a difference of max_lease_ttl must be tuned")
        };
        assert_eq!(Value::Object(body), json!({"max_lease_ttl": "3600s"}));
        assert_eq!(
            differing[0].field,
            "spec.configuration.secretsEngines[0].tune.maxLeaseTtl"
        );
        assert_eq!(
            (differing[0].found.as_str(), differing[0].wanted.as_str()),
            ("7200", "3600")
        );
    }

    #[test]
    fn a_mount_without_settings_is_only_there_or_not() {
        let bare = declared("{path: secret, type: kv}");
        let there =
            listed(json!({"secret/": {"type": "kv", "description": "by hand", "options": {"version": "1"}}}));
        assert_eq!(
            plan(&bare, &there).unwrap(),
            MountChange::None,
            "as before these fields existed"
        );
    }

    #[test]
    fn a_mount_of_another_type_is_never_replaced() {
        let there = listed(json!({"secret/": {"type": "pki"}}));
        assert!(matches!(
            plan(&declared(KV), &there),
            Err(Error::MountDiffers { .. })
        ));
    }
}
