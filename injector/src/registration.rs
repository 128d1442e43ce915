//! Keeps our CA in `caBundle` of our own MutatingWebhookConfiguration. Nothing else of it is touched.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PatchParams;
use kube::{Api, Client};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use vaultkeeper_crds::annotations::FIELD_MANAGER;

/// Why the API server does not trust our CA yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not give it, or refused to.
    #[error("failed to read MutatingWebhookConfiguration {name}")]
    Read {
        /// The configuration.
        name: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not take the change. When somebody else changed it meanwhile, the next try succeeds.
    #[error("failed to set caBundle of MutatingWebhookConfiguration {name}")]
    Patch {
        /// The configuration.
        name: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Our registration as the API server holds it.
#[derive(Debug)]
pub struct Registration(MutatingWebhookConfiguration);

/// What becomes of the CAs besides ours that caBundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay: another replica may show a certificate of one.
    Stay,
    /// They go.
    Go,
}

/// Reads our registration.
///
/// # Errors
/// The API server failed or refused.
pub async fn read(client: &Client, name: &str) -> Result<Registration, Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.get(name).await.map_err(|error| Error::Read {
        name: name.to_owned(),
        source: Box::new(error),
    })?;
    Ok(Registration(found))
}

impl Registration {
    /// Whether every webhook trusts `ca` (PEM).
    pub fn trusts(&self, ca: &str) -> bool {
        let ours = certificates(ca.as_bytes());
        self.bundles().all(|bundle| {
            let held = certificates(bundle);
            ours.iter().all(|certificate| held.contains(certificate))
        })
    }

    /// The certificates besides `ca` (PEM) that a webhook trusts.
    pub fn others(&self, ca: &str) -> Vec<CertificateDer<'static>> {
        let ours = certificates(ca.as_bytes());
        let all: BTreeSet<_> = self
            .bundles()
            .flat_map(certificates)
            .filter(|certificate| !ours.contains(certificate))
            .map(|certificate| certificate.to_vec())
            .collect();
        all.into_iter().map(CertificateDer::from).collect()
    }

    /// Makes every webhook trust `ca` (PEM); answers whether something had to be changed.
    ///
    /// # Errors
    /// The API server failed or refused, or somebody else changed the registration since it was read.
    pub async fn keep_trusted(&self, client: &Client, ca: &str, others: Others) -> Result<bool, Error> {
        let Some(patch) = self.patch(ca, others) else {
            return Ok(false);
        };
        let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let name = self.0.metadata.name.as_deref().unwrap_or_default();
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &parameters, &kube::api::Patch::<()>::Json(patch))
            .await
            .map_err(|error| Error::Patch {
                name: name.to_owned(),
                source: Box::new(error),
            })?;
        Ok(true)
    }

    fn bundles(&self) -> impl Iterator<Item = &[u8]> {
        let webhooks = self.0.webhooks.as_deref().unwrap_or_default();
        webhooks.iter().map(|webhook| {
            let bundle = webhook.client_config.ca_bundle.as_ref();
            bundle.map_or(&[][..], |bundle| &bundle.0)
        })
    }

    /// The patch that is needed, if one is. It fails when the registration is no longer the one that was read.
    fn patch(&self, ca: &str, others: Others) -> Option<Patch> {
        let path = |tokens: &[&str]| PointerBuf::from_tokens(tokens.iter().copied());
        let mut operations: Vec<_> = self
            .bundles()
            .enumerate()
            .filter_map(|(index, now)| Some((index, bundle(now, ca, others)?)))
            .map(|(index, bundle)| {
                PatchOperation::Add(AddOperation {
                    path: path(&["webhooks", &index.to_string(), "clientConfig", "caBundle"]),
                    value: json!(STANDARD.encode(bundle)),
                })
            })
            .collect();
        if operations.is_empty() {
            return None;
        }
        let unchanged = TestOperation {
            path: path(&["metadata", "resourceVersion"]),
            value: json!(self.0.metadata.resource_version),
        };
        operations.insert(0, PatchOperation::Test(unchanged));
        Some(Patch(operations))
    }
}

