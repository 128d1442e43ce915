//! Fetches a backup back: compared with what was stored, decrypted with the operator's own key, and every sum in it checked,
//! while it arrives. What it is needed for may take it along.

use bytes::Bytes;
use ring::digest::{self, SHA256};

use super::age::{self, Decryptor};
use super::error::Error;
use super::open::Opened;
use super::take::Checking;
use crate::hex::hex;

/// What an object must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub object: String,
    pub size: u64,
    pub sha256: String,
}

/// Takes pieces of the plain snapshot along.
pub(super) trait Along {
    /// Takes a piece. An error ends the fetching.
    async fn take(&mut self, piece: Bytes) -> Result<(), Error>;
}

/// Nobody does.
pub(super) struct Nobody;

impl Along for Nobody {
    async fn take(&mut self, _: Bytes) -> Result<(), Error> {
        Ok(())
    }
}

/// Fetches an object to its end. Only what returns without an error is a good backup.
pub(super) async fn fetch(opened: &Opened, wanted: &Wanted, along: &mut impl Along) -> Result<(), Error> {
    let Wanted { object, size, sha256 } = wanted;
    let gone = || Error::Gone {
        object: object.clone(),
    };
    let differs = |what: String| Error::Differs {
        object: object.clone(),
        what,
    };
    let undecipherable = |source| match source {
        age::Error::OtherRecipients => Error::Decrypt {
            object: object.clone(),
            source,
        },
        changed => differs(changed.to_string()),
    };
    let mut download = opened.s3.get(object).await?.ok_or_else(gone)?;
    if let Some(length) = download.length().filter(|length| length != size) {
        return Err(differs(format!("{length} bytes instead of {size}")));
    }
    let checking = Checking::begin();
    let mut decryptor = Decryptor::new(opened.identity.clone());
    let (mut digest, mut length) = (digest::Context::new(&SHA256), 0);
    let mut well = true;
    while let Some(piece) = download.chunk().await? {
        digest.update(&piece);
        length += piece.len() as u64;
        if length > *size {
            return Err(differs(format!("more than {size} bytes")));
        }
        let mut plain = Vec::new();
        decryptor.update(&piece, &mut plain).map_err(undecipherable)?;
        let plain = Bytes::from(plain);
        if !plain.is_empty() {
            well &= well && checking.feed(plain.clone()).await;
            along.take(plain).await?;
        }
    }
    if length != *size {
        return Err(differs(format!("{length} bytes instead of {size}")));
    }
    let is = hex(digest.finish().as_ref());
    if is != *sha256 {
        return Err(differs(format!("SHA-256 {is} instead of {sha256}")));
    }
    let mut plain = Vec::new();
    decryptor.finish(&mut plain).map_err(undecipherable)?;
    if well && !plain.is_empty() {
        let plain = Bytes::from(plain);
        checking.feed(plain.clone()).await;
        along.take(plain).await?;
    }
    checking.end().await.map(drop)
}
