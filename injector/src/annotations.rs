//! A pod's annotations become typed requests, or a denial that names the annotation, or warnings.

pub mod nearest;
pub mod table;
pub mod values;

use std::collections::BTreeMap;

use vaultkeeper_crds::annotations::{COMPATIBLE_PREFIX, PREFIX};
use vaultkeeper_template::defaults;

use crate::denial::Denial;
use table::{Effect, Row};

/// What a pod asks for by its annotations.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own that a person sets"
)]
pub struct Annotations {
    /// Whether to inject at all.
    pub inject: bool,
    /// `injected` once the pod went through an injector.
    pub status: Option<String>,
    /// The role to log in with.
    pub role: Option<Given>,
    /// The address of Vault.
    pub service: Option<Given>,
    /// The namespace in Vault (Enterprise, OpenBao).
    pub namespace: Option<String>,
    /// The path of the auth method.
    pub auth_path: Option<String>,
    /// The path, in the agent's container, of the CA that signed Vault's certificate.
    pub ca_cert: Option<Given>,
    /// A folder, in the agent's container, of such CAs.
    pub ca_path: Option<Given>,
    /// The path, in the agent's container, of its own certificate.
    pub client_cert: Option<Given>,
    /// The path, in the agent's container, of the key of that.
    pub client_key: Option<Given>,
    /// The name that Vault's certificate must hold.
    pub tls_server_name: Option<String>,
    /// A Secret that is mounted into the agent's container at `/vault/tls`.
    pub tls_secret: Option<String>,
    /// A Secret that is mounted into the agent's container at `/vault/custom`.
    pub extra_secret: Option<String>,
    /// The shortest wait between two logins.
    pub min_backoff: Option<String>,
    /// The longest wait between two logins.
    pub max_backoff: Option<String>,
    /// Whether the token is written to the volume.
    pub inject_token: bool,
    /// The containers that get the secrets; `None` means all.
    pub containers: Option<Given<Vec<String>>>,
    /// Whether the agent starts before the pod's own init containers.
    pub init_first: bool,
    /// Where the secrets appear.
    pub volume_path: Option<String>,
    /// The template for secrets without one.
    pub default_template: Option<defaults::Default>,
    /// How often secrets without a lease are read again.
    pub render_interval: Option<String>,
    /// The part of a lease after which a secret that cannot be renewed is read again.
    pub renewal_threshold: Option<serde_json::Number>,
    /// How much the agent logs.
    pub log_level: Option<String>,
    /// How the agent logs.
    pub log_format: Option<String>,
    /// Whether files keep the case of their NAME.
    pub preserve_case: bool,
    /// The user of the agent's container.
    pub run_as_user: Option<i64>,
    /// The group of the agent's container.
    pub run_as_group: Option<i64>,
    /// Whether the agent runs as the first container's user.
    pub run_as_same_user: Option<Given<bool>>,
    /// Resources of the agent's container.
    pub resources: Resources,
    /// The secrets by NAME as written in the keys.
    pub secrets: BTreeMap<String, Secret>,
}

/// A value, and the full key of the annotation that gave it, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T = String> {
    /// The annotation's full key.
    pub key: String,
    /// The value.
    pub value: T,
}

/// Resources that annotations set. What is not annotated is not here; `None` means: leave the field out.
#[derive(Debug, Default, Clone)]
pub struct Resources {
    /// Requests by resource.
    pub requests: BTreeMap<&'static str, Given<Option<String>>>,
    /// Limits by resource.
    pub limits: BTreeMap<&'static str, Given<Option<String>>>,
}

/// What annotations say of one NAME.
#[derive(Debug, Default)]
pub struct Secret {
    /// Path in Vault, for the default template.
    pub path: Option<String>,
    /// The template.
    pub template: Option<Given>,
    /// The template's file in the agent's container.
    pub template_file: Option<Given>,
    /// The folder of its file, if it is not the common one.
    pub volume_path: Option<String>,
    /// The file, relative to the volume.
    pub file: Option<String>,
    /// The mode of the file, in octal.
    pub perms: Option<String>,
    /// Whether a missing key is an error instead of `<no value>`.
    pub error_on_missing_key: bool,
    /// Opens an action in the template.
    pub left_delimiter: Option<String>,
    /// Closes an action in the template.
    pub right_delimiter: Option<String>,
    /// Whether the file keeps the case of NAME.
    pub preserve_case: Option<bool>,
    /// The full key of one annotation that mentions NAME.
    pub mentioned_by: String,
}

impl Secret {
    /// Whether there is something to render; the other annotations of a NAME only say how.
    pub fn is_requested(&self) -> bool {
        self.path.is_some() || self.template.is_some() || self.template_file.is_some()
    }
}

/// One annotation while it is read.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The full key.
    pub key: &'a str,
    /// The NAME at the key's end, empty for keys without one.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
}

impl Entry<'_> {
    /// The value as text that is not blank, with the key.
    pub fn given(&self) -> Result<Given, String> {
        Ok(Given {
            key: self.key.to_owned(),
            value: values::text(self.value)?,
        })
    }
}

