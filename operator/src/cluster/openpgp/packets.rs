//! Armour and packets of an OpenPGP key (RFC 9580), as far as a fingerprint and the question "may it encrypt" need them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Problem;

/// Tags of packets that matter here.
const SIGNATURE: u8 = 2;
const SECRET_KEY: u8 = 5;
const PUBLIC_KEY: u8 = 6;
const SECRET_SUBKEY: u8 = 7;
const PUBLIC_SUBKEY: u8 = 14;

/// The binary key, from its armour or from plain base64.
pub(super) fn dearmor(text: &str) -> Result<Vec<u8>, Problem> {
    if text.contains("PRIVATE KEY") {
        return Err(Problem::Private);
    }
    let decode = |text: &str| {
        let joined: String = text.split_whitespace().collect();
        STANDARD.decode(joined).map_err(|_| Problem::NotAKey)
    };
    let Some((_, armored)) = text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----") else {
        return decode(text);
    };
    let (armored, _) = armored
        .split_once("-----END PGP PUBLIC KEY BLOCK-----")
        .ok_or(Problem::NotAKey)?;
    // Headers such as `Comment: …`, then base64, then a checksum that begins with `=`.
    let lines = armored.lines().map(str::trim);
    let body: Vec<&str> = lines
        .filter(|line| !line.contains(": ") && !line.starts_with('='))
        .collect();
    decode(&body.join(""))
}

/// What of a packet matters.
#[derive(Debug)]
pub(super) enum Packet<'a> {
    /// The primary key: its whole body.
    PublicKey(&'a [u8]),
    /// A subkey: its whole body.
    PublicSubkey(&'a [u8]),
    /// A signature that could be read; others are left out.
    Signature(Signature),
}

/// Splits a key into packets.
pub(super) fn packets(bytes: &[u8]) -> Result<Vec<Packet<'_>>, Problem> {
    let mut reader = Reader(bytes);
    let mut found = Vec::new();
    while !reader.0.is_empty() {
        let header = reader.byte()?;
        if header & 0x80 == 0 {
            return Err(Problem::NotAKey);
        }
        let (tag, length) = if header & 0x40 == 0 {
            let length = match header & 3 {
                0 => usize::from(reader.byte()?),
                1 => reader.number(2)?,
                2 => reader.number(4)?,
                _ => return Err(Problem::NotAKey),
            };
            ((header >> 2) & 0x0f, length)
        } else {
            // Parts of unknown length are for data only.
            (header & 0x3f, reader.length(224).ok_or(Problem::NotAKey)?)
        };
        let body = reader.take(length)?;
        match tag {
            PUBLIC_KEY => found.push(Packet::PublicKey(body)),
            PUBLIC_SUBKEY => found.push(Packet::PublicSubkey(body)),
            SIGNATURE => found.extend(signature(body).map(Packet::Signature)),
            SECRET_KEY | SECRET_SUBKEY => return Err(Problem::Private),
            // Names, pictures, trust.
            _ => {}
        }
    }
    Ok(found)
}

/// What a signature says. Whether it is genuine is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// 0x10 to 0x13 on a name, 0x18 on a subkey, 0x1f on the key itself, 0x20 and 0x28 revoke.
    pub kind: u8,
    /// When it was made, in seconds since 1970.
    pub created: u32,
    /// After how many seconds the key ends; none: never.
    pub key_lives: Option<u32>,
    /// What the key is for.
    pub flags: Option<u8>,
    /// The last eight bytes of the issuer's fingerprint (version 4), or the first eight (version 6).
    pub issuer: Option<[u8; 8]>,
}

fn signature(body: &[u8]) -> Option<Signature> {
    let mut reader = Reader(body);
    let version = reader.byte().ok()?;
    let width = match version {
        4 => 2,
        6 => 4,
        _ => return None,
    };
    let kind = reader.byte().ok()?;
    reader.take(2).ok()?;
    let mut signature = Signature {
        kind,
        ..Signature::default()
    };
    let length = reader.number(width).ok()?;
    subpackets(reader.take(length).ok()?, true, &mut signature)?;
    let length = reader.number(width).ok()?;
    subpackets(reader.take(length).ok()?, false, &mut signature)?;
    Some(signature)
}

/// Only hashed ones are covered by the signature; the issuer alone is also believed outside, as a hint.
fn subpackets(bytes: &[u8], hashed: bool, signature: &mut Signature) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let length = reader.length(255)?;
        let body = reader.take(length).ok()?;
        let (kind, value) = body.split_first()?;
        let number = || -> Option<u32> { Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?)) };
        match kind & 0x7f {
            2 if hashed => signature.created = number()?,
            9 if hashed => signature.key_lives = number().filter(|seconds| *seconds > 0),
            27 if hashed => signature.flags = Some(*value.first()?),
            16 => signature.issuer = Some(value.get(..8)?.try_into().ok()?),
            33 => {
                let (version, fingerprint) = value.split_first()?;
                signature.issuer = Some(super::key_id(*version, fingerprint)?);
            }
            _ => {}
        }
    }
    Some(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Problem::NotAKey)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, width: usize) -> Result<usize, Problem> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// One, two or five octets. From `two_octets_end` on the first one means something else, but for 255.
    fn length(&mut self, two_octets_end: u8) -> Option<usize> {
        let first = self.byte().ok()?;
        match first {
            0..192 => Some(usize::from(first)),
            255 => self.number(4).ok(),
            _ if first < two_octets_end => {
                let second = self.byte().ok()?;
                Some(((usize::from(first) - 192) << 8) + usize::from(second) + 192)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_one_two_and_five_octets_are_read() {
        let length = |bytes: &[u8]| Reader(bytes).length(224);
        assert_eq!(length(&[191]), Some(191));
        assert_eq!(length(&[192, 0]), Some(192));
        assert_eq!(length(&[223, 255]), Some(8383));
        assert_eq!(length(&[255, 0, 1, 0, 0]), Some(65536));
        assert_eq!(length(&[224]), None, "a part of unknown length");
        assert_eq!(Reader(&[224, 0]).length(255), Some(8384), "in a subpacket");
    }

    #[test]
    fn what_ends_too_early_is_no_key() {
        for bytes in [
            &[0x98u8][..],
            &[0x98, 5, 4],
            &[0xc6, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x00],
        ] {
            assert_eq!(packets(bytes).unwrap_err(), Problem::NotAKey, "{bytes:?}");
        }
    }
}
