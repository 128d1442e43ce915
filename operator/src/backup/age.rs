//! The age file format, version 1, for X25519 recipients (age-encryption.org/v1): what is encrypted here is read by the
//! `age` program, and the other way round. Pushed through piece by piece, so that nothing is held as a whole. Pure.

mod header;
mod keys;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

pub use keys::{Identity, Recipient};

/// Plain bytes in one sealed piece.
const PIECE: usize = 64 * 1024;
/// What sealing adds to it.
const TAG: usize = 16;
/// Random bytes between header and payload.
const SALT: usize = 16;
/// The most that a header may have, in bytes.
const LONGEST_HEADER: usize = 64 * 1024;

/// Why something cannot be encrypted or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a key of the age program for people.
    #[error("is not an age recipient: it begins with age1, as `age-keygen` prints it")]
    Recipient,
    /// Not the secret half of one.
    #[error("is not an age identity: it begins with AGE-SECRET-KEY-1")]
    Identity,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// Not of this format.
    #[error("it is not an age file of version 1")]
    NotAge,
    /// Encrypted to others.
    #[error("it is not encrypted to this key")]
    OtherRecipients,
    /// The header or a piece was changed.
    #[error("it was changed since it was encrypted")]
    Changed,
    /// The end is missing.
    #[error("its end is missing")]
    Truncated,
}

fn derive(ikm: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut key = Zeroizing::new([0; 32]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    let info = [info];
    let okm = prk.expand(&info, hkdf::HKDF_SHA256);
    okm.and_then(|okm| okm.fill(&mut *key))
        .map_err(|_| Error::Random)?;
    Ok(key)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&CHACHA20_POLY1305, key)
        .map(LessSafeKey::new)
        .map_err(|_| Error::Random)
}

fn random<const N: usize>(rng: &dyn SecureRandom) -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    rng.fill(&mut *bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// The key of the payload, and which piece is next.
struct Stream {
    key: LessSafeKey,
    counter: u64,
}

impl Stream {
    fn new(file_key: &[u8; 16], salt: &[u8]) -> Result<Self, Error> {
        let key = cipher(&*derive(file_key, salt, b"payload")?)?;
        Ok(Self { key, counter: 0 })
    }

    /// Eleven bytes of counter, then whether this is the last piece.
    fn nonce(&mut self, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.counter.to_be_bytes());
        nonce[11] = u8::from(last);
        self.counter += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, piece: &mut Vec<u8>, last: bool) -> Result<(), Error> {
        let nonce = self.nonce(last);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), piece);
        sealed.map_err(|_| Error::Random)
    }

    fn open(&mut self, piece: &mut [u8], last: bool) -> Result<usize, Error> {
        let nonce = self.nonce(last);
        let opened = self.key.open_in_place(nonce, Aad::empty(), piece);
        opened.map(|plain| plain.len()).map_err(|_| Error::Changed)
    }
}

/// Encrypts what is pushed into it.
pub struct Encryptor {
    stream: Stream,
    pending: Vec<u8>,
}

impl Encryptor {
    /// Begins a file for these recipients, any of whom can read it. The header goes to `out`.
    pub fn new(recipients: &[Recipient], rng: &dyn SecureRandom, out: &mut Vec<u8>) -> Result<Self, Error> {
        let file_key = random::<16>(rng)?;
        header::write(&file_key, recipients, rng, out)?;
        let salt = random::<SALT>(rng)?;
        out.extend_from_slice(&*salt);
        Ok(Self {
            stream: Stream::new(&file_key, &*salt)?,
            pending: Vec::with_capacity(PIECE + TAG),
        })
    }

    /// Takes more of the plain text.
    pub fn update(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        while !data.is_empty() {
            if self.pending.len() == PIECE {
                // More follows, so that this one is not the last.
                self.flush(false, out)?;
            }
            let (now, later) = data.split_at(data.len().min(PIECE - self.pending.len()));
            self.pending.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.flush(true, out)
    }

    fn flush(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), Error> {
        self.stream.seal(&mut self.pending, last)?;
        out.append(&mut self.pending);
        Ok(())
    }
}

/// Decrypts what is pushed into it.
pub struct Decryptor {
    identity: Identity,
    /// None: the header is not read yet.
    stream: Option<Stream>,
    pending: Vec<u8>,
}

impl Decryptor {
    /// Begins to read a file with this key.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            stream: None,
            pending: Vec::new(),
        }
    }

    /// Takes more of the file. What comes out is genuine, but perhaps not all, until [`Self::finish`] said so.
    pub fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.pending.extend_from_slice(data);
        if self.stream.is_none() {
            self.begin()?;
        }
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        // One piece and a byte: it is not the last.
        let mut done = 0;
        while self.pending.len() - done > PIECE + TAG {
            let piece = &mut self.pending[done..done + PIECE + TAG];
            let plain = stream.open(piece, false)?;
            out.extend_from_slice(&piece[..plain]);
            done += PIECE + TAG;
        }
        self.pending.drain(..done);
        Ok(())
    }

    /// Takes the end of the file.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let no_header = if self.pending.is_empty() {
            Error::Truncated
        } else {
            Error::NotAge
        };
        let mut stream = self.stream.take().ok_or(no_header)?;
        let is_first = stream.counter == 0;
        // An empty last piece is written for an empty file only: elsewhere it hides a cut.
        if self.pending.len() < TAG || self.pending.len() == TAG && !is_first {
            return Err(Error::Truncated);
        }
        let whole = self.pending.len() == PIECE + TAG;
        let mut piece = self.pending.clone();
        match stream.open(&mut self.pending, true) {
            Ok(plain) => out.extend_from_slice(&self.pending[..plain]),
            // Does it open as one in the middle? Then the rest was cut off.
            Err(_) if whole => {
                stream.counter -= 1;
                let middle = stream.open(&mut piece, false);
                return Err(middle.map_or(Error::Changed, |_| Error::Truncated));
            }
            Err(_) => return Err(Error::Truncated),
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Error> {
        let Some((header, rest)) = header::split(&self.pending)? else {
            return Ok(());
        };
        if rest.len() < SALT {
            return Ok(());
        }
        let file_key = header::read(header, &self.identity)?;
        let (salt, payload) = rest.split_at(SALT);
        self.stream = Some(Stream::new(&file_key, salt)?);
        self.pending = payload.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
