//! Tests of the Secret with credentials.

use super::super::ClusterName;
use super::*;

pub(crate) fn identity() -> Identity {
    Identity {
        namespace: "shop".to_owned(),
        name: "app".to_owned(),
        uid: "uid-1".to_owned(),
        generation: 3,
        cluster: ClusterName {
            namespace: "vault".to_owned(),
            name: "main".to_owned(),
        },
    }
}

fn facts() -> Facts {
    Facts {
        role_id: "role-1".to_owned(),
        address: "https://main.vault.svc:8200".to_owned(),
        ca: "PEM".to_owned(),
    }
}

fn state(accessor: Option<&str>) -> State {
    let secret_id = accessor.map_or("", |_| "s3cret");
    State {
        accessor: accessor.map(str::to_owned),
        checksum: checksum("role-1", accessor, secret_id),
        issued: 100,
        expires: None,
        made_with: String::new(),
        request: None,
        previous: Vec::new(),
        unwrapped: Vec::new(),
        wrapping: None,
        restart_pending: false,
        dress: Dress::default(),
    }
}

fn wish(fields: serde_json::Value) -> CredentialsSecret {
    serde_json::from_value(fields).unwrap()
}

fn made(existing: Option<Secret>, wish: &CredentialsSecret, accessor: &str) -> Secret {
    let secret_id = SecretString::from("s3cret");
    dressed(
        existing,
        &identity(),
        ("app-vault", wish),
        &facts(),
        &state(Some(accessor)),
        &secret_id,
    )
    .unwrap()
}

fn stored() -> Secret {
    made(None, &CredentialsSecret::default(), "acc-1")
}

fn is_intact(secret: &Secret, role_id: &str) -> bool {
    State::of(secret).is_some_and(|state| intact_secret_id(secret, &state, role_id).is_some())
}

fn data(secret: &Secret, key: &str) -> Option<String> {
    let value = secret.data.as_ref().unwrap().get(key)?;
    Some(String::from_utf8(value.0.clone()).unwrap())
}

#[test]
fn a_new_secret_has_the_two_keys_its_type_and_its_owner() {
    let secret = stored();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    let keys: Vec<_> = secret.data.as_ref().unwrap().keys().collect();
    assert_eq!(keys, ["role-id", "secret-id"]);
    assert_eq!(data(&secret, "role-id").as_deref(), Some("role-1"));
    assert_eq!(data(&secret, "secret-id").as_deref(), Some("s3cret"));
    assert!(is_ours(&secret.metadata, &identity()));
    assert!(is_intact(&secret, "role-1"));
    let meta = format!("{:?}", secret.metadata);
    assert!(!meta.contains("s3cret"), "no secret in metadata: {meta}");
}

