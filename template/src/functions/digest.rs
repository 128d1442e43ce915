//! Hashes.

use std::fmt::Write as _;

use super::arguments::{bytes, string};
use super::signature::{Function, Type, fixed};
use crate::md5;

pub(super) fn find(name: &str) -> Option<Function> {
    const ONE: &[Type] = &[Type::Text];
    match name {
        "hmacSHA256Hex" => fixed(&[Type::Text, Type::Text], |_, a| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes(a, 1));
            string(hex(ring::hmac::sign(&key, bytes(a, 0)).as_ref()))
        }),
        "md5sum" => fixed(ONE, |_, a| string(hex(&md5::digest(bytes(a, 0))))),
        "sha256Hex" => fixed(ONE, |_, a| string(sum(&ring::digest::SHA256, bytes(a, 0)))),
        _ => None,
    }
}

/// A digest in hexadecimal digits.
pub(super) fn sum(algorithm: &'static ring::digest::Algorithm, text: &[u8]) -> String {
    hex(ring::digest::digest(algorithm, text).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
