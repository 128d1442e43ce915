//! Percent escapes in the path and query string that a template gives to `secret`: consul-template reads them as a URL's. No I/O.

use std::borrow::Cow;

/// A path without its escapes; as it is where they are none (`100%`).
pub(crate) fn path(text: &str) -> Cow<'_, str> {
    decode(text, false).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// A key or value of a query string without its escapes; as it is where they are none.
pub(crate) fn query(text: &str) -> Cow<'_, str> {
    decode(text, true).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// `None` where there is nothing to decode, or an escape is broken.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let is_special = |byte| byte == b'%' || (plus_is_space && byte == b'+');
    if !text.bytes().any(is_special) {
        return None;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_those_of_a_url() {
        for (given, wanted) in [
            ("a%20b", "a b"),
            ("a+b", "a+b"),
            ("%C3%BC", "ü"),
            ("a%2Fb", "a/b"),
            ("plain", "plain"),
        ] {
            assert_eq!(path(given), wanted, "for {given}");
        }
        assert_eq!(query("a+b%2B"), "a b+");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for given in ["100%", "%", "%2", "%zz", "%ff", "a%C3"] {
            assert_eq!(path(given), given);
        }
    }
}
