//! Tests of reading PGP keys. The keys were made by GnuPG 2.2; nobody has their secret parts.

use super::*;

const ALICE: &str = include_str!("openpgp/keys/alice.asc");
const BOB: &str = include_str!("openpgp/keys/bob.asc");
const RSA: &str = include_str!("openpgp/keys/rsa.asc");

/// What `gpg --list-keys` says of it.
const ALICES_FINGERPRINT: &str = "55f07d330fa22a59979618480ce060f10b71ee0b";

#[test]
fn a_key_has_the_fingerprint_that_gpg_shows() {
    let alice = PublicKey::read(ALICE).unwrap();
    assert_eq!(alice.fingerprint, ALICES_FINGERPRINT);
    assert_eq!(alice.expires, None, "it never ends");
    let rsa = PublicKey::read(RSA).unwrap();
    assert_eq!(rsa.fingerprint, "879ccff1442688ec0970d53ec981dabca0d485cc");
}

#[test]
fn armour_and_base64_of_one_key_are_the_same() {
    let armored = PublicKey::read(ALICE).unwrap();
    assert_eq!(PublicKey::read(&armored.base64).unwrap(), armored);
    let wrapped = format!("  {}\n{}\n", &armored.base64[..100], &armored.base64[100..]);
    assert_eq!(PublicKey::read(&wrapped).unwrap(), armored, "broken into lines");
    let commented = ALICE.replacen("\n\n", "\nComment: of Alice\nVersion: GnuPG v2\n\n", 1);
    assert_eq!(PublicKey::read(&commented).unwrap(), armored, "with headers");
    let windows = ALICE.replace('\n', "\r\n");
    assert_eq!(
        PublicKey::read(&windows).unwrap(),
        armored,
        "with other ends of lines"
    );
}

#[test]
fn a_key_that_ends_some_day_is_current_until_then() {
    let key = PublicKey::read(include_str!("openpgp/keys/until-2030.asc")).unwrap();
    assert_eq!(key.expires, Some(1_893_499_200), "as gpg shows it");
    assert!(key.is_current(1_893_499_199) && !key.is_current(1_893_499_200));
    let expired = PublicKey::read(include_str!("openpgp/keys/expired.asc")).unwrap();
    assert_eq!(expired.expires, Some(1_609_372_800), "the primary key ended");
    let subkey = PublicKey::read(include_str!("openpgp/keys/subkey-expired.asc")).unwrap();
    assert_eq!(
        subkey.expires,
        Some(1_580_428_800),
        "the primary key lives on, but nothing can be encrypted to it"
    );
}

#[test]
fn a_key_to_which_nothing_can_be_encrypted_says_why() {
    let problem = |text: &str| PublicKey::read(text).unwrap_err();
    assert_eq!(
        problem(include_str!("openpgp/keys/sign-only.asc")),
        Problem::CannotEncrypt
    );
    assert_eq!(
        problem(include_str!("openpgp/keys/revoked.asc")),
        Problem::Revoked
    );
    assert_eq!(problem("keybase:alice"), Problem::NotAKey);
    assert_eq!(problem(""), Problem::NotAKey);
    assert_eq!(
        problem(&ALICE.replace("-----END", "END")),
        Problem::NotAKey,
        "cut off"
    );
    let private = ALICE.replace("PUBLIC KEY", "PRIVATE KEY");
    assert_eq!(problem(&private), Problem::Private);
    let both = [ALICE, BOB].map(|text| STANDARD.decode(PublicKey::read(text).unwrap().base64).unwrap());
    assert_eq!(problem(&STANDARD.encode(both.concat())), Problem::Several);
}

#[test]
fn a_private_key_without_its_armour_is_recognised_too() {
    let mut bytes = STANDARD.decode(PublicKey::read(ALICE).unwrap().base64).unwrap();
    assert_eq!(bytes[0], 0x98, "an old header with tag 6");
    bytes[0] = 0x94; // tag 5, a secret key
    assert_eq!(
        PublicKey::read(&STANDARD.encode(bytes)).unwrap_err(),
        Problem::Private
    );
}

#[test]
fn no_damage_makes_the_reader_stop_otherwise_than_with_an_answer() {
    let whole = STANDARD.decode(PublicKey::read(ALICE).unwrap().base64).unwrap();
    for length in 0..whole.len() {
        // The end of a packet is a whole key, if only one that cannot encrypt.
        let _ = PublicKey::read(&STANDARD.encode(&whole[..length]));
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        let _ = PublicKey::read(&STANDARD.encode(damaged));
    }
}