/// Whether a key has one of the two prefixes that mean us.
pub fn is_ours(key: &str) -> bool {
    unprefixed(key).is_some()
}

fn unprefixed(key: &str) -> Option<&str> {
    key.strip_prefix(COMPATIBLE_PREFIX)
        .or_else(|| key.strip_prefix(PREFIX))
}

/// Whether the pod is to be injected. Read first, so that nothing else of a pod that is not can deny it.
///
/// # Errors
/// `agent-inject` is no bool.
pub fn wants_injection(all: &BTreeMap<String, String>) -> Result<bool, Denial> {
    let mut wanted = false;
    for prefix in [COMPATIBLE_PREFIX, PREFIX] {
        let key = format!("{prefix}{}", table::INJECT);
        if let Some(value) = all.get(&key) {
            wanted |= values::boolean(value).map_err(|problem| Denial::annotation(&key, problem))?;
        }
    }
    Ok(wanted)
}

/// The key of the annotation that marks the pod as done, if one does.
pub fn injected_by(all: &BTreeMap<String, String>) -> Option<String> {
    [COMPATIBLE_PREFIX, PREFIX]
        .iter()
        .map(|prefix| format!("{prefix}{}", table::STATUS))
        .find(|key| all.get(key).is_some_and(|status| status == INJECTED))
}

/// The status of a pod that went through an injector.
pub const INJECTED: &str = "injected";

/// Reads all annotations of a pod that is to be injected. Those of others are left alone.
///
/// # Errors
/// A value that cannot be parsed, an annotation whose effect the app needs and that is not there yet, and one that is
/// given differently under both prefixes.
pub fn parse(all: &BTreeMap<String, String>) -> Result<(Annotations, Vec<String>), Denial> {
    let mut parsed = Annotations::default();
    let mut warnings = Vec::new();
    for (key, value) in all {
        let Some(short) = unprefixed(key) else { continue };
        if key.starts_with(PREFIX) {
            let other = format!("{COMPATIBLE_PREFIX}{short}");
            match all.get(&other) {
                Some(theirs) if theirs == value => continue,
                Some(_) => {
                    let problem = format!("{other} has another value: set only one of the two");
                    return Err(Denial::annotation(key, problem));
                }
                None => {}
            }
        }
        let Some((row, name)) = table::find(short) else {
            warnings.push(unknown(key, short));
            continue;
        };
        let entry = Entry { key, name, value };
        match row.effect {
            Effect::Read(read) => {
                read(&mut parsed, &entry).map_err(|problem| Denial::annotation(key, problem))?;
            }
            Effect::NotYet => warnings.push(format!("{key} has no effect yet")),
            Effect::Pointless(why) => warnings.push(format!("{key} has no effect: {why}")),
            Effect::Refused(why) => return Err(Denial::annotation(key, why)),
            Effect::Elsewhere => {}
        }
    }
    let requested: Vec<&str> = parsed
        .secrets
        .iter()
        .filter(|(_, secret)| secret.is_requested())
        .map(|(name, _)| name.as_str())
        .collect();
    for (name, secret) in &parsed.secrets {
        if !secret.is_requested() {
            warnings.push(orphan(&secret.mentioned_by, name, &requested));
        }
    }
    Ok((parsed, warnings))
}

/// Warnings for a pod with keys of ours that does not ask for injection: they have no effect, and one may be misspelt.
pub fn without_injection(all: &BTreeMap<String, String>) -> Vec<String> {
    let asks_not = [COMPATIBLE_PREFIX, PREFIX]
        .iter()
        .any(|prefix| all.contains_key(&format!("{prefix}{}", table::INJECT)));
    let mut warnings = Vec::new();
    let mut idle = None;
    for key in all.keys() {
        let Some(short) = unprefixed(key) else { continue };
        match table::find(short) {
            None => warnings.push(unknown(key, short)),
            Some((
                Row {
                    effect: Effect::Elsewhere,
                    ..
                },
                _,
            )) => {}
            Some(_) => idle = Some(key),
        }
    }
    // Somebody who wrote agent-inject: "false" knows.
    if let (false, Some(key)) = (asks_not, idle) {
        warnings.push(format!(
            "{key} has no effect without {COMPATIBLE_PREFIX}{}: \"true\"",
            table::INJECT
        ));
    }
    warnings
}

fn unknown(key: &str, short: &str) -> String {
    let prefix = &key[..key.len() - short.len()];
    match table::nearest(short) {
        Some(known) => format!("{key} is not known and has no effect: did you mean {prefix}{known}?"),
        None => format!("{key} is not known and has no effect"),
    }
}

fn orphan(key: &str, name: &str, requested: &[&str]) -> String {
    let remedy = match nearest::nearest(name, requested.iter().copied()) {
        Some(other) => format!("did you mean {other:?}?"),
        None => format!("add {COMPATIBLE_PREFIX}{}{name}", table::SECRET),
    };
    format!("{key} has no effect: no secret or template is named {name:?}; {remedy}")
}

#[cfg(test)]
mod tests;
