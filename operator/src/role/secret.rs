//! The Secret with AppRole credentials: whose it is, whether it is intact, and how a new one looks. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use vaultkeeper_crds::annotations::{CLUSTER, FIELD_MANAGER, ROLE, SECRET_ID_ACCESSOR};
use vaultkeeper_vault::ExposeSecret;
use vaultkeeper_vault::auth::approle::SecretId;

use super::Identity;
use crate::hex::hex;

/// Key of the role-id.
pub const ROLE_ID: &str = "role-id";
/// Key of the secret-id.
pub const SECRET_ID: &str = "secret-id";
/// Annotation that shows whether the credentials are those that were stored. The secret-id in it is a random
/// 122-bit number, which a hash does not give away.
pub const CHECKSUM: &str = "vaultkeeper.dev/credentials-checksum";

const TYPE: &str = "Opaque";

/// The reference that marks an object as a VaultRole's and lets the garbage collector remove it.
pub fn owner(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", vaultkeeper_crds::GROUP, vaultkeeper_crds::VERSION),
        kind: "VaultRole".to_owned(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        ..OwnerReference::default()
    }
}

/// Whether an object is marked as this VaultRole's.
pub fn is_ours(meta: &ObjectMeta, identity: &Identity) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "VaultRole" && owner.uid == identity.uid)
}

/// The accessor of the secret-id in a Secret whose credentials are those that were stored, for this role-id.
pub fn intact_accessor<'a>(secret: &'a Secret, role_id: &str) -> Option<&'a str> {
    let data = secret.data.as_ref()?;
    let annotations = secret.metadata.annotations.as_ref()?;
    let accessor = annotations.get(SECRET_ID_ACCESSOR)?;
    let expected = annotations.get(CHECKSUM)?;
    let (stored_role_id, secret_id) = (&data.get(ROLE_ID)?.0, &data.get(SECRET_ID)?.0);
    let intact = secret.type_.as_deref() == Some(TYPE)
        && stored_role_id == role_id.as_bytes()
        && *expected == checksum(role_id, accessor, secret_id);
    intact.then_some(accessor)
}

fn checksum(role_id: &str, accessor: &str, secret_id: &[u8]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [role_id.as_bytes(), accessor.as_bytes(), secret_id] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    hex(&context.finish().as_ref()[..16])
}

/// The Secret with new credentials. What others have added to an existing one stays, and its resourceVersion,
/// so that two writers cannot both succeed.
pub fn with_credentials(
    existing: Option<Secret>,
    identity: &Identity,
    name: &str,
    role_id: &str,
    issued: &SecretId,
) -> Secret {
    let mut secret = existing.unwrap_or_default();
    let secret_id = issued.secret_id.expose_secret().as_bytes();

    let data = secret.data.get_or_insert_default();
    data.insert(ROLE_ID.to_owned(), ByteString(role_id.as_bytes().to_vec()));
    data.insert(SECRET_ID.to_owned(), ByteString(secret_id.to_vec()));
    secret.type_ = Some(TYPE.to_owned());

    let meta = &mut secret.metadata;
    meta.name = Some(name.to_owned());
    meta.namespace = Some(identity.namespace.clone());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(SECRET_ID_ACCESSOR.to_owned(), issued.secret_id_accessor.clone());
    annotations.insert(
        CHECKSUM.to_owned(),
        checksum(role_id, &issued.secret_id_accessor, secret_id),
    );
    annotations.insert(CLUSTER.to_owned(), identity.cluster.to_string());
    meta.labels.get_or_insert_default().extend(labels(identity));
    if !is_ours(meta, identity) {
        meta.owner_references
            .get_or_insert_default()
            .push(owner(identity));
    }
    secret
}

/// Labels of a VaultRole's objects. A label holds at most 63 characters and a VaultRole's name may be longer.
pub fn labels(identity: &Identity) -> BTreeMap<String, String> {
    let role = if identity.name.len() <= 63 {
        &identity.name
    } else {
        &identity.uid
    };
    BTreeMap::from([
        (
            "app.kubernetes.io/managed-by".to_owned(),
            FIELD_MANAGER.to_owned(),
        ),
        (ROLE.to_owned(), role.clone()),
    ])
}

/// What to do about secret-ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The stored one is good; these others belong to nobody: a crash came between making and storing them.
    Keep {
        /// Accessors to destroy.
        destroy: Vec<String>,
    },
    /// There is none, or what is stored was changed or is not known to Vault: make one.
    Issue,
}

