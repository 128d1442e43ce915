//! The key Secret: what it holds and how that is read. Pure; `key_store` does the I/O.
//!
//! One Secret per VaultCluster in the operator's namespace, without an owner reference. Its `state` says how
//! far the initialisation went:
//!
//! - `initializing`: the marker, written before `sys/init`. With it and without shares, a member that says it
//!   is initialised has lost us its reply: nobody can open that store.
//! - `wiping`: the store of a lost reply is being thrown away.
//! - `initialized`: the shares are here. There is never a second init. Where people hold the shares, `custody` says who
//!   does, and the shares are here only as they were encrypted to them. While the seal is changed to another kind, `seal`
//!   says what the keys are, and they have the names of both kinds.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, Serialize};
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::custody::{Attempt, Custody};
use super::migration::SealNote;

/// Key of the state.
pub const STATE: &str = "state";
/// Key of the number that tells one attempt to initialise from the next.
pub const ATTEMPT: &str = "attempt";
/// Key of the identity that the operator's login is bound to: the UID of the first VaultCluster object.
pub const IDENTITY: &str = "identity";
/// Key of the UID of the volume that is being thrown away.
pub const WIPING_VOLUME: &str = "wiping-volume";
/// Key of the number of shares that unseal.
pub const THRESHOLD: &str = "threshold";
/// Key of the root token, which is here only until the operator's own login is proven.
pub const ROOT_TOKEN: &str = "root-token";
/// Prefix of the keys of the shares: `share-1`, `share-2`, …
pub const SHARE_PREFIX: &str = "share-";
/// Prefix of the keys of the recovery keys of a cluster that unseals itself: `recovery-key-1`, …
pub const RECOVERY_PREFIX: &str = "recovery-key-";
/// Key of the custody in force.
pub const CUSTODY: &str = "custody";
/// Prefix of the keys of encrypted shares, before the name of the custodian.
pub const ENCRYPTED_PREFIX: &str = "encrypted-share-";
/// Key of the attempts to hand the shares over, until one is known to have succeeded.
pub const HAND_OVER: &str = "hand-over";
/// Key of what is known of the seal: see [`SealNote`].
pub const SEAL: &str = "seal";
/// Annotation: which container of each member was last seen unsealed, and which members are latched.
pub const SEAL_RECORD: &str = "vaultkeeper.dev/seal-record";

/// How far the initialisation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The marker is there.
    Initializing,
    /// A store that nobody can open is being thrown away.
    Wiping,
    /// The shares are stored.
    Initialized,
}

impl State {
    /// The word in the Secret.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Wiping => "wiping",
            Self::Initialized => "initialized",
        }
    }
}

/// What the stored keys do. Either way they are what a root token or a rekey takes, and are shown only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// They unseal.
    Unseal,
    /// The members unseal themselves; these authorise the rest.
    Recovery,
}

impl KeyKind {
    /// Prefix of their keys in the Secret.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Unseal => SHARE_PREFIX,
            Self::Recovery => RECOVERY_PREFIX,
        }
    }

    /// What the same keys are under the other kind of seal.
    pub fn other(self) -> Self {
        match self {
            Self::Unseal => Self::Recovery,
            Self::Recovery => Self::Unseal,
        }
    }

    /// The words of a message.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unseal => "unseal shares",
            Self::Recovery => "recovery keys",
        }
    }
}

/// Memory of unsealed containers and deliberate seals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SealRecord {
    /// Member → the container that was last seen unsealed.
    pub unsealed: BTreeMap<String, String>,
    /// Members that somebody sealed on purpose.
    pub latched: BTreeSet<String>,
    /// What was written there is gone or cannot be read: nobody knows which members were sealed on purpose.
    #[serde(skip)]
    pub damaged: bool,
}

impl SealRecord {
    /// A memory that is not there any more.
    fn lost() -> Self {
        Self {
            damaged: true,
            ..Self::default()
        }
    }
}

