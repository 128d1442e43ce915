//! Keys of age: a recipient is public, an identity is its secret half.

use std::fmt;

use bech32::{Bech32, Hrp};
use ring::rand::SecureRandom;
use vaultkeeper_vault::{ExposeSecret, SecretString};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Error, random};

const RECIPIENT: Hrp = Hrp::parse_unchecked("age");
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// Who can read a file: `age1…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Recipient(pub(super) PublicKey);

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32>(RECIPIENT, self.0.as_bytes());
        f.write_str(&text.unwrap_or_default())
    }
}

impl std::str::FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let key = bytes(text, RECIPIENT).ok_or(Error::Recipient)?;
        Ok(Self(PublicKey::from(*key)))
    }
}

/// The 32 bytes behind a key with this beginning.
fn bytes(text: &str, wanted: Hrp) -> Option<Zeroizing<[u8; 32]>> {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32>(text).ok()?;
    if checked.hrp() != wanted {
        return None;
    }
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

/// The secret key of a reader. It has no Debug and is overwritten when dropped.
#[derive(Clone)]
pub struct Identity(pub(super) StaticSecret);

impl Identity {
    /// A new one.
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, Error> {
        let bytes = random::<32>(rng)?;
        Ok(Self(StaticSecret::from(*bytes)))
    }

    /// Reads `AGE-SECRET-KEY-1…`.
    pub fn parse(text: &SecretString) -> Result<Self, Error> {
        let key = bytes(text.expose_secret().trim(), IDENTITY).ok_or(Error::Identity)?;
        Ok(Self(StaticSecret::from(*key)))
    }

    /// `AGE-SECRET-KEY-1…`, as the age program takes it.
    pub fn to_text(&self) -> SecretString {
        let bytes = Zeroizing::new(self.0.to_bytes());
        let text = bech32::encode_upper::<Bech32>(IDENTITY, &*bytes);
        SecretString::from(text.unwrap_or_default())
    }

    /// Its public half.
    pub fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0))
    }
}
