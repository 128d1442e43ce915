//! The Secret with a token: what its annotations say of it, and how a new one looks. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::annotations::{
    CLUSTER, PREVIOUS_TOKEN, PREVIOUS_TOKEN_UNTIL, TOKEN_ACCESSOR, TOKEN_UNTIL,
};
use vaultkeeper_vault::auth::params::TokenParams;

use super::super::Identity;
use super::super::secret::{CHECKSUM, is_ours, labels, owner};
use super::{Delivery, role};
use crate::hex::{checksum, short_hash};

const TYPE: &str = "Opaque";
/// Annotation that shows with which settings the token was minted.
const SETTINGS: &str = "vaultkeeper.dev/token-settings";

/// What the annotations of an intact Secret say of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Accessor; none for a batch token.
    pub accessor: Option<String>,
    /// When it ends, for a token that Vault does not store.
    pub until: Option<Timestamp>,
    /// Whether it was minted with these settings.
    pub current: bool,
}

/// The token that was replaced last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its accessor.
    pub accessor: String,
    /// Until when it stays valid.
    pub until: Timestamp,
}

/// A new token and what is to be noted of it.
#[derive(Debug)]
pub struct Minted<'a> {
    /// The token.
    pub token: &'a str,
    /// Its accessor; empty for a batch token.
    pub accessor: &'a str,
    /// When it ends, for a token that Vault does not store.
    pub until: Option<Timestamp>,
    /// The one before, while it stays valid.
    pub previous: Option<Previous>,
}

/// A fingerprint of what a token is minted with: none of it is secret.
fn fingerprint(token: &TokenParams) -> String {
    let text = format!("{:?} {:?}", role(token), token.ttl);
    short_hash(text.as_bytes(), 8)
}

/// What is noted of the token, if the Secret is as it was stored and where it is wanted.
pub fn noted(secret: &Secret, wanted: &Delivery, token: &TokenParams) -> Option<Noted> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let value = &secret.data.as_ref()?.get(&wanted.key)?.0;
    let get = |key: &str| annotations.get(key).map(String::as_str);
    let (accessor, until) = (get(TOKEN_ACCESSOR), get(TOKEN_UNTIL));
    let settings = get(SETTINGS)?;
    // A token is a long random text, which a hash does not give away.
    let expected = checksum(&[
        value,
        accessor.unwrap_or_default().as_bytes(),
        until.unwrap_or_default().as_bytes(),
        settings.as_bytes(),
    ]);
    if secret.type_.as_deref() != Some(TYPE) || get(CHECKSUM) != Some(expected.as_str()) {
        return None;
    }
    let until = match until {
        Some(until) => Some(until.parse().ok()?),
        None => None,
    };
    Some(Noted {
        accessor: accessor.map(str::to_owned),
        until,
        current: settings == fingerprint(token),
    })
}