/// The content of a key Secret.
#[derive(Debug)]
pub struct KeyRecord {
    /// How far the initialisation went.
    pub state: State,
    /// Tells one attempt from the next.
    pub attempt: String,
    /// What the operator's login is bound to.
    pub identity: String,
    /// UID of the volume that is being thrown away.
    pub wiping_volume: Option<String>,
    /// What the shares do.
    pub kind: KeyKind,
    /// The shares, in order.
    pub shares: Vec<SecretString>,
    /// How many of them are stored under the name of the other kind as well, as they are during a seal migration.
    pub also_named: usize,
    /// What is known of the seal, where that is more than the kind of the keys.
    pub seal: Option<SealNote>,
    /// The same as it is written.
    pub seal_text: Option<String>,
    /// How many of them unseal.
    pub threshold: usize,
    /// The root token of the initialisation, until it is revoked.
    pub root_token: Option<SecretString>,
    /// Who holds the shares, if people do. There are none in `shares` then.
    pub custody: Option<Custody>,
    /// Their shares by their name, each a PGP message.
    pub encrypted: BTreeMap<String, Vec<u8>>,
    /// Attempts to hand the shares over whose outcome is not known.
    pub hand_over: Vec<Attempt>,
    /// Memory of unsealed containers and deliberate seals.
    pub seals: SealRecord,
    /// Version of the Secret that was read.
    pub resource_version: String,
}

/// Why a key Secret could not be understood. It is never overwritten then.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Secret {secret} does not hold a valid `{key}`: restore it from a backup, since it holds the only keys of this cluster"
)]
pub struct Unreadable {
    secret: String,
    key: &'static str,
}

/// Reads a key Secret.
pub fn read(secret: &Secret) -> Result<KeyRecord, Unreadable> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let bad = |key| Unreadable {
        secret: name.clone(),
        key,
    };
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let text = |key: &str| {
        data.get(key)
            .and_then(|b| std::str::from_utf8(&b.0).ok())
            .map(str::trim)
            .filter(|t| !t.is_empty())
    };
    let state = match text(STATE).ok_or_else(|| bad(STATE))? {
        "initializing" => State::Initializing,
        "wiping" => State::Wiping,
        "initialized" => State::Initialized,
        _ => return Err(bad(STATE)),
    };
    let stored = |kind: KeyKind| -> Vec<SecretString> {
        (1..=255)
            .map_while(|n| text(&format!("{}{n}", kind.prefix())))
            .map(SecretString::from)
            .collect()
    };
    let seal: Option<SealNote> = text(SEAL)
        .map(serde_json::from_str)
        .transpose()
        .map_err(|_| bad(SEAL))?;
    let kind = match (&seal, stored(KeyKind::Recovery).is_empty()) {
        (Some(note), _) => note.in_force.keys(),
        (None, true) => KeyKind::Unseal,
        (None, false) => KeyKind::Recovery,
    };
    let shares = stored(kind);
    let also_named = stored(kind.other()).len();
    let threshold = match text(THRESHOLD) {
        Some(number) => number.parse().map_err(|_| bad(THRESHOLD))?,
        None => 0,
    };
    let custody: Option<Custody> = text(CUSTODY)
        .map(serde_json::from_str)
        .transpose()
        .map_err(|_| bad(CUSTODY))?;
    let hand_over = text(HAND_OVER).map(serde_json::from_str).transpose();
    let hand_over: Option<Vec<Attempt>> = hand_over.map_err(|_| bad(HAND_OVER))?;
    let encrypted = data.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(ENCRYPTED_PREFIX)?;
        Some((name.to_owned(), value.0.clone()))
    });
    if state == State::Initialized && custody.is_none() && (threshold == 0 || shares.len() < threshold) {
        return Err(bad("share-N"));
    }
    // Somebody has set the state back. What follows from it would throw away the store that these shares open.
    if state != State::Initialized && (custody.is_some() || !shares.is_empty()) {
        return Err(bad(STATE));
    }
    let seals = match secret
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(SEAL_RECORD))
    {
        // The shares are all right: a damaged note beside them must not make the keys unusable.
        Some(json) => serde_json::from_str(json).unwrap_or_else(|_| SealRecord::lost()),
        // The marker has one from the beginning: a Secret without it was made anew by hand.
        None if state == State::Initialized => SealRecord::lost(),
        None => SealRecord::default(),
    };
    Ok(KeyRecord {
        state,
        attempt: text(ATTEMPT).ok_or_else(|| bad(ATTEMPT))?.to_owned(),
        identity: text(IDENTITY).ok_or_else(|| bad(IDENTITY))?.to_owned(),
        wiping_volume: text(WIPING_VOLUME).map(str::to_owned),
        kind,
        shares,
        also_named,
        seal,
        seal_text: text(SEAL).map(str::to_owned),
        threshold,
        root_token: text(ROOT_TOKEN).map(SecretString::from),
        custody,
        encrypted: encrypted.collect(),
        hand_over: hand_over.unwrap_or_default(),
        seals,
        resource_version: secret.metadata.resource_version.clone().unwrap_or_default(),
    })
}

