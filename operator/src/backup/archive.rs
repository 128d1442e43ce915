//! A snapshot's archive: whether it is whole. Vault answers 200 and breaks off in the middle when it cannot go on, so that
//! only what is inside tells: a gzipped tar with its own SHA-256 sums, and the gzip trailer at its very end.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;

use crate::hex::hex;

/// The most that a small member may have, in bytes.
const SMALL: u64 = 1 << 20;
/// The list of sums.
const SUMS: &str = "SHA256SUMS";
/// Members that the list must name.
const SUMMED: [&str; 2] = ["meta.json", "state.bin"];
/// The list, sealed with the key of the barrier: only Vault can check it, and does so at a restore.
const SEALED: &str = "SHA256SUMS.sealed";

/// Why an archive is not a good snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It ends too early, or is no gzipped tar.
    #[error("the snapshot is cut off or damaged: {0}")]
    Unreadable(#[source] io::Error),
    /// A part of it is missing.
    #[error("the snapshot lacks {0}")]
    Lacks(&'static str),
    /// A part is not what the list of sums says.
    #[error("{0} in the snapshot is not what its sum says")]
    Differs(String),
    /// Something is in it that Vault does not put there.
    #[error("the snapshot holds something unexpected")]
    Unexpected,
}

/// What a whole archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Bytes of the state.
    pub state: u64,
}

/// Reads an archive to its end and checks every sum in it.
pub fn check(reader: impl Read) -> Result<Contents, Broken> {
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(reader)));
    let (mut sums, mut found) = (BTreeMap::new(), BTreeMap::new());
    let mut state = 0;
    let mut has_sums = false;
    for entry in archive.entries().map_err(Broken::Unreadable)? {
        let mut entry = entry.map_err(Broken::Unreadable)?;
        let name = entry
            .path()
            .map_err(Broken::Unreadable)?
            .to_string_lossy()
            .into_owned();
        let size = entry.size();
        if found.contains_key(&name) || name != "state.bin" && size > SMALL {
            return Err(Broken::Unexpected);
        }
        match name.as_str() {
            SUMS => {
                let mut text = String::new();
                entry.read_to_string(&mut text).map_err(Broken::Unreadable)?;
                sums.extend(lines(&text));
                has_sums = true;
            }
            SEALED | "meta.json" | "state.bin" => {
                if name == "state.bin" {
                    state = size;
                }
                found.insert(name, sum(&mut entry)?);
            }
            _ => return Err(Broken::Unexpected),
        }
    }
    // What a reader of tars leaves unread holds the trailer of gzip, with sum and length of everything.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Broken::Unreadable)?;
    let mut beyond = [0; 1];
    match rest.into_inner().read(&mut beyond) {
        Ok(0) => {}
        Ok(_) => return Err(Broken::Unexpected),
        Err(error) => return Err(Broken::Unreadable(error)),
    }
    if !has_sums {
        return Err(Broken::Lacks(SUMS));
    }
    for name in SUMMED {
        let is = found.get(name).ok_or(Broken::Lacks(name))?;
        let wanted = sums.get(name).ok_or(Broken::Lacks(SUMS))?;
        if is != wanted {
            return Err(Broken::Differs(name.to_owned()));
        }
    }
    Ok(Contents { state })
}

fn lines(text: &str) -> impl Iterator<Item = (String, String)> {
    let line = |line: &str| {
        let (sum, name) = line.split_once("  ")?;
        Some((name.to_owned(), sum.to_owned()))
    };
    text.lines().filter_map(line)
}

fn sum(reader: &mut impl Read) -> Result<String, Broken> {
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut buffer).map_err(Broken::Unreadable)?;
        if read == 0 {
            return Ok(hex(digest.finish().as_ref()));
        }
        digest.update(&buffer[..read]);
    }
}

/// Reads, in a thread that may block, what is sent from elsewhere. A sender that is dropped without a word is the end.
pub struct Fed {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Fed {
    /// From this channel.
    pub fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
        }
    }
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn sha(bytes: &[u8]) -> String {
        hex(ring::digest::digest(&SHA256, bytes).as_ref())
    }

    fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, data) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, *data).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// An archive as Vault makes it, of this much state that does not compress.
    pub(crate) fn whole(length: usize) -> Vec<u8> {
        let mut state = vec![0; length];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut state).unwrap();
        let meta = br#"{"Version":1,"ID":"bolt-snapshot","Index":39}"#;
        let sums = format!("{}  meta.json\n{}  state.bin\n", sha(meta), sha(&state));
        packed(&[
            ("meta.json", meta),
            ("state.bin", &state),
            ("SHA256SUMS", sums.as_bytes()),
            ("SHA256SUMS.sealed", b"sealed"),
        ])
    }

    #[test]
    fn a_whole_archive_is_good() {
        assert_eq!(check(whole(300_000).as_slice()).unwrap().state, 300_000);
    }

    #[test]
    fn an_archive_that_was_cut_anywhere_is_broken() {
        let good = whole(100_000);
        for length in (0..good.len()).step_by(4_999).chain(good.len() - 40..good.len()) {
            let cut = check(&good[..length]);
            assert!(
                cut.is_err(),
                "{length} of {} bytes were taken for whole",
                good.len()
            );
        }
    }

    #[test]
    fn a_changed_byte_or_one_too_many_is_noticed() {
        let good = whole(50_000);
        for at in (10..good.len()).step_by(1_777) {
            let mut changed = good.clone();
            changed[at] ^= 0x10;
            assert!(check(changed.as_slice()).is_err(), "byte {at} of {}", good.len());
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(
            matches!(check(longer.as_slice()), Err(Broken::Unexpected)),
            "a byte more"
        );
    }

    #[test]
    fn an_archive_without_a_part_or_with_another_sum_is_none_of_vaults() {
        let sums = format!("{}  meta.json\n{}  state.bin\n", sha(b"m"), sha(b"s"));
        let all: [(&str, &[u8]); 3] = [
            ("meta.json", b"m"),
            ("state.bin", b"s"),
            ("SHA256SUMS", sums.as_bytes()),
        ];
        assert!(
            check(packed(&all).as_slice()).is_ok(),
            "without the sealed sums, which Vault may leave out"
        );
        for left_out in 0..3 {
            let some: Vec<_> = all
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != left_out)
                .map(|(_, m)| *m)
                .collect();
            let error = check(packed(&some).as_slice()).unwrap_err();
            assert!(
                matches!(error, Broken::Lacks(_)),
                "without {}: {error}",
                all[left_out].0
            );
        }
        let mut other = all;
        other[1].1 = b"t";
        assert!(
            matches!(check(packed(&other).as_slice()), Err(Broken::Differs(name)) if name == "state.bin")
        );
        let odd = [all[0], all[1], all[2], ("../etc/passwd", b"x".as_slice())];
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, data) in odd {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            // As a hostile writer does: past the check of the library.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, data).unwrap();
        }
        let mut gzip = tar.into_inner().unwrap();
        gzip.flush().unwrap();
        let odd = gzip.finish().unwrap();
        assert!(
            matches!(check(odd.as_slice()), Err(Broken::Unexpected)),
            "a foreign member"
        );
    }
}