/// The token that was replaced and may still be valid. Whose it is Vault has to say.
pub fn previous(secret: &Secret) -> Option<Previous> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let until = annotations.get(PREVIOUS_TOKEN_UNTIL);
    Some(Previous {
        accessor: annotations.get(PREVIOUS_TOKEN)?.clone(),
        // A time that nobody can read is past.
        until: until
            .and_then(|until| until.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

/// Every accessor that a Secret names, intact or not.
pub fn accessors(secret: &Secret) -> Vec<String> {
    let annotations = secret.metadata.annotations.as_ref();
    [TOKEN_ACCESSOR, PREVIOUS_TOKEN]
        .iter()
        .filter_map(|key| annotations?.get(*key).cloned())
        .collect()
}

/// The Secret with a new token, and nothing else in it. Labels and annotations of others stay, and the resourceVersion, so
/// that two writers cannot both succeed.
pub fn with_token(
    existing: Option<Secret>,
    identity: &Identity,
    wanted: &Delivery,
    token: &TokenParams,
    minted: &Minted<'_>,
) -> Secret {
    let mut secret = existing.unwrap_or_default();
    let value = minted.token.as_bytes();
    let settings = fingerprint(token);
    let until = minted.until.map(|until| until.to_string());
    secret.data = Some(BTreeMap::from([(wanted.key.clone(), ByteString(value.to_vec()))]));
    secret.type_ = Some(TYPE.to_owned());

    let meta = &mut secret.metadata;
    meta.name = Some(wanted.secret_name.clone());
    meta.namespace = Some(identity.namespace.clone());
    let checksum = checksum(&[
        value,
        minted.accessor.as_bytes(),
        until.as_deref().unwrap_or_default().as_bytes(),
        settings.as_bytes(),
    ]);
    let accessor = (!minted.accessor.is_empty()).then(|| minted.accessor.to_owned());
    let annotations = meta.annotations.get_or_insert_default();
    let previous = minted.previous.as_ref();
    for (key, value) in [
        (TOKEN_ACCESSOR, accessor),
        (TOKEN_UNTIL, until),
        (SETTINGS, Some(settings)),
        (CHECKSUM, Some(checksum)),
        (CLUSTER, Some(identity.cluster.to_string())),
        (PREVIOUS_TOKEN, previous.map(|previous| previous.accessor.clone())),
        (
            PREVIOUS_TOKEN_UNTIL,
            previous.map(|previous| previous.until.to_string()),
        ),
    ] {
        match value {
            Some(value) => annotations.insert(key.to_owned(), value),
            None => annotations.remove(key),
        };
    }
    let all = meta.labels.get_or_insert_default();
    all.extend(wanted.labels.clone());
    all.extend(labels(identity));
    if !is_ours(meta, identity) {
        meta.owner_references
            .get_or_insert_default()
            .push(owner(identity));
    }
    secret
}

/// The Secret without a word of the token before; with the labels that are wanted now. None where nothing changes.
pub fn settled(secret: &Secret, wanted: &Delivery, forget_previous: bool) -> Option<Secret> {
    let mut settled = secret.clone();
    if forget_previous && let Some(annotations) = &mut settled.metadata.annotations {
        annotations.remove(PREVIOUS_TOKEN);
        annotations.remove(PREVIOUS_TOKEN_UNTIL);
    }
    let labels = settled.metadata.labels.get_or_insert_default();
    labels.extend(wanted.labels.clone());
    (settled != *secret).then_some(settled)
}

#[cfg(test)]
mod tests {
    use super::super::super::secret::tests::identity;
    use super::*;
    use std::time::Duration;

    fn wanted() -> Delivery {
        Delivery {
            secret_name: "app-token".to_owned(),
            key: "token".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        }
    }

    fn params() -> TokenParams {
        TokenParams {
            ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(14400),
            policies: vec!["shop.app".to_owned()],
            ..TokenParams::default()
        }
    }

    fn minted() -> Minted<'static> {
        Minted {
            token: "hvs.s3cret",
            accessor: "acc-1",
            until: None,
            previous: None,
        }
    }

    fn stored() -> Secret {
        with_token(None, &identity(), &wanted(), &params(), &minted())
    }

    #[test]
    fn a_stored_token_is_known_again_and_is_nowhere_but_in_its_key() {
        let secret = stored();
        assert_eq!(secret.data.as_ref().unwrap()["token"].0, b"hvs.s3cret");
        assert!(is_ours(&secret.metadata, &identity()));
        let noted = noted(&secret, &wanted(), &params()).unwrap();
        assert_eq!(noted.accessor.as_deref(), Some("acc-1"));
        assert!(noted.current);
        assert!(!format!("{:?}", secret.metadata).contains("s3cret"));
        assert_eq!(secret.metadata.labels.as_ref().unwrap()["team"], "a");
    }

    type Edit = fn(&mut Secret);

    #[test]
    fn other_settings_make_another_token_and_an_edited_secret_is_not_known() {
        let other = TokenParams {
            num_uses: 5,
            ..params()
        };
        assert!(
            !noted(&stored(), &wanted(), &other).unwrap().current,
            "minted without a limit"
        );
        let edits: [(&str, Edit); 4] = [
            ("the token", |s| {
                s.data
                    .as_mut()
                    .unwrap()
                    .insert("token".to_owned(), ByteString(b"x".to_vec()));
            }),
            ("the accessor", |s| {
                let annotations = s.metadata.annotations.as_mut().unwrap();
                annotations.insert(TOKEN_ACCESSOR.to_owned(), "acc-2".to_owned());
            }),
            ("an end", |s| {
                let annotations = s.metadata.annotations.as_mut().unwrap();
                annotations.insert(TOKEN_UNTIL.to_owned(), "2100-01-01T00:00:00Z".to_owned());
            }),
            ("the settings", |s| {
                let annotations = s.metadata.annotations.as_mut().unwrap();
                annotations.insert(SETTINGS.to_owned(), "x".to_owned());
            }),
        ];
        for (what, edit) in edits {
            let mut secret = stored();
            edit(&mut secret);
            assert_eq!(noted(&secret, &wanted(), &params()), None, "{what}");
        }
        let elsewhere = Delivery {
            key: "other".to_owned(),
            ..wanted()
        };
        assert_eq!(
            noted(&stored(), &elsewhere, &params()),
            None,
            "the key is another one"
        );
    }

    #[test]
    fn a_replaced_token_is_noted_until_its_time_is_over_and_then_forgotten() {
        let until = Timestamp::from_second(100).unwrap();
        let second = Minted {
            accessor: "acc-2",
            previous: Some(Previous {
                accessor: "acc-1".to_owned(),
                until,
            }),
            ..minted()
        };
        let mut before = stored();
        before.metadata.resource_version = Some("7".to_owned());
        let secret = with_token(Some(before), &identity(), &wanted(), &params(), &second);
        assert_eq!(secret.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(secret.metadata.owner_references.as_ref().unwrap().len(), 1);
        assert_eq!(previous(&secret).unwrap().until, until);
        assert_eq!(accessors(&secret), ["acc-2", "acc-1"]);
        assert_eq!(settled(&secret, &wanted(), false), None, "nothing to do yet");
        let later = settled(&secret, &wanted(), true).unwrap();
        assert_eq!(previous(&later), None);
        assert!(
            noted(&later, &wanted(), &params()).is_some(),
            "the token itself stays"
        );
    }
}
