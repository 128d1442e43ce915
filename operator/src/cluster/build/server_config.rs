//! Merges `spec.serverConfig` into the server's configuration. Pure.
//!
//! What the operator writes stays as it is: a setting that is there already, or that would take the ground from under
//! the operator, is refused by its full name.

use serde_json::{Map, Value};

use super::hcl::quote;

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.serverConfig.{key} {problem}")]
pub struct Refused {
    /// Full name of the setting, for example `listener.tcp.tls_min_version`.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: &'static str,
}

const WRITTEN: &str = "is written by the operator: remove it";
const METRICS: &str =
    "is written by the operator for spec.monitoring: remove it, or set spec.monitoring.enabled to false";
const REPEATED: &str = "stands for several blocks that the operator writes: they cannot be extended";
const EMPTY: &str = "is or holds null: give it a value or remove it";
const NOT_A_BLOCK: &str = "is a block of settings: give it an object";
const NOT_A_NAME: &str = "is not the name of a setting: use letters, digits and _";

/// Blocks that carry a label, as in `listener "tcp" {`.
const LABELLED: [&str; 5] = ["listener", "storage", "user_lockout", "kms_library", "entropy"];

/// Settings that are not the user's though they may be missing in the text.
const RESERVED: [(&str, &str); 16] = [
    ("api_addr", "comes from the environment of each member: remove it"),
    (
        "cluster_addr",
        "comes from the environment of each member: remove it",
    ),
    (
        "audit",
        "is the task of spec.configuration: declare the device there",
    ),
    ("backend", "is the task of spec.storage: remove it"),
    (
        "disable_clustering",
        "would part the members from each other: remove it",
    ),
    ("disable_standby_reads", "is set by spec.standbyReads: use that"),
    ("ha_backend", "is the task of spec.storage: remove it"),
    ("ha_storage", "is the task of spec.storage: remove it"),
    ("seal", "is the task of spec.seal: remove it"),
    (
        "service_registration",
        "is not needed: the Services follow what the members say",
    ),
    ("listener.tcp.tls_client_ca_file", CLIENTS),
    (
        "listener.tcp.tls_disable",
        "would send tokens and shares in the clear: remove it",
    ),
    ("listener.tcp.tls_require_and_verify_client_cert", CLIENTS),
    (
        "storage.raft.node_id",
        "comes from the environment of each member: remove it",
    ),
    (
        "storage.raft.retry_join_as_non_voter",
        "would leave the cluster without voters: remove it",
    ),
    (
        "storage.raft.autopilot_reconcile_interval",
        "is not supported: the operator relies on its default",
    ),
];
const CLIENTS: &str = "would lock out the probes and the operator: remove it";

