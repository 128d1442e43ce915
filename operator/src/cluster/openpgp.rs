//! A custodian's public PGP key: its fingerprint, and whether a share can be encrypted to it. Pure.
//!
//! The least of OpenPGP that this takes. Whether the signatures in the key are genuine is left to Vault, which reads the key
//! with a whole implementation before it encrypts anything to it; what is refused here is refused early and in words.

mod packets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::hex::hex;
use packets::{Packet, Signature};

/// The flag of a key that encrypts messages.
const ENCRYPTS: u8 = 0x04;
/// RSA, RSA for encryption only, ECDH, X25519, X448.
const ENCRYPTING_ALGORITHMS: [u8; 5] = [1, 2, 18, 25, 26];

/// Why a share cannot be encrypted to what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error(
        "it is no public PGP key: paste what gpg --armor --export --export-options export-minimal prints"
    )]
    NotAKey,
    /// It is the secret part.
    #[error(
        "it is a private key, which by now is known to others: revoke it, make another, and give its public part"
    )]
    Private,
    /// There are several in it.
    #[error("it holds several keys: export one of them by its fingerprint")]
    Several,
    /// Neither version 4 nor 6.
    #[error("it is of a version that Vault does not read: make a new key")]
    Version,
    /// It signs only.
    #[error("it cannot encrypt: add an encryption subkey, gpg --quick-add-key <fingerprint> cv25519 encr")]
    CannotEncrypt,
    /// It was revoked.
    #[error("it was revoked: give another")]
    Revoked,
}

/// A public key to which a share can be encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Fingerprint of the primary key, lower-case hex, as Vault writes it.
    pub fingerprint: String,
    /// The binary key in base64, as Vault wants it.
    pub base64: String,
    /// When nothing can be encrypted to it any more, in seconds since 1970. None: never.
    pub expires: Option<i64>,
}

impl PublicKey {
    /// Reads a key from its armour, or from base64.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let bytes = packets::dearmor(text)?;
        let packets = packets::packets(&bytes)?;
        let Some((Packet::PublicKey(primary), rest)) = packets.split_first() else {
            return Err(Problem::NotAKey);
        };
        let key = Key::read(primary)?;
        let signatures = Signatures::of(&key, rest)?;
        if signatures.revoked {
            return Err(Problem::Revoked);
        }
        let own = signatures.own.ok_or(Problem::NotAKey)?;
        let mut until: Vec<Option<i64>> = Vec::new();
        for (subkey, binding) in &signatures.subkeys {
            if subkey.encrypts(binding) {
                until.push(subkey.expires(binding));
            }
        }
        if until.is_empty() && key.encrypts(&own) {
            until.push(None);
        }
        // Of several the longest counts: none at all is the longest.
        let longest = until
            .into_iter()
            .reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
            .ok_or(Problem::CannotEncrypt)?;
        Ok(Self {
            fingerprint: hex(&key.fingerprint),
            base64: STANDARD.encode(&bytes),
            expires: [longest, key.expires(&own)].into_iter().flatten().min(),
        })
    }

    /// Whether it can be encrypted to at this time, in seconds since 1970.
    pub fn is_current(&self, now: i64) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// A primary key or a subkey.
struct Key {
    version: u8,
    created: u32,
    algorithm: u8,
    fingerprint: Vec<u8>,
}

impl Key {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let &[version, a, b, c, d, algorithm, ..] = body else {
            return Err(Problem::NotAKey);
        };
        let short = || u16::try_from(body.len()).map_err(|_| Problem::NotAKey);
        let long = || u32::try_from(body.len()).map_err(|_| Problem::NotAKey);
        let (which, mut framed) = match version {
            4 => (
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                [&[0x99], &short()?.to_be_bytes()[..]].concat(),
            ),
            6 => (&digest::SHA256, [&[0x9b], &long()?.to_be_bytes()[..]].concat()),
            _ => return Err(Problem::Version),
        };
        framed.extend_from_slice(body);
        Ok(Self {
            version,
            created: u32::from_be_bytes([a, b, c, d]),
            algorithm,
            fingerprint: digest::digest(which, &framed).as_ref().to_vec(),
        })
    }

    fn encrypts(&self, signature: &Signature) -> bool {
        ENCRYPTING_ALGORITHMS.contains(&self.algorithm)
            && signature.flags.is_some_and(|flags| flags & ENCRYPTS != 0)
    }

    fn expires(&self, signature: &Signature) -> Option<i64> {
        Some(i64::from(self.created) + i64::from(signature.key_lives?))
    }

    fn is_issuer_of(&self, signature: &Signature) -> bool {
        signature.issuer.is_some() && signature.issuer == key_id(self.version, &self.fingerprint)
    }
}

/// The short name of a key.
fn key_id(version: u8, fingerprint: &[u8]) -> Option<[u8; 8]> {
    let id = match version {
        4 => fingerprint.get(fingerprint.len().checked_sub(8)?..),
        _ => fingerprint.get(..8),
    };
    id?.try_into().ok()
}

/// What the key says of itself; what others say of it does not matter.
#[derive(Default)]
struct Signatures {
    revoked: bool,
    /// The newest on a name or on the key itself.
    own: Option<Signature>,
    /// Subkeys that were not revoked, each with its newest binding.
    subkeys: Vec<(Key, Signature)>,
}

impl Signatures {
    fn of(key: &Key, packets: &[Packet<'_>]) -> Result<Self, Problem> {
        let mut found = Self::default();
        let mut subkeys: Vec<(Key, Option<Signature>, bool)> = Vec::new();
        for packet in packets {
            let signature = match packet {
                Packet::PublicKey(_) => return Err(Problem::Several),
                Packet::PublicSubkey(body) => {
                    subkeys.push((Key::read(body)?, None, false));
                    continue;
                }
                Packet::Signature(signature) if key.is_issuer_of(signature) => signature,
                Packet::Signature(_) => continue,
            };
            match (signature.kind, subkeys.last_mut()) {
                (0x20, _) => found.revoked = true,
                (0x10..=0x13 | 0x1f, None) => newest(&mut found.own, signature),
                (0x18, Some((_, binding, _))) => newest(binding, signature),
                (0x28, Some((_, _, revoked))) => *revoked = true,
                _ => {}
            }
        }
        found.subkeys = subkeys
            .into_iter()
            .filter(|(_, _, revoked)| !revoked)
            .filter_map(|(subkey, binding, _)| Some((subkey, binding?)))
            .collect();
        Ok(found)
    }
}

fn newest(kept: &mut Option<Signature>, other: &Signature) {
    if kept.as_ref().is_none_or(|kept| kept.created <= other.created) {
        *kept = Some(other.clone());
    }
}

#[cfg(test)]
#[path = "openpgp_tests.rs"]
mod tests;
