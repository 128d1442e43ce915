//! The functions a template may call, by name.

mod arguments;
mod collections;
mod compare;
mod encode;
mod environment;
mod format;
mod math;
mod text;
mod vault;

use std::collections::BTreeSet;

use crate::render::Options;
use crate::secrets::{Query, Secrets};
use crate::value::Value;

/// What functions may look at and note down.
pub(crate) struct Context<'a> {
    pub(crate) secrets: &'a dyn Secrets,
    pub(crate) options: &'a Options<'a>,
    pub(crate) used: BTreeSet<Query>,
    pub(crate) missing: BTreeSet<Query>,
}

/// Why a call failed. The text must not hold a value: it may be secret.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments do not fit; Go's engine says so itself.
    Argument(String),
    /// The function returned an error.
    Failed(String),
}

pub(crate) type Return = Result<Value, Failure>;

/// A failure of the function itself.
pub(crate) fn failed<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Failed(message.into()))
}

/// Whether a function may be used.
pub(crate) enum Known {
    Yes,
    No,
    /// It exists elsewhere and is not offered here, for this reason.
    Refused(&'static str),
}

type Function = fn(&mut Context<'_>, &[Value]) -> Return;

fn find(name: &str) -> Option<Function> {
    text::find(name)
        .or_else(|| encode::find(name))
        .or_else(|| compare::find(name))
        .or_else(|| format::find(name))
        .or_else(|| collections::find(name))
        .or_else(|| math::find(name))
        .or_else(|| environment::find(name))
        .or_else(|| vault::find(name))
}

/// Whether a template may name this function.
pub(crate) fn known(name: &str) -> Known {
    // These three need the evaluator itself.
    if matches!(name, "and" | "or" | "executeTemplate") || find(name).is_some() {
        return Known::Yes;
    }
    match name {
        "plugin" => Known::Refused("it runs programs inside the agent"),
        "sockaddr" => Known::Refused("the agent's own addresses are not the application's"),
        "key" | "keyExists" | "keyOrDefault" | "ls" | "safeLs" | "tree" | "safeTree" | "service"
        | "services" | "connect" | "caRoots" | "caLeaf" | "node" | "nodes" | "datacenters" | "partitions"
        | "peerings" | "nomadService" | "nomadServices" | "nomadVar" | "nomadVarList" => {
            Known::Refused("it asks Consul or Nomad, which this agent does not talk to")
        }
        _ => Known::No,
    }
}

/// Calls a function.
pub(crate) fn call(name: &str, context: &mut Context<'_>, arguments: &[Value]) -> Return {
    match find(name) {
        Some(function) => function(context, arguments),
        None => Err(Failure::Argument(format!("function {name:?} not defined"))),
    }
}