/// The data that one write adds when `sys/init` has answered.
pub fn initialized_data(
    kind: KeyKind,
    shares: &[SecretString],
    threshold: usize,
    root_token: &SecretString,
) -> BTreeMap<String, ByteString> {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data: BTreeMap<String, ByteString> = shares
        .iter()
        .enumerate()
        .map(|(n, share)| {
            (
                format!("{}{}", kind.prefix(), n + 1),
                bytes(share.expose_secret()),
            )
        })
        .collect();
    data.insert(STATE.to_owned(), bytes(State::Initialized.as_str()));
    data.insert(THRESHOLD.to_owned(), bytes(&threshold.to_string()));
    data.insert(ROOT_TOKEN.to_owned(), bytes(root_token.expose_secret()));
    data
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What is stored of a usual cluster, for the tests of all who decide by it: they name what matters to them.
    pub(crate) fn record(state: State) -> KeyRecord {
        KeyRecord {
            state,
            attempt: "a".to_owned(),
            identity: "u".to_owned(),
            wiping_volume: None,
            kind: KeyKind::Unseal,
            shares: vec![SecretString::from("s")],
            also_named: 0,
            seal: None,
            seal_text: None,
            threshold: 1,
            root_token: None,
            custody: None,
            encrypted: BTreeMap::new(),
            hand_over: Vec::new(),
            seals: SealRecord::default(),
            resource_version: "1".to_owned(),
        }
    }

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        Secret {
            data: Some(
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    const MARKER: [(&str, &str); 3] = [("state", "initializing"), ("attempt", "a1"), ("identity", "u-1")];

    #[test]
    fn what_the_single_write_adds_is_read_back_whole() {
        let shares: Vec<SecretString> = ["s1", "s2", "s3"].map(SecretString::from).into();
        let mut stored = secret(&MARKER);
        stored.data.as_mut().unwrap().extend(initialized_data(
            KeyKind::Unseal,
            &shares,
            2,
            &SecretString::from("root"),
        ));
        let record = read(&stored).unwrap();
        assert_eq!(record.state, State::Initialized);
        assert_eq!(
            record
                .shares
                .iter()
                .map(ExposeSecret::expose_secret)
                .collect::<Vec<_>>(),
            ["s1", "s2", "s3"]
        );
        assert_eq!((record.threshold, record.attempt.as_str()), (2, "a1"));
        assert_eq!(record.root_token.unwrap().expose_secret(), "root");
    }

    #[test]
    fn recovery_keys_are_told_apart_from_unseal_shares() {
        let keys: Vec<SecretString> = ["k1", "k2"].map(SecretString::from).into();
        let mut stored = secret(&MARKER);
        stored.data.as_mut().unwrap().extend(initialized_data(
            KeyKind::Recovery,
            &keys,
            2,
            &SecretString::from("root"),
        ));
        let record = read(&stored).unwrap();
        assert_eq!(
            (record.kind, record.shares.len(), record.threshold),
            (KeyKind::Recovery, 2, 2)
        );
    }

    #[test]
    fn keys_with_both_names_are_what_the_note_of_the_seal_says() {
        let note = |in_force: &str| format!(r#"{{"inForce":"{in_force}","target":"auto","migrations":1}}"#);
        let stored = |seal: &str| {
            let mut pairs = vec![
                ("state", "initialized"),
                ("attempt", "a"),
                ("identity", "u"),
                ("threshold", "2"),
            ];
            pairs.extend([("share-1", "x"), ("share-2", "y"), ("seal", seal)]);
            pairs.extend([("recovery-key-1", "x"), ("recovery-key-2", "y")]);
            read(&secret(&pairs))
        };
        for (word, kind) in [("shamir", KeyKind::Unseal), ("auto", KeyKind::Recovery)] {
            let record = stored(&note(word)).unwrap();
            assert_eq!(
                (record.kind, record.shares.len(), record.also_named),
                (kind, 2, 2)
            );
        }
        assert!(stored("{").is_err(), "a damaged note is not guessed at");
    }

    #[test]
    fn a_marker_without_shares_is_not_initialised() {
        let record = read(&secret(&MARKER)).unwrap();
        assert_eq!(record.state, State::Initializing);
        assert!(record.shares.is_empty() && record.root_token.is_none());
    }

    #[test]
    fn an_initialised_record_with_too_few_shares_is_refused_and_names_the_secret() {
        let mut stored = secret(&[
            ("state", "initialized"),
            ("attempt", "a"),
            ("identity", "u"),
            ("threshold", "3"),
            ("share-1", "x"),
        ]);
        stored.metadata.name = Some("vault-keys.vault.main".to_owned());
        let error = read(&stored).unwrap_err().to_string();
        assert!(
            error.contains("vault-keys.vault.main") && error.contains("share-N"),
            "{error}"
        );
    }

    #[test]
    fn shares_that_people_hold_are_not_missed_and_a_damaged_note_of_them_is_refused() {
        let custody = r#"{"threshold":2,"custodians":[{"name":"alice","fingerprint":"a1"},{"name":"bob","fingerprint":"b1"}]}"#;
        let attempts = format!(r#"[{{"nonce":"n1","custody":{custody}}}]"#);
        let pairs = |custody| {
            secret(&[
                ("state", "initialized"),
                ("attempt", "a"),
                ("identity", "u"),
                ("custody", custody),
                ("hand-over", &attempts),
                ("encrypted-share-alice", "message"),
            ])
        };
        let record = read(&pairs(custody)).unwrap();
        assert!(record.shares.is_empty(), "the operator holds none");
        assert_eq!(record.custody.unwrap().custodians[1].name, "bob");
        assert_eq!(record.encrypted["alice"], b"message");
        assert_eq!(record.hand_over[0].nonce, "n1");
        assert!(read(&pairs("{")).is_err());
    }

    #[test]
    fn a_damaged_seal_record_does_not_make_the_shares_unreadable() {
        let mut stored = secret(&MARKER);
        stored.data.as_mut().unwrap().extend(initialized_data(
            KeyKind::Unseal,
            &[SecretString::from("s")],
            1,
            &SecretString::from("root"),
        ));
        stored.metadata.annotations = Some(BTreeMap::from([(SEAL_RECORD.to_owned(), "{".to_owned())]));
        let record = read(&stored).expect("the keys are whole");
        assert_eq!((record.shares.len(), record.seals.damaged), (1, true));

        let written = serde_json::to_string(&record.seals).unwrap();
        stored.metadata.annotations = Some(BTreeMap::from([(SEAL_RECORD.to_owned(), written)]));
        assert!(
            !read(&stored).unwrap().seals.damaged,
            "what is written anew is whole"
        );
    }

    #[test]
    fn a_key_secret_that_was_made_anew_by_hand_has_lost_the_memory_of_seals() {
        let mut stored = secret(&MARKER);
        assert!(
            !read(&stored).unwrap().seals.damaged,
            "before the initialisation nothing can have been sealed"
        );
        stored.data.as_mut().unwrap().extend(initialized_data(
            KeyKind::Unseal,
            &[SecretString::from("s")],
            1,
            &SecretString::from("root"),
        ));
        assert!(
            read(&stored).unwrap().seals.damaged,
            "without its annotation nobody knows who was sealed on purpose"
        );
        stored.metadata.annotations = Some(BTreeMap::from([(SEAL_RECORD.to_owned(), "{}".to_owned())]));
        assert!(!read(&stored).unwrap().seals.damaged, "as the marker has it");
    }

    #[test]
    fn a_state_that_was_set_back_beside_the_keys_is_refused_so_that_no_store_is_thrown_away() {
        for state in ["initializing", "wiping"] {
            let marker = [("state", state), ("attempt", "a"), ("identity", "u")];
            assert!(read(&secret(&marker)).is_ok(), "{state}: a marker without keys");
            for (key, value) in [
                ("share-1", "s"),
                ("recovery-key-1", "k"),
                ("custody", r#"{"threshold":2,"custodians":[]}"#),
            ] {
                let mut pairs = marker.to_vec();
                pairs.push((key, value));
                let refused = read(&secret(&pairs)).map(|record| record.state);
                assert_eq!(
                    refused,
                    Err(Unreadable {
                        secret: String::new(),
                        key: STATE
                    }),
                    "{state} with {key}"
                );
            }
        }
    }

    #[test]
    fn debug_output_holds_no_share_and_no_root_token() {
        let shares: Vec<SecretString> = vec![SecretString::from("hidden-share")];
        let mut stored = secret(&MARKER);
        stored.data.as_mut().unwrap().extend(initialized_data(
            KeyKind::Recovery,
            &shares,
            1,
            &SecretString::from("hidden-root"),
        ));
        let text = format!("{:?}", read(&stored).unwrap());
        assert!(!text.contains("hidden"), "{text}");
    }
}