/// What a bundle has to become, if it is not that already.
fn bundle(now: &[u8], ca: &str, others: Others) -> Option<String> {
    let (held, ours) = (certificates(now), certificates(ca.as_bytes()));
    let is_held = ours.iter().all(|certificate| held.contains(certificate));
    match others {
        Others::Go => (!is_held || held.len() != ours.len()).then(|| ca.to_owned()),
        Others::Stay if is_held => None,
        // Without a certificate in it, it is of no use to anybody.
        Others::Stay if held.is_empty() => Some(ca.to_owned()),
        Others::Stay => Some(format!("{}\n{}", ca.trim_end(), String::from_utf8_lossy(now))),
    }
}

/// The certificates of a text in PEM; what else is in it counts for nothing, as with the API server.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;

    use super::*;
    use crate::certificates::Authority;

    fn registration(bundles: &[Option<&str>]) -> Registration {
        let webhooks = bundles.iter().map(|bundle| {
            let mut webhook = MutatingWebhook::default();
            webhook.client_config.ca_bundle = bundle.map(|text| ByteString(text.into()));
            webhook
        });
        let mut configuration = MutatingWebhookConfiguration {
            webhooks: Some(webhooks.collect()),
            ..Default::default()
        };
        configuration.metadata.resource_version = Some("7".to_owned());
        Registration(configuration)
    }

    fn ca() -> String {
        let authority = Authority::generate("test", Timestamp::now()).expect("a CA");
        authority.certificate().to_owned()
    }

    fn after(patch: &Patch, index: usize) -> Registration {
        let PatchOperation::Add(add) = &patch.0[index] else {
            panic!("the operation should set a bundle: {patch:?}");
        };
        let text = STANDARD
            .decode(add.value.as_str().expect("text"))
            .expect("base64");
        registration(&[Some(&String::from_utf8(text).expect("PEM"))])
    }

    #[test]
    fn only_webhooks_without_our_ca_are_patched() {
        let (ours, theirs) = (ca(), ca());
        let found = registration(&[Some(&ours), Some(&theirs), None]);
        let patch = found.patch(&ours, Others::Stay).expect("a patch");
        let paths: Vec<_> = patch
            .0
            .iter()
            .map(|operation| operation.path().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "/metadata/resourceVersion",
                "/webhooks/1/clientConfig/caBundle",
                "/webhooks/2/clientConfig/caBundle"
            ],
            "the second and third need it, on the version that was read"
        );
        assert!(!found.trusts(&ours), "two of them do not trust it yet");
        let second = after(&patch, 1);
        assert!(
            second.trusts(&ours) && second.trusts(&theirs),
            "the other CA stays for those who still show its certificates: {second:?}"
        );
        let third = after(&patch, 2);
        assert!(
            third.trusts(&ours) && third.others(&ours).is_empty(),
            "it had none: {third:?}"
        );
    }

    #[test]
    fn the_other_cas_go_when_nobody_needs_them() {
        let (ours, theirs) = (ca(), ca());
        let both = format!("{ours}{theirs}");
        let found = registration(&[Some(&both)]);
        assert_eq!(found.others(&ours).len(), 1, "one besides ours");
        assert_eq!(found.patch(&ours, Others::Stay), None, "it may stay");
        let left = after(&found.patch(&ours, Others::Go).expect("it has to go"), 1);
        assert!(
            left.trusts(&ours) && !left.trusts(&theirs),
            "ours alone is left: {left:?}"
        );
    }

    #[test]
    fn a_right_bundle_is_left_alone() {
        let ours = ca();
        for others in [Others::Stay, Others::Go] {
            let right = registration(&[Some(&ours), Some(&ours)]);
            assert_eq!(right.patch(&ours, others), None, "nothing to do");
            let none = registration(&[]);
            assert_eq!(none.patch(&ours, others), None, "nothing to do without webhooks");
        }
    }

    #[test]
    fn what_is_no_certificate_does_not_stay() {
        let ours = ca();
        let patch = registration(&[Some("garbage")]).patch(&ours, Others::Stay);
        let PatchOperation::Add(add) = &patch.expect("a patch").0[1] else {
            panic!("it should set the bundle");
        };
        assert_eq!(add.value, json!(STANDARD.encode(&ours)), "ours alone");
    }
}
