//! The Secret with a client certificate: whether it is as it was written, and how a new one looks. Pure.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::annotations::CLUSTER;
use vaultkeeper_crds::names::CA_KEY;
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::super::Identity;
use super::super::secret::{is_ours, labels, owner};
use super::ca::{ClientCa, Leaf, check};
use crate::cluster::tls::certificate::Facts;

/// The type of the Secret.
pub(super) const TYPE: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The CAs by which Vault knows the certificate, where they are not the operator's own. Nobody else needs them.
const ISSUERS: &str = "issuing-ca.crt";
/// Annotation by which the operator knows what it has written; nobody else can make it.
const SEAL: &str = "vaultkeeper.dev/certificate-seal";

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok()
}

fn seal(
    ca: &ClientCa,
    identity: &Identity,
    certificate: &str,
    key: &SecretString,
    issuers: Option<&str>,
) -> String {
    ca.seal(&[
        identity.uid.as_bytes(),
        certificate.as_bytes(),
        key.expose_secret().as_bytes(),
        issuers.unwrap_or_default().as_bytes(),
    ])
}

/// A certificate that is as it was written.
pub(super) struct Held {
    /// What is in it.
    pub(super) facts: Facts,
    /// The CAs (PEM) of which one signed it, the present one first.
    pub(super) trust: String,
}

/// What is in the certificate, if it is this VaultRole's, good now, and as it was written.
pub(super) fn held(
    secret: &Secret,
    ca: &ClientCa,
    identity: &Identity,
    uri: &str,
    now: Timestamp,
) -> Option<Held> {
    let certificate = text(secret, CERTIFICATE)?;
    let key = SecretString::from(text(secret, KEY)?);
    let found = secret.metadata.annotations.as_ref()?.get(SEAL)?;
    let issuers = text(secret, ISSUERS);
    let wanted = seal(ca, identity, &certificate, &key, issuers.as_deref());
    if secret.type_.as_deref() != Some(TYPE) || *found != wanted {
        return None;
    }
    let trust = issuers.unwrap_or_else(|| ca.certificate.clone());
    let facts = check(&trust, &certificate, &key, uri, now)?;
    Some(Held { facts, trust })
}

/// Whether it holds these CAs of the server.
pub(super) fn has_cas(secret: &Secret, cas: &str) -> bool {
    text(secret, CA_KEY).as_deref() == Some(cas)
}

