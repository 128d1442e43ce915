//! Bytes as hexadecimal digits, and hashes that are the same in every release and on every machine. Pure.

use std::fmt::Write as _;

use ring::digest;

/// Two lower-case digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The first bytes of the SHA-256 hash of a text, in hexadecimal digits: all of them, if there are fewer.
pub(crate) fn short_hash(text: &[u8], bytes: usize) -> String {
    let hash = digest::digest(&digest::SHA256, text);
    let hash = hash.as_ref();
    hex(&hash[..bytes.min(hash.len())])
}

/// The first half of the SHA-256 hash of several texts, in hexadecimal digits. The length of each is part of it, so that no
/// other texts make the same whole.
pub(crate) fn checksum(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    hex(&context.finish().as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_two_digits_and_a_short_hash_is_the_beginning_of_the_whole() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
        let whole = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(short_hash(b"abc", 8), whole[..16]);
        assert_eq!(short_hash(b"abc", 99), whole);
    }
}
