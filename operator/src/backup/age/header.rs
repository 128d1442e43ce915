//! The header of an age file: the key of the file, sealed for each recipient, under a code of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::aead::{Aad, Nonce};
use ring::hmac;
use ring::rand::SecureRandom;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::{Error, Identity, LONGEST_HEADER, Recipient, cipher, derive, random};

const VERSION: &str = "age-encryption.org/v1\n";
const WRAP: &[u8] = b"age-encryption.org/v1/X25519";
const KIND: &str = "X25519";
/// A body line with fewer characters is the last of its stanza.
const LINE: usize = 64;

type FileKey = Zeroizing<[u8; 16]>;

/// Writes the header for these recipients.
pub(super) fn write(
    file_key: &[u8; 16],
    recipients: &[Recipient],
    rng: &dyn SecureRandom,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut text = VERSION.to_owned();
    for Recipient(recipient) in recipients {
        let ephemeral = StaticSecret::from(*random::<32>(rng)?);
        let share = PublicKey::from(&ephemeral);
        let key = wrap_key(&ephemeral.diffie_hellman(recipient), &share, recipient)?;
        let mut body = file_key.to_vec();
        cipher(&key)?
            .seal_in_place_append_tag(zero(), Aad::empty(), &mut body)
            .map_err(|_| Error::Random)?;
        for part in ["-> ", KIND, " ", &BASE64.encode(share.as_bytes()), "\n"] {
            text.push_str(part);
        }
        text.push_str(&BASE64.encode(&body));
        text.push('\n');
    }
    text.push_str("---");
    let code = hmac::sign(&code_key(file_key)?, text.as_bytes());
    text.push(' ');
    text.push_str(&BASE64.encode(code));
    text.push('\n');
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Each key seals one thing only.
fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn code_key(file_key: &[u8; 16]) -> Result<hmac::Key, Error> {
    let key = derive(file_key, &[], b"header")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*key))
}

/// A share of low order would make the secret known to everybody: `Recipient` for one of whoever writes.
fn wrap_key(
    secret: &SharedSecret,
    share: &PublicKey,
    recipient: &PublicKey,
) -> Result<Zeroizing<[u8; 32]>, Error> {
    if !secret.was_contributory() {
        return Err(Error::Recipient);
    }
    let salt = [share.as_bytes().as_slice(), recipient.as_bytes()].concat();
    derive(secret.as_bytes(), &salt, WRAP)
}

/// Header and rest, as soon as the whole header is there.
pub(super) fn split(file: &[u8]) -> Result<Option<(&str, &[u8])>, Error> {
    let version = VERSION.as_bytes();
    if !file.starts_with(&version[..version.len().min(file.len())]) {
        return Err(Error::NotAge);
    }
    let mut at = 0;
    while let Some(end) = file[at..]
        .iter()
        .take(LONGEST_HEADER)
        .position(|byte| *byte == b'\n')
    {
        let line = &file[at..at + end];
        at += end + 1;
        if line.starts_with(b"---") {
            let header = std::str::from_utf8(&file[..at]).map_err(|_| Error::NotAge)?;
            return Ok(Some((header, &file[at..])));
        }
        if at > LONGEST_HEADER {
            break;
        }
    }
    if file.len() > LONGEST_HEADER {
        return Err(Error::NotAge);
    }
    Ok(None)
}

/// The key of the file, if it is sealed for this identity and the header is as it was written.
pub(super) fn read(header: &str, identity: &Identity) -> Result<FileKey, Error> {
    let (signed, code) = header.rsplit_once(' ').ok_or(Error::NotAge)?;
    let code = BASE64
        .decode(code.trim_end_matches('\n'))
        .map_err(|_| Error::NotAge)?;
    let mut lines = header.lines().skip(1);
    while let Some(line) = lines.next() {
        let Some(stanza) = line.strip_prefix("-> ") else {
            break;
        };
        let mut body = String::new();
        for line in lines.by_ref() {
            body.push_str(line);
            if line.len() < LINE {
                break;
            }
        }
        let Some(share) = stanza.strip_prefix(KIND).and_then(|rest| rest.strip_prefix(' ')) else {
            continue;
        };
        let Some(file_key) = unwrap(share, &body, identity)? else {
            continue;
        };
        hmac::verify(&code_key(&file_key)?, signed.as_bytes(), &code).map_err(|_| Error::Changed)?;
        return Ok(file_key);
    }
    Err(Error::OtherRecipients)
}

/// None: this part of the header is for somebody else.
fn unwrap(share: &str, body: &str, identity: &Identity) -> Result<Option<FileKey>, Error> {
    let share = BASE64.decode(share).map_err(|_| Error::NotAge)?;
    let share: [u8; 32] = share.try_into().map_err(|_| Error::NotAge)?;
    let share = PublicKey::from(share);
    let mut body = Zeroizing::new(BASE64.decode(body).map_err(|_| Error::NotAge)?);
    let own = PublicKey::from(&identity.0);
    let Ok(key) = wrap_key(&identity.0.diffie_hellman(&share), &share, &own) else {
        return Err(Error::Changed);
    };
    let opened = cipher(&key)?.open_in_place(zero(), Aad::empty(), &mut body);
    let plain = opened.ok().and_then(|plain| <[u8; 16]>::try_from(&*plain).ok());
    Ok(plain.map(Zeroizing::new))
}