#[test]
fn the_users_names_labels_annotations_and_type_are_on_it() {
    let wish = wish(serde_json::json!({
        "type": "example.com/vault", "labels": { "team": "a" }, "annotations": { "note": "b" },
        "keys": { "roleId": "ROLE", "secretId": "ID", "accessor": "ACC", "address": "ADDR", "ca": "ca.crt" },
    }));
    let secret = made(None, &wish, "acc-1");
    assert_eq!(secret.type_.as_deref(), Some("example.com/vault"));
    for (key, value) in [
        ("ROLE", "role-1"),
        ("ID", "s3cret"),
        ("ACC", "acc-1"),
        ("ADDR", "https://main.vault.svc:8200"),
        ("ca.crt", "PEM"),
    ] {
        assert_eq!(data(&secret, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(secret.data.as_ref().unwrap().len(), 5, "and nothing else");
    assert_eq!(secret.metadata.labels.as_ref().unwrap()["team"], "a");
    assert_eq!(secret.metadata.annotations.as_ref().unwrap()["note"], "b");
    assert!(is_intact(&secret, "role-1"), "found under its own keys");

    // What is not wished any more goes; what somebody else added stays.
    let mut secret = secret;
    let labels = secret.metadata.labels.as_mut().unwrap();
    labels.insert("theirs".to_owned(), "x".to_owned());
    let plain = made(Some(secret), &CredentialsSecret::default(), "acc-1");
    let keys: Vec<_> = plain.data.as_ref().unwrap().keys().collect();
    assert_eq!(keys, ["role-id", "secret-id"]);
    let labels = plain.metadata.labels.as_ref().unwrap();
    assert!(!labels.contains_key("team") && labels.contains_key("theirs"));
    assert!(!plain.metadata.annotations.as_ref().unwrap().contains_key("note"));
}

#[test]
fn at_rest_the_secret_is_what_it_is_to_be() {
    let mut secret = stored();
    secret.metadata.resource_version = Some("7".to_owned());
    let again = made(Some(secret.clone()), &CredentialsSecret::default(), "acc-1");
    assert_eq!(again, secret, "so that nothing is written");
}

#[test]
fn a_login_without_a_secret_id_has_the_role_id_alone() {
    let none = SecretString::from("");
    let secret = dressed(
        Some(stored()),
        &identity(),
        ("app-vault", &CredentialsSecret::default()),
        &facts(),
        &state(None),
        &none,
    )
    .unwrap();
    let keys: Vec<_> = secret.data.as_ref().unwrap().keys().collect();
    assert_eq!(keys, ["role-id"], "the secret-id is removed");
    let annotations = secret.metadata.annotations.as_ref().unwrap();
    assert!(!annotations.contains_key(SECRET_ID_ACCESSOR));
    assert!(is_intact(&secret, "role-1"));
}

#[test]
fn a_wrapped_secret_id_is_not_in_the_secret_but_its_token_is() {
    let wrapped = State {
        wrapping: Some(Wrapping {
            path: "auth/approle/role/shop.app/secret-id".to_owned(),
            ttl: 1800,
            issued: 100,
        }),
        ..state(Some("acc-1"))
    };
    let token = SecretString::from("s3cret");
    let secret = dressed(
        Some(stored()),
        &identity(),
        ("app-vault", &CredentialsSecret::default()),
        &facts(),
        &wrapped,
        &token,
    )
    .unwrap();
    let keys: Vec<_> = secret.data.as_ref().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "role-id",
            "wrapping-token",
            "wrapping-token-creation-path",
            "wrapping-token-ttl"
        ]
    );
    assert_eq!(data(&secret, "wrapping-token").as_deref(), Some("s3cret"));
    assert_eq!(data(&secret, "wrapping-token-ttl").as_deref(), Some("1800"));
    assert!(is_intact(&secret, "role-1"));
    assert_eq!(
        made(Some(secret), &CredentialsSecret::default(), "acc-1"),
        stored(),
        "and back"
    );
}

#[test]
fn a_secret_that_was_edited_is_not_intact() {
    type Edit = fn(&mut Secret);
    let other = || ByteString(b"other".to_vec());
    let edits: [(&str, Edit); 5] = [
        ("the secret-id", |s| {
            s.data
                .as_mut()
                .unwrap()
                .insert("secret-id".to_owned(), ByteString(b"other".to_vec()));
        }),
        ("the role-id", |s| {
            s.data
                .as_mut()
                .unwrap()
                .insert("role-id".to_owned(), ByteString(b"other".to_vec()));
        }),
        ("a key removed", |s| {
            s.data.as_mut().unwrap().remove("secret-id");
        }),
        ("the accessor", |s| {
            s.metadata
                .annotations
                .as_mut()
                .unwrap()
                .insert(SECRET_ID_ACCESSOR.to_owned(), "x".to_owned());
        }),
        ("the annotations", |s| s.metadata.annotations = None),
    ];
    for (what, edit) in edits {
        let mut secret = stored();
        edit(&mut secret);
        assert!(!is_intact(&secret, "role-1"), "{what} was edited");
    }
    assert!(
        !is_intact(&stored(), "role-2"),
        "the role in Vault is another one"
    );
    let mut bytes = stored();
    let data = bytes.data.as_mut().unwrap();
    data.insert("secret-id".to_owned(), ByteString(vec![0xff]));
    data.insert("theirs".to_owned(), other());
    assert!(!is_intact(&bytes, "role-1"), "no text at all");
}

#[test]
fn what_others_added_stays_when_credentials_are_replaced() {
    let mut secret = stored();
    secret.metadata.resource_version = Some("7".to_owned());
    let labels = secret.metadata.labels.as_mut().unwrap();
    labels.insert("team".to_owned(), "a".to_owned());
    let data = secret.data.as_mut().unwrap();
    data.insert("extra".to_owned(), ByteString(b"x".to_vec()));
    let replaced = made(Some(secret), &CredentialsSecret::default(), "acc-2");
    assert_eq!(replaced.metadata.labels.as_ref().unwrap()["team"], "a");
    assert!(replaced.data.as_ref().unwrap().contains_key("extra"));
    assert_eq!(
        replaced.metadata.resource_version.as_deref(),
        Some("7"),
        "or two writers could succeed"
    );
    let owners = replaced.metadata.owner_references.as_ref().unwrap().len();
    assert_eq!(owners, 1, "owned once");
    assert_eq!(State::of(&replaced).unwrap().accessor.as_deref(), Some("acc-2"));
}

#[test]
fn a_secret_of_an_earlier_role_of_the_same_name_is_not_ours() {
    let later = Identity {
        uid: "uid-2".to_owned(),
        ..identity()
    };
    assert!(!is_ours(&stored().metadata, &later));
}

#[test]
fn a_long_name_still_makes_a_valid_label() {
    let long = Identity {
        name: "a".repeat(100),
        ..identity()
    };
    assert!(labels(&long)[ROLE].len() <= 63);
}