/// The text with the settings in it.
pub(crate) fn merge(text: &str, settings: &Map<String, Value>) -> Result<String, Refused> {
    if settings.is_empty() {
        return Ok(text.to_owned());
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let whole = Scope {
        path: String::new(),
        end: None,
    };
    whole.merge(&mut lines, settings)?;
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// A block of the text, or all of it.
struct Scope {
    /// Full name with a dot at its end; empty for the whole text.
    path: String,
    /// Line that opens the block.
    end: Option<usize>,
}

/// What the text holds under a name.
enum Found {
    Nothing,
    Setting,
    /// Lines that open a block of this name, with its label.
    Blocks(Vec<(usize, Option<String>)>),
}

impl Scope {
    fn merge(&self, lines: &mut Vec<String>, settings: &Map<String, Value>) -> Result<(), Refused> {
        for (key, value) in settings {
            let name = format!("{}{key}", self.path);
            let refused = |problem| Refused {
                key: name.clone(),
                problem,
            };
            if let Some((_, problem)) = RESERVED
                .iter()
                .find(|(reserved, _)| name.eq_ignore_ascii_case(reserved))
            {
                return Err(refused(problem));
            }
            if self.end.is_none() && !is_identifier(key) {
                return Err(refused(NOT_A_NAME));
            }
            if holds_null(value) {
                return Err(refused(EMPTY));
            }
            match (find(lines, self.end, key), value) {
                (Found::Setting, _) if self.path.eq_ignore_ascii_case("telemetry.") => {
                    return Err(refused(METRICS));
                }
                (Found::Setting, _) => return Err(refused(WRITTEN)),
                (Found::Nothing, Value::Object(labels))
                    if self.end.is_none() && LABELLED.iter().any(|l| l.eq_ignore_ascii_case(key)) =>
                {
                    labelled(lines, key, labels, &[])?;
                }
                (Found::Nothing, value) => self.insert(lines, &render(key, value, self.depth(lines))),
                (Found::Blocks(blocks), Value::Object(inner)) => match blocks.as_slice() {
                    [(line, None)] => Self::inside(lines, *line, format!("{name}.")).merge(lines, inner)?,
                    [(_, None), ..] => return Err(refused(REPEATED)),
                    labels => labelled(lines, key, inner, labels)?,
                },
                (Found::Blocks(_), _) => return Err(refused(NOT_A_BLOCK)),
            }
        }
        Ok(())
    }

    /// The block that a line opens; one without content is given a line of its own to end.
    fn inside(lines: &mut Vec<String>, line: usize, path: String) -> Self {
        if let Some(open) = lines[line].strip_suffix("{}").map(|head| format!("{head}{{")) {
            lines[line] = open;
            lines.insert(line + 1, format!("{}}}", indent(lines, line)));
        }
        Self {
            path,
            end: Some(line),
        }
    }

    fn depth(&self, lines: &[String]) -> usize {
        self.end.map_or(0, |line| indent(lines, line).len() / 2 + 1)
    }

    /// Puts lines at the end of the block.
    fn insert(&self, lines: &mut Vec<String>, new: &[String]) {
        let at = self.end.map_or(lines.len(), |line| closing(lines, line));
        lines.splice(at..at, new.iter().cloned());
    }
}

/// Extends the block of each label, or adds it.
fn labelled(
    lines: &mut Vec<String>,
    kind: &str,
    labels: &Map<String, Value>,
    found: &[(usize, Option<String>)],
) -> Result<(), Refused> {
    for (label, body) in labels {
        let name = format!("{kind}.{label}");
        let refused = |problem| Refused {
            key: name.clone(),
            problem,
        };
        let Value::Object(body) = body else {
            return Err(refused(NOT_A_BLOCK));
        };
        let same = |l: &Option<String>| l.as_deref().is_some_and(|l| l.eq_ignore_ascii_case(label));
        let known = found.iter().any(|(_, l)| same(l));
        if kind.eq_ignore_ascii_case("storage") && !known {
            return Err(refused("is the task of spec.storage: remove it"));
        }
        if !known {
            lines.extend([
                String::new(),
                format!("{kind} {} {{", quote(label)),
                "}".to_owned(),
            ]);
        }
        // Looked up anew: what was merged before has moved the lines.
        let those: Vec<usize> = match find(lines, None, kind) {
            Found::Blocks(blocks) => blocks
                .into_iter()
                .filter_map(|(at, l)| same(&l).then_some(at))
                .collect(),
            Found::Nothing | Found::Setting => Vec::new(),
        };
        let Some((first, others)) = those.split_first() else {
            continue;
        };
        // The last one first, so that the lines of the others stay where they are.
        let of_all = of_every_listener(body);
        for line in others.iter().rev() {
            Scope::inside(lines, *line, format!("{name}.")).merge(lines, &of_all)?;
        }
        Scope::inside(lines, *first, format!("{name}.")).merge(lines, body)?;
    }
    Ok(())
}

/// What a user sets of the listener holds for the one that clients use. Which TLS is spoken holds for that of the metrics as
/// well: nobody who forbids a cipher leaves it open at another port.
fn of_every_listener(body: &Map<String, Value>) -> Map<String, Value> {
    let is_tls = |key: &str| key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("tls_"));
    body.iter()
        .filter(|(key, _)| is_tls(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(inner) => inner.values().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What stands directly in a block (or in the whole text) under a name. The parser of the server does not tell
/// upper case from lower case.
fn find(lines: &[String], block: Option<usize>, key: &str) -> Found {
    let range = block.map_or(0..lines.len(), |line| line + 1..closing(lines, line));
    let mut depth = 0_usize;
    let mut blocks = Vec::new();
    for at in range {
        let line = lines[at].trim();
        if line == "}" {
            depth = depth.saturating_sub(1);
            continue;
        }
        let (word, rest) = line.split_at(line.find(|c| !is_part(c)).unwrap_or(line.len()));
        if depth == 0 && word.eq_ignore_ascii_case(key) {
            if rest.trim_start().starts_with('=') {
                return Found::Setting;
            }
            let label = rest.split('"').nth(1).map(str::to_owned);
            blocks.push((at, label));
        }
        if line.ends_with('{') {
            depth += 1;
        }
    }
    if blocks.is_empty() {
        Found::Nothing
    } else {
        Found::Blocks(blocks)
    }
}

/// Line that closes the block which a line opens.
fn closing(lines: &[String], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, line) in lines.iter().enumerate().skip(open) {
        let line = line.trim();
        if line.ends_with('{') {
            depth += 1;
        } else if line == "}" {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return at;
        }
    }
    lines.len()
}

fn indent(lines: &[String], line: usize) -> String {
    lines[line].chars().take_while(|c| *c == ' ').collect()
}

/// A setting in HCL: objects and lists of objects are blocks.
fn render(key: &str, value: &Value, depth: usize) -> Vec<String> {
    let margin = "  ".repeat(depth);
    let key = if is_identifier(key) {
        key.to_owned()
    } else {
        quote(key)
    };
    match value {
        Value::Object(inner) => {
            let mut lines = vec![format!("{margin}{key} {{")];
            lines.extend(inner.iter().flat_map(|(k, v)| render(k, v, depth + 1)));
            lines.push(format!("{margin}}}"));
            lines
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
            items.iter().flat_map(|item| render(&key, item, depth)).collect()
        }
        value => vec![format!("{margin}{key} = {}", literal(value))],
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(inner) => {
            let fields: Vec<String> = inner
                .iter()
                .map(|(key, value)| format!("{} = {}", quote(key), literal(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn is_identifier(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && key.chars().all(is_part)
}

#[cfg(test)]
#[path = "server_config_tests.rs"]
mod tests;
