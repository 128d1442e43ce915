//! Encodings: base64, JSON, YAML, TOML.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};
use base64::{Engine as _, alphabet};

use super::arguments::{at, bytes, string, text};
use super::signature::{Function, Type, fixed};
use super::{Context, Failure, Return, failed};
use crate::json::{self, Numbers, Style};
use crate::value::{Dict, Value};
use crate::{toml, yaml};

pub(super) fn find(name: &str) -> Option<Function> {
    const ONE: &[Type] = &[Type::Text];
    const ANY: &[Type] = &[Type::Any];
    match name {
        "base64Decode" => fixed(ONE, |_, a| decode(bytes(a, 0))),
        "base64Encode" => fixed(ONE, |_, a| string(STANDARD.encode(bytes(a, 0)))),
        "base64URLDecode" => fixed(ONE, |_, a| decode_with(bytes(a, 0), &FROM_URL_SAFE)),
        "base64URLEncode" => fixed(ONE, |_, a| string(URL_SAFE.encode(bytes(a, 0)))),
        "parseJSON" => fixed(ONE, |c, a| parse_json(c, &text(a, 0))),
        "parseYAML" => fixed(ONE, |c, a| parse_yaml(c, &text(a, 0))),
        "toJSON" => fixed(ANY, |c, a| to_json(c, at(a, 0), true, false)),
        "toJSONPretty" => fixed(ANY, |c, a| to_json(c, at(a, 0), true, true)),
        "toUnescapedJSON" => fixed(ANY, |c, a| to_json(c, at(a, 0), false, false)),
        "toUnescapedJSONPretty" => fixed(ANY, |c, a| to_json(c, at(a, 0), false, true)),
        "toTOML" => fixed(ANY, |c, a| {
            let text = toml::write(at(a, 0)).map_err(|error| Failure::new(format!("toTOML: {error}")))?;
            c.spend(text.len())?;
            string(text.trim())
        }),
        "toYAML" => fixed(ANY, |c, a| {
            let text = yaml::write(at(a, 0)).map_err(|error| Failure::new(format!("toYAML: {error}")))?;
            c.spend(text.len())?;
            string(text.trim())
        }),
        _ => None,
    }
}

/// Go does not mind bits that are left over.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
const FROM_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const FROM_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// base64 with the standard alphabet.
pub(super) fn decode(text: &[u8]) -> Return {
    decode_with(text, &FROM_STANDARD)
}

/// Go skips line breaks inside the text.
fn decode_with(text: &[u8], engine: &GeneralPurpose) -> Return {
    let clean: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    match engine.decode(clean) {
        Ok(decoded) => Ok(Value::from_bytes(decoded)),
        Err(_) => failed("illegal base64 data"),
    }
}

pub(super) fn to_json(context: &mut Context<'_>, value: &Value, escape_html: bool, pretty: bool) -> Return {
    let text = json::write(value, Style { escape_html, pretty }).map_err(Failure::new)?;
    context.spend(text.len())?;
    string(text)
}

pub(super) fn parse_json(context: &mut Context<'_>, value: &str) -> Return {
    context.make(value.len().saturating_mul(16))?;
    let read = if value.is_empty() {
        Value::map([])
    } else {
        json::parse(value, Numbers::Floats).map_err(Failure::new)?
    };
    Ok(changeable(read))
}

fn parse_yaml(context: &mut Context<'_>, value: &str) -> Return {
    // Every line is looked at a few times.
    context.spend(value.len().saturating_mul(64))?;
    context.make(value.len().saturating_mul(16))?;
    let read = if value.is_empty() {
        Value::map([])
    } else {
        yaml::parse(value).map_err(Failure::new)?
    };
    Ok(changeable(read))
}

/// A map that the template made itself.
pub(super) fn changeable(value: Value) -> Value {
    match value {
        Value::Map(map) => Value::Dict(Dict::new(map)),
        other => other,
    }
}
