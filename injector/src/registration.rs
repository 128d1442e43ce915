//! Keeps `caBundle` of our own MutatingWebhookConfiguration equal to our CA. Nothing else of it is touched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PatchParams;
use kube::{Api, Client};
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

/// Makes every webhook of the configuration trust `ca` (PEM); answers whether something had to be changed.
///
/// # Errors
/// The API server failed or refused, or somebody else changed the configuration meanwhile.
pub async fn keep_trusted(client: &Client, name: &str, ca: &str) -> Result<bool, Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.get(name).await.map_err(|error| Error::Read {
        name: name.to_owned(),
        source: Box::new(error),
    })?;
    let Some(patch) = bundle_patch(&found, ca) else {
        return Ok(false);
    };
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

/// The patch that is needed, if one is. It fails when the configuration is no longer the one that was read.
fn bundle_patch(found: &MutatingWebhookConfiguration, ca: &str) -> Option<Patch> {
    let path = |tokens: &[&str]| PointerBuf::from_tokens(tokens.iter().copied());
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    let mut operations: Vec<_> = webhooks
        .iter()
        .enumerate()
        .filter(|(_, webhook)| {
            webhook
                .client_config
                .ca_bundle
                .as_ref()
                .is_none_or(|now| now.0 != ca.as_bytes())
        })
        .map(|(index, _)| {
            PatchOperation::Add(AddOperation {
                path: path(&["webhooks", &index.to_string(), "clientConfig", "caBundle"]),
                value: json!(STANDARD.encode(ca)),
            })
        })
        .collect();
    if operations.is_empty() {
        return None;
    }
    let unchanged = TestOperation {
        path: path(&["metadata", "resourceVersion"]),
        value: json!(found.metadata.resource_version),
    };
    operations.insert(0, PatchOperation::Test(unchanged));
    Some(Patch(operations))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;

    use super::*;

    fn configuration(bundles: &[Option<&str>]) -> MutatingWebhookConfiguration {
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
        configuration
    }

    #[test]
    fn only_webhooks_with_another_bundle_are_patched() {
        let patch =
            bundle_patch(&configuration(&[Some("ours"), Some("theirs"), None]), "ours").expect("a patch");
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
    }

    #[test]
    fn a_right_bundle_is_left_alone() {
        assert_eq!(
            bundle_patch(&configuration(&[Some("ours"), Some("ours")]), "ours"),
            None,
            "nothing to do"
        );
        assert_eq!(
            bundle_patch(&configuration(&[]), "ours"),
            None,
            "nothing to do without webhooks"
        );
    }
}