/// The Secret with a new certificate. What others have added to an existing one stays, and its resourceVersion, so that
/// two writers cannot both succeed.
pub(super) fn with_certificate(
    existing: Option<Secret>,
    identity: &Identity,
    name: &str,
    ca: &ClientCa,
    leaf: &Leaf,
    cas: &str,
) -> Secret {
    let mut secret = existing.unwrap_or_default();
    let Leaf {
        certificate,
        key,
        facts: _,
        trust,
    } = leaf;
    let issuers = (*trust != ca.certificate).then_some(trust.as_str());
    let data = secret.data.get_or_insert_default();
    for (entry, value) in [
        (CERTIFICATE, certificate.as_str()),
        (KEY, key.expose_secret()),
        (CA_KEY, cas),
    ] {
        data.insert(entry.to_owned(), ByteString(value.as_bytes().to_vec()));
    }
    match issuers {
        Some(issuers) => data.insert(ISSUERS.to_owned(), ByteString(issuers.as_bytes().to_vec())),
        None => data.remove(ISSUERS),
    };
    secret.type_ = Some(TYPE.to_owned());
    let meta = &mut secret.metadata;
    meta.name = Some(name.to_owned());
    meta.namespace = Some(identity.namespace.clone());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(SEAL.to_owned(), seal(ca, identity, certificate, key, issuers));
    annotations.insert(CLUSTER.to_owned(), identity.cluster.to_string());
    meta.labels.get_or_insert_default().extend(labels(identity));
    if !is_ours(meta, identity) {
        meta.owner_references
            .get_or_insert_default()
            .push(owner(identity));
    }
    secret
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::secret::tests::identity;
    use super::super::ca::tests::NOW;
    use super::*;

    const URI: &str = "spiffe://a/b";

    fn issued() -> (ClientCa, Leaf) {
        let ca = ClientCa::new("vault", "main", NOW).unwrap();
        let leaf = ca
            .issue(URI, &identity().uid, Duration::from_secs(3600), NOW)
            .unwrap();
        (ca, leaf)
    }

    #[test]
    fn what_was_written_is_known_again_and_bears_our_marks() {
        let (ca, leaf) = issued();
        let secret = with_certificate(None, &identity(), "app-tls", &ca, &leaf, "CAS");
        let Held { facts, trust } = held(&secret, &ca, &identity(), URI, NOW).expect("it is intact");
        assert_eq!(facts.serial, leaf.facts.serial);
        assert_eq!(trust, ca.certificate);
        assert!(has_cas(&secret, "CAS") && !has_cas(&secret, "CAS2"));
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
        assert!(is_ours(&secret.metadata, &identity()));
        let marks = format!("{:?}", secret.metadata);
        let key = leaf.key.expose_secret().lines().nth(1).unwrap();
        assert!(!marks.contains(key), "no key in the metadata");
    }

    #[test]
    fn one_that_was_edited_or_is_anothers_is_not_known() {
        type Edit = fn(&mut Secret);
        let (ca, leaf) = issued();
        let written = with_certificate(None, &identity(), "app-tls", &ca, &leaf, "CAS");
        let edits: [(&str, Edit); 5] = [
            ("the certificate", |s| {
                let data = s.data.as_mut().unwrap();
                data.get_mut(CERTIFICATE).unwrap().0.push(b'\n');
            }),
            ("the key", |s| {
                s.data.as_mut().unwrap().get_mut(KEY).unwrap().0.push(b'\n');
            }),
            ("a key removed", |s| {
                s.data.as_mut().unwrap().remove(KEY);
            }),
            ("the annotations", |s| s.metadata.annotations = None),
            ("the type", |s| s.type_ = Some("Opaque".to_owned())),
        ];
        for (what, edit) in edits {
            let mut secret = written.clone();
            edit(&mut secret);
            assert!(
                held(&secret, &ca, &identity(), URI, NOW).is_none(),
                "{what} was edited"
            );
        }
        let another = Identity {
            uid: "uid-2".to_owned(),
            ..identity()
        };
        assert!(
            held(&written, &ca, &another, URI, NOW).is_none(),
            "a VaultRole of the same name"
        );
        let (other, _) = issued();
        assert!(
            held(&written, &other, &identity(), URI, NOW).is_none(),
            "another CA"
        );
    }

    #[test]
    fn one_that_another_ca_signed_is_known_by_that_ca_which_nobody_can_exchange() {
        let ((ca, _), (theirs, leaf), (mine, own)) = (issued(), issued(), issued());
        let mut written = with_certificate(None, &identity(), "app-tls", &ca, &leaf, "CAS");
        let found = held(&written, &ca, &identity(), URI, NOW).expect("it is intact");
        assert_eq!(found.trust, theirs.certificate);
        let data = written.data.as_mut().unwrap();
        data.insert(
            ISSUERS.to_owned(),
            ByteString(mine.certificate.clone().into_bytes()),
        );
        assert!(
            held(&written, &ca, &identity(), URI, NOW).is_none(),
            "a CA that somebody put there"
        );
        let back = with_certificate(Some(written), &identity(), "app-tls", &mine, &own, "CAS");
        assert!(
            !back.data.unwrap().contains_key(ISSUERS),
            "signed by the operator's own"
        );
    }

    #[test]
    fn what_others_added_stays_when_a_certificate_is_replaced() {
        let (ca, leaf) = issued();
        let mut secret = with_certificate(None, &identity(), "app-tls", &ca, &leaf, "CAS");
        secret.metadata.resource_version = Some("7".to_owned());
        let extra = ByteString(b"x".to_vec());
        secret
            .data
            .as_mut()
            .unwrap()
            .insert("extra".to_owned(), extra.clone());
        let next = ca
            .issue(URI, &identity().uid, Duration::from_secs(3600), NOW)
            .unwrap();
        let replaced = with_certificate(Some(secret), &identity(), "app-tls", &ca, &next, "NEW");
        assert_eq!(replaced.data.as_ref().unwrap()["extra"], extra);
        assert_eq!(replaced.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(
            replaced.metadata.owner_references.as_ref().unwrap().len(),
            1,
            "owned once"
        );
        let held = held(&replaced, &ca, &identity(), URI, NOW).expect("it is intact");
        assert_eq!(held.facts.serial, next.facts.serial);
    }
}
