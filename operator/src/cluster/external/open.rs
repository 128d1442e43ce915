//! The one way to a Vault that runs elsewhere: every client for one is made here, behind the list of allowed addresses.

use std::time::Duration;

use vaultkeeper_crds::cluster::ExternalVault;
use vaultkeeper_vault::Client;

use super::{Address, Error, ca};
use crate::connect::Elsewhere;
use crate::context::Context;

/// Limit for one call, the whole answer included: one that never ends must not hold up the work for others.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A Vault that may be called.
pub(crate) struct Opened {
    /// Without a token.
    pub client: Client,
    /// Its address, with the port.
    pub address: String,
    /// The CA certificates that its own must come from, in PEM.
    pub ca: String,
}

/// Makes a client, after the address was found on the list. Nothing is sent.
pub(crate) async fn open(ctx: &Context, namespace: &str, vault: &ExternalVault) -> Result<Opened, Error> {
    let ExternalVault {
        address,
        ca,
        kubernetes_auth: _,
        namespace: inside,
    } = vault;
    let address = Address::parse(address)?;
    if !ctx.rules.external_addresses.allow(&address) {
        return Err(Error::NotAllowed {
            address: address.to_string(),
        });
    }
    let elsewhere = Elsewhere {
        url: address.to_string(),
        ca: ca::read(ctx, namespace, ca).await?,
        namespace: inside.clone(),
    };
    let client = ctx.vault.connect_elsewhere(&elsewhere, CALL_TIMEOUT)?;
    let Elsewhere { url, ca, .. } = elsewhere;
    Ok(Opened {
        client,
        address: url,
        ca,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::cluster::external::AllowedAddresses;
    use crate::cluster::readiness::Memory;
    use crate::context::{HelperImage, KubernetesAuthEnvironment, Recent, Rules};
    use crate::metrics::Metrics;
    use crate::namespaces::Namespaces;
    use crate::report::Reporter;
    use crate::sessions::{Place, SessionError, Sessions, Target};

    const ADDRESS: &str = "https://vault.example.com:8200";

    /// An operator whose calls to the API server are counted and fail.
    fn operator(allowed: &[&str]) -> (Context, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let nobody = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody answers")) }
        });
        let client = kube::Client::new(nobody, "default");
        let ctx = Context {
            reporter: Reporter::new(client.clone(), "test"),
            client,
            namespace: "operator".to_owned(),
            service_account: "operator".to_owned(),
            auth_environment: KubernetesAuthEnvironment::default(),
            helper: HelperImage::default(),
            vault: Arc::new(crate::connect::HttpsConnect),
            sessions: Sessions::default(),
            metrics: Arc::new(Metrics::new()),
            readiness: Memory::default(),
            recent: Recent::default(),
            namespaces: Namespaces::default(),
            sweep: crate::role::sweep::Sweep::default(),
            rules: Rules {
                external_addresses: AllowedAddresses(allowed.iter().map(|a| a.parse().unwrap()).collect()),
                ..Rules::default()
            },
        };
        (ctx, calls)
    }

    fn target() -> Target {
        let vault =
            serde_json::json!({"address": ADDRESS, "ca": {"secret": {"name": "ca", "key": "ca.crt"}}});
        Target {
            uid: "u-1".to_owned(),
            namespace: "vault".to_owned(),
            name: "main".to_owned(),
            place: Place::Elsewhere(serde_json::from_value(vault).unwrap()),
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_allowed_is_refused_before_a_token_or_anything_else_is_asked_for() {
        let (ctx, calls) = operator(&["https://other.example.com:8200"]);
        let error = ctx.sessions.active(&ctx, &target()).await.unwrap_err();
        assert!(
            matches!(error, SessionError::External(Error::NotAllowed { .. })),
            "{error}"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 0, "neither the CA nor a token");

        let (ctx, calls) = operator(&[ADDRESS]);
        let error = ctx.sessions.active(&ctx, &target()).await.unwrap_err();
        assert!(
            matches!(error, SessionError::External(Error::Kubernetes { .. })),
            "an allowed one goes on to read the CA: {error}"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 1, "the CA");
    }
}
