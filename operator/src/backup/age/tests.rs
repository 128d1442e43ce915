use ring::rand::SystemRandom;
use vaultkeeper_vault::{ExposeSecret as _, SecretString};

use super::*;

fn sealed(plain: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encryptor = Encryptor::new(recipients, &SystemRandom::new(), &mut out).unwrap();
    for piece in plain.chunks(10_000) {
        encryptor.update(piece, &mut out).unwrap();
    }
    encryptor.finish(&mut out).unwrap();
    out
}

fn opened(file: &[u8], identity: &Identity, step: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut decryptor = Decryptor::new(identity.clone());
    for piece in file.chunks(step.max(1)) {
        decryptor.update(piece, &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

fn identity() -> Identity {
    Identity::generate(&SystemRandom::new()).unwrap()
}

#[test]
fn every_recipient_reads_what_was_encrypted_whatever_its_length() {
    let (a, b) = (identity(), identity());
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7] {
        let plain: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let file = sealed(&plain, &[a.recipient(), b.recipient()]);
        for reader in [&a, &b] {
            assert_eq!(opened(&file, reader, 7_777), Ok(plain.clone()), "{length} bytes");
        }
        assert_eq!(
            opened(&file, &identity(), 7_777),
            Err(Error::OtherRecipients),
            "a stranger"
        );
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_never_taken_for_whole() {
    let reader = identity();
    let plain = vec![7; 2 * PIECE + 100];
    let file = sealed(&plain, &[reader.recipient()]);
    let payload = file.len() - (plain.len() + 3 * TAG);
    let piece = PIECE + TAG;
    for length in [
        0,
        10,
        payload - 1,
        payload,
        payload + 5,
        payload + piece - 1,
        payload + piece,
        payload + piece + 1,
        payload + piece + TAG,
        payload + 2 * piece,
        payload + 2 * piece + TAG,
        file.len() - 1,
    ] {
        let read = opened(&file[..length], &reader, 50_000);
        assert!(
            read.is_err(),
            "cut to {length} of {} bytes: {:?}",
            file.len(),
            read.map(|p| p.len())
        );
    }
    assert_eq!(
        opened(&file[..payload + piece], &reader, 50_000),
        Err(Error::Truncated),
        "a cut between two pieces is told as one"
    );
}

#[test]
fn a_changed_byte_is_noticed_in_the_header_and_in_the_payload() {
    let reader = identity();
    let file = sealed(&vec![7; PIECE + 5], &[reader.recipient(), identity().recipient()]);
    for at in (22..file.len()).step_by(997).chain([24, 60, 130, file.len() - 1]) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(opened(&changed, &reader, 9_999).is_err(), "byte {at} was changed");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(opened(&longer, &reader, 9_999).is_err(), "a byte more");
    assert_eq!(opened(b"age-encryption.org/v2\n", &reader, 5), Err(Error::NotAge));
    assert_eq!(opened(b"", &reader, 5), Err(Error::Truncated), "an empty object");
    assert_eq!(
        opened(&vec![b'x'; 100_000], &reader, 500),
        Err(Error::NotAge),
        "no header at all"
    );
}

#[test]
fn an_identity_is_written_as_it_is_read() {
    let written = identity().to_text();
    assert!(
        written.expose_secret().starts_with("AGE-SECRET-KEY-1"),
        "as age-keygen writes it"
    );
    let read = Identity::parse(&written).unwrap();
    assert_eq!(read.to_text().expose_secret(), written.expose_secret());
}

#[test]
fn a_key_that_is_none_is_refused() {
    let public = identity().recipient().to_string();
    assert_eq!(
        public.parse::<Recipient>().map(|r| r.to_string()),
        Ok(public.clone())
    );
    for bad in [
        "",
        "age1",
        &public[..50],
        &public.replace("age1", "bge1"),
        &format!("{public}q"),
    ] {
        assert_eq!(bad.parse::<Recipient>(), Err(Error::Recipient), "{bad}");
    }
    assert_eq!(
        Identity::parse(&SecretString::from(public)).err(),
        Some(Error::Identity),
        "the public half is no identity"
    );
    let zero = Recipient(x25519_dalek::PublicKey::from([0; 32]));
    let refused = Encryptor::new(&[zero], &SystemRandom::new(), &mut Vec::new());
    assert_eq!(
        refused.err(),
        Some(Error::Recipient),
        "a key that makes every secret known"
    );
}
