//! Encodings and hashes.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::arguments::{bytes, exactly, string, text};
use super::{Context, Failure, Function, Return, failed};
use crate::json::{self, Numbers, Style};
use crate::value::Value;
use crate::yaml;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "base64Decode" => |_, a| decode("base64Decode", a, &STANDARD),
        "base64Encode" => |_, a| encode("base64Encode", a, &STANDARD),
        "base64URLDecode" => |_, a| decode("base64URLDecode", a, &URL_SAFE),
        "base64URLEncode" => |_, a| encode("base64URLEncode", a, &URL_SAFE),
        "hmacSHA256Hex" => hmac_sha256_hex,
        "sha256Hex" => sha256_hex,
        "toJSON" => |_, a| {
            to_json(
                "toJSON",
                a,
                Style {
                    escape_html: true,
                    pretty: false,
                },
            )
        },
        "toJSONPretty" => |_, a| {
            to_json(
                "toJSONPretty",
                a,
                Style {
                    escape_html: true,
                    pretty: true,
                },
            )
        },
        "toUnescapedJSON" => |_, a| {
            to_json(
                "toUnescapedJSON",
                a,
                Style {
                    escape_html: false,
                    pretty: false,
                },
            )
        },
        "toUnescapedJSONPretty" => |_, a| {
            to_json(
                "toUnescapedJSONPretty",
                a,
                Style {
                    escape_html: false,
                    pretty: true,
                },
            )
        },
        "toYAML" => to_yaml,
        "parseJSON" => parse_json,
        "parseBool" => parse_bool,
        "parseInt" => |_, a| parse("parseInt", a, |s| s.parse().ok().map(Value::Int), Value::Int(0)),
        "parseUint" => |_, a| parse("parseUint", a, unsigned, Value::Int(0)),
        "parseFloat" => |_, a| {
            parse(
                "parseFloat",
                a,
                |s| s.parse().ok().map(Value::Float),
                Value::Float(0.0),
            )
        },
        _ => return None,
    })
}

fn encode(name: &str, arguments: &[Value], engine: &impl base64::Engine) -> Return {
    let [value] = exactly(name, arguments)?;
    Ok(string(engine.encode(bytes(value)?)))
}

fn decode(name: &str, arguments: &[Value], engine: &impl base64::Engine) -> Return {
    let [value] = exactly(name, arguments)?;
    // Go skips line breaks inside the text.
    let clean: Vec<u8> = bytes(value)?
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    match engine.decode(clean) {
        Ok(decoded) => Ok(Value::from_bytes(decoded)),
        Err(_) => failed("illegal base64 data"),
    }
}

fn hex(bytes: &[u8]) -> Value {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    string(out)
}

fn sha256_hex(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [value] = exactly("sha256Hex", arguments)?;
    Ok(hex(
        ring::digest::digest(&ring::digest::SHA256, bytes(value)?).as_ref()
    ))
}

/// `hmacSHA256Hex MESSAGE KEY`
fn hmac_sha256_hex(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [message, key] = exactly("hmacSHA256Hex", arguments)?;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes(key)?);
    Ok(hex(ring::hmac::sign(&key, bytes(message)?).as_ref()))
}

fn to_json(name: &str, arguments: &[Value], style: Style) -> Return {
    let [value] = exactly(name, arguments)?;
    Ok(string(json::write(value, style)))
}

fn to_yaml(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [value] = exactly("toYAML", arguments)?;
    Ok(string(yaml::write(value).trim()))
}

fn parse_json(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [value] = exactly("parseJSON", arguments)?;
    let value = text(value)?;
    if value.is_empty() {
        return Ok(Value::map([]));
    }
    json::parse(&value, Numbers::Floats).map_err(|error| Failure::Failed(error.to_string()))
}

fn parse_bool(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let read = |text: &str| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
        _ => None,
    };
    parse("parseBool", arguments, read, Value::Bool(false))
}

fn unsigned(text: &str) -> Option<Value> {
    text.parse::<u64>()
        .ok()
        .and_then(|value| i64::try_from(value).ok())
        .map(Value::Int)
}

fn parse(name: &str, arguments: &[Value], read: impl Fn(&str) -> Option<Value>, empty: Value) -> Return {
    let [value] = exactly(name, arguments)?;
    let value = text(value)?;
    if value.is_empty() {
        return Ok(empty);
    }
    // The text itself is left out: it may be secret.
    read(&value).map_or_else(|| failed("invalid syntax"), Ok)
}
