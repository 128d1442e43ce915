//! The functions a template may call, by name.

mod arguments;
mod builtin;
mod compare;
mod convert;
mod digest;
mod encode;
mod environment;
mod escape;
mod file;
mod maps;
mod math;
mod membership;
mod regex;
mod scratch;
mod signature;
mod sprig;
mod text;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::render::{FileWrite, Options};
use crate::secrets::{Query, Secrets};
use crate::value::Value;

pub(crate) use scratch::method;
pub(crate) use signature::{Function, Kind, Type};

/// How many bytes all functions of one rendering may handle together.
const MAX_WORK: usize = 1 << 30;
/// How many bytes of values they may make, kept or not.
const MAX_MADE: usize = 256 << 20;

/// What functions may look at and note down.
pub(crate) struct Context<'a> {
    pub(crate) secrets: &'a dyn Secrets,
    pub(crate) options: &'a Options<'a>,
    pub(crate) used: BTreeSet<Query>,
    pub(crate) missing: BTreeSet<Query>,
    pub(crate) files: BTreeSet<String>,
    pub(crate) missing_files: BTreeSet<String>,
    pub(crate) writes: Vec<FileWrite>,
    scratch: BTreeMap<Arc<str>, Value>,
    work_left: usize,
    made_left: usize,
}

impl<'a> Context<'a> {
    pub(crate) fn new(secrets: &'a dyn Secrets, options: &'a Options<'a>) -> Self {
        Self {
            secrets,
            options,
            used: BTreeSet::new(),
            missing: BTreeSet::new(),
            files: BTreeSet::new(),
            missing_files: BTreeSet::new(),
            writes: Vec::new(),
            scratch: BTreeMap::new(),
            work_left: MAX_WORK,
            made_left: MAX_MADE,
        }
    }

    /// Counts bytes that a value takes.
    pub(crate) fn make(&mut self, bytes: usize) -> Result<(), Failure> {
        match self.made_left.checked_sub(bytes) {
            Some(left) => {
                self.made_left = left;
                Ok(())
            }
            None => Err(Failure::new("the template makes values of more than 256 MiB")),
        }
    }

    /// Counts bytes that are looked at.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        match self.work_left.checked_sub(bytes) {
            Some(left) => {
                self.work_left = left;
                Ok(())
            }
            None => Err(Failure::new("the template handles more than 1 GiB")),
        }
    }

    /// Whether the configuration forbids a function.
    pub(crate) fn is_denied(&self, name: &str) -> bool {
        self.options.denied.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a name fits a pattern in which `*` stands for any number of letters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pattern.rsplit('*').next().filter(|_| pattern.contains('*')) else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    // The last part must stand at the end, wherever it was found first.
    name.len() >= first.len() + last.len() && name.ends_with(last)
}

/// Why a call failed. The text must not hold a value: it may be secret.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self(message.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Return = Result<Value, Failure>;

/// A failure of the function itself.
pub(crate) fn failed<T>(message: impl ToString) -> Result<T, Failure> {
    Err(Failure::new(message))
}

/// Whether a function may be used.
pub(crate) enum Known {
    Yes(Function),
    No,
    /// It exists elsewhere and is not offered here, for this reason.
    Refused(&'static str),
}

fn find(name: &str) -> Option<Function> {
    if let Some(name) = name.strip_prefix("sprig_") {
        return sprig::find(name);
    }
    builtin::find(name)
        .or_else(|| text::find(name))
        .or_else(|| convert::find(name))
        .or_else(|| encode::find(name))
        .or_else(|| digest::find(name))
        .or_else(|| compare::find(name))
        .or_else(|| escape::find(name))
        .or_else(|| maps::find(name))
        .or_else(|| membership::find(name))
        .or_else(|| math::find(name))
        .or_else(|| regex::find(name))
        .or_else(|| environment::find(name))
        .or_else(|| file::find(name))
        .or_else(|| scratch::find(name))
        .or_else(|| vault::find(name))
}

/// Whether a template may name this function.
pub(crate) fn known(name: &str) -> Known {
    match (find(name), refused(name)) {
        (Some(function), _) => Known::Yes(function),
        (None, Some(reason)) => Known::Refused(reason),
        (None, None) => Known::No,
    }
}

/// Why a function of the real engine is not offered.
fn refused(name: &str) -> Option<&'static str> {
    if let Some(name) = name.strip_prefix("sprig_") {
        return sprig::refused(name);
    }
    Some(match name {
        "plugin" => "it runs programs inside the agent",
        "sockaddr" => "the agent's own addresses are not the application's",
        "spew_dump" | "spew_printf" | "spew_sdump" | "spew_sprintf" => {
            "it dumps Go's inner structures; printf with %v or toJSONPretty shows the same values"
        }
        "byKey" | "byMeta" | "byPort" | "byTag" | "caLeaf" | "caRoots" | "connect" | "datacenters"
        | "explode" | "exportedServices" | "importedServices" | "key" | "keyExists" | "keyOrDefault"
        | "ls" | "node" | "nodes" | "nomadService" | "nomadServices" | "nomadVar" | "nomadVarExists"
        | "nomadVarList" | "nomadVarListSafe" | "partitions" | "peerings" | "safeLs" | "safeTree"
        | "service" | "services" | "tree" => "it asks Consul or Nomad, which this agent does not talk to",
        "break" | "continue" => "it is a keyword",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_denied_functions_fits_as_a_whole() {
        for (pattern, name, fits) in [
            ("sprig_*", "sprig_upper", true),
            ("sprig_*", "toUpper", false),
            ("*JSON*", "toJSONPretty", true),
            ("to*N", "toJSON", true),
            ("to*N", "toJSONPretty", false),
            ("env", "env", true),
            ("env", "envOrDefault", false),
            ("a*a", "a", false),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} on {name}");
        }
    }
}