/// Decides by the accessor of intact stored credentials and the accessors that Vault has at this role.
pub fn plan(stored: Option<&str>, known: &[String]) -> Plan {
    match stored {
        Some(stored) if known.iter().any(|accessor| accessor == stored) => Plan::Keep {
            destroy: others(stored, known),
        },
        _ => Plan::Issue,
    }
}

/// All accessors but the stored one.
pub fn others(stored: &str, known: &[String]) -> Vec<String> {
    known
        .iter()
        .filter(|accessor| *accessor != stored)
        .cloned()
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
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

    fn issued(accessor: &str) -> SecretId {
        serde_json::from_value(serde_json::json!({ "secret_id": "s3cret", "secret_id_accessor": accessor }))
            .unwrap()
    }

    fn stored() -> Secret {
        with_credentials(None, &identity(), "app-vault", "role-1", &issued("acc-1"))
    }

    #[test]
    fn a_new_secret_has_the_two_keys_its_type_and_its_owner() {
        let secret = stored();
        assert_eq!(secret.type_.as_deref(), Some("Opaque"));
        let data = secret.data.as_ref().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["role-id", "secret-id"]);
        assert_eq!(data["role-id"].0, b"role-1");
        assert_eq!(data["secret-id"].0, b"s3cret");
        assert!(is_ours(&secret.metadata, &identity()));
        assert_eq!(intact_accessor(&secret, "role-1"), Some("acc-1"));
        let annotations = format!("{:?}", secret.metadata);
        assert!(
            !annotations.contains("s3cret"),
            "no secret in metadata: {annotations}"
        );
    }

    #[test]
    fn a_secret_that_was_edited_is_not_intact() {
        type Edit = fn(&mut Secret);
        let edits: [(&str, Edit); 6] = [
            ("the secret-id", |s| {
                s.data
                    .as_mut()
                    .unwrap()
                    .insert(SECRET_ID.to_owned(), ByteString(b"other".to_vec()));
            }),
            ("the role-id", |s| {
                s.data
                    .as_mut()
                    .unwrap()
                    .insert(ROLE_ID.to_owned(), ByteString(b"other".to_vec()));
            }),
            ("a key removed", |s| {
                s.data.as_mut().unwrap().remove(SECRET_ID);
            }),
            ("the accessor", |s| {
                s.metadata
                    .annotations
                    .as_mut()
                    .unwrap()
                    .insert(SECRET_ID_ACCESSOR.to_owned(), "x".to_owned());
            }),
            ("the annotations", |s| s.metadata.annotations = None),
            ("the type", |s| s.type_ = Some("x/y".to_owned())),
        ];
        for (what, edit) in edits {
            let mut secret = stored();
            edit(&mut secret);
            assert_eq!(intact_accessor(&secret, "role-1"), None, "{what} was edited");
        }
        assert_eq!(
            intact_accessor(&stored(), "role-2"),
            None,
            "the role in Vault is another one"
        );
    }

    #[test]
    fn what_others_added_stays_when_credentials_are_replaced() {
        let mut secret = stored();
        secret.metadata.resource_version = Some("7".to_owned());
        secret
            .metadata
            .labels
            .as_mut()
            .unwrap()
            .insert("team".to_owned(), "a".to_owned());
        secret
            .data
            .as_mut()
            .unwrap()
            .insert("extra".to_owned(), ByteString(b"x".to_vec()));
        let replaced = with_credentials(Some(secret), &identity(), "app-vault", "role-1", &issued("acc-2"));
        assert_eq!(replaced.metadata.labels.as_ref().unwrap()["team"], "a");
        assert!(replaced.data.as_ref().unwrap().contains_key("extra"));
        assert_eq!(
            replaced.metadata.resource_version.as_deref(),
            Some("7"),
            "or two writers could succeed"
        );
        assert_eq!(
            replaced.metadata.owner_references.as_ref().unwrap().len(),
            1,
            "owned once"
        );
        assert_eq!(intact_accessor(&replaced, "role-1"), Some("acc-2"));
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

    #[test]
    fn a_secret_id_is_made_only_when_the_stored_one_is_of_no_use() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            plan(Some("a"), &known),
            Plan::Keep {
                destroy: vec!["b".to_owned()]
            },
            "b is an orphan"
        );
        assert_eq!(
            plan(Some("a"), &known[..1]),
            Plan::Keep { destroy: Vec::new() },
            "at rest nothing changes"
        );
        assert_eq!(plan(Some("c"), &known), Plan::Issue, "Vault does not know it");
        assert_eq!(plan(None, &known), Plan::Issue, "nothing intact is stored");
    }
}
