//! Checks what a rule of a policy asks of a request besides its path: parameters and wrapping.

use std::collections::BTreeMap;
use std::time::Duration;

use vaultkeeper_crds::duration;
use vaultkeeper_crds::role::{Capability, Parameter, PolicyRule};

use super::{Limits, Refusal, invalid};

/// Stands for every parameter.
const ANY: &str = "*";

pub(super) fn limits(rule: &PolicyRule, field: &str) -> Result<Limits, Refusal> {
    let PolicyRule {
        path: _,
        capabilities,
        required_parameters,
        allowed_parameters,
        denied_parameters,
        min_wrapping_ttl,
        max_wrapping_ttl,
    } = rule;
    let mut required = Vec::new();
    for name in required_parameters {
        required.push(folded(name, &format!("{field}.requiredParameters"))?);
    }
    required.sort();
    required.dedup();
    let limits = Limits {
        required,
        allowed: parameters(allowed_parameters, &format!("{field}.allowedParameters"))?,
        denied: parameters(denied_parameters, &format!("{field}.deniedParameters"))?,
        min_wrapping: wrapping(min_wrapping_ttl.as_deref(), &format!("{field}.minWrappingTtl"))?,
        max_wrapping: wrapping(max_wrapping_ttl.as_deref(), &format!("{field}.maxWrappingTtl"))?,
    };
    contradiction(&limits, capabilities)
        .map_or(Ok(limits), |problem| Err(invalid(format!("{field}{problem}"))))
}

/// A name as Vault compares it.
fn folded(name: &str, field: &str) -> Result<String, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(invalid(format!(
            "{field}: `{name}` is no name of a parameter: use letters, digits and - _ ."
        )));
    }
    Ok(name.to_ascii_lowercase())
}

fn parameters(wanted: &[Parameter], field: &str) -> Result<BTreeMap<String, Vec<String>>, Refusal> {
    let mut checked = BTreeMap::new();
    for (index, Parameter { name, values }) in wanted.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let folded = if name == ANY {
            if !values.is_empty() {
                return Err(invalid(format!(
                    "{field}.values: `*` stands for every parameter whatever its value: remove the values"
                )));
            }
            ANY.to_owned()
        } else {
            folded(name, &format!("{field}.name"))?
        };
        if values.iter().any(|value| value.chars().any(char::is_control)) {
            return Err(invalid(format!(
                "{field}.values: holds a control character: remove it"
            )));
        }
        let mut values = values.clone();
        values.sort();
        values.dedup();
        if checked.insert(folded, values).is_some() {
            return Err(invalid(format!(
                "{field}.name: `{name}` is there twice, whatever its case: make one of them"
            )));
        }
    }
    Ok(checked)
}

fn wrapping(text: Option<&str>, field: &str) -> Result<Option<Duration>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    match duration::parse(text) {
        Err(error) => Err(invalid(format!("{field}: {error}"))),
        // Vault reads zero as no limit at all.
        Ok(Duration::ZERO) => Err(invalid(format!(
            "{field}: is zero, which limits nothing: write a duration, or remove it"
        ))),
        Ok(duration) => Ok(Some(duration)),
    }
}

/// What can never be satisfied, or says nothing.
fn contradiction(limits: &Limits, capabilities: &[Capability]) -> Option<String> {
    let Limits {
        required,
        allowed,
        denied,
        min_wrapping,
        max_wrapping,
    } = limits;
    let may = |capability| capabilities.contains(&capability);
    let of_parameters = !(required.is_empty() && allowed.is_empty() && denied.is_empty());
    if may(Capability::Deny) {
        return (*limits != Limits::default()).then(|| {
            ": the capability deny denies everything on the path: remove parameters and wrapping TTLs"
                .to_owned()
        });
    }
    // Seen in Vault's source and on a real server: for a read, the parameters are those of its query.
    let looked_at = [
        Capability::Create,
        Capability::Read,
        Capability::Update,
        Capability::Patch,
    ];
    if of_parameters && !looked_at.into_iter().any(may) {
        return Some(
            ": Vault looks at parameters with create, read, update and patch only: add one of these, or remove the \
             parameters"
                .to_owned(),
        );
    }
    if !required.is_empty() && may(Capability::Read) {
        return Some(
            ".requiredParameters: Vault asks for them in reads too, which have none: remove the capability read, or \
             these"
                .to_owned(),
        );
    }
    if let (Some(min), Some(max)) = (min_wrapping, max_wrapping)
        && min > max
    {
        return Some(".minWrappingTtl: is longer than maxWrappingTtl: shorten it".to_owned());
    }
    let is_denied = |name: &str| {
        let wholly = |key: &str| denied.get(key).is_some_and(Vec::is_empty);
        wholly(name) || wholly(ANY)
    };
    let is_left_out =
        |name: &str| !allowed.is_empty() && !allowed.contains_key(name) && !allowed.contains_key(ANY);
    let name = required
        .iter()
        .find(|name| is_denied(name) || is_left_out(name))?;
    let remedy = if is_denied(name) {
        "deniedParameters denies it"
    } else {
        "allowedParameters does not allow it"
    };
    Some(format!(
        ".requiredParameters: `{name}` is required and {remedy}, so that nothing can be written: change one of the two"
    ))
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
