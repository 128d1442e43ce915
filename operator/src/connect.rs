//! The Vault seam: how the operator gets a client for one member.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use vaultkeeper_vault::{BuildError, Client, shown_certificate};

/// One member, as the operator addresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// DNS name in the URL, which the member's certificate must hold.
    pub host: String,
    /// Where to connect: the pod's own address. DNS is left out, since a name that was asked for before
    /// its pod existed is cached as missing for up to 30 s.
    pub address: SocketAddr,
    /// CA bundle in PEM that must have signed the member's certificate.
    pub ca: String,
}

/// A Vault that runs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// `https://<host>:<port>`, which its certificate must be for.
    pub url: String,
    /// CA bundle in PEM that must have signed its certificate.
    pub ca: String,
    /// Namespace in it.
    pub namespace: Option<String>,
}

/// Builds clients for members, and for Vaults that run elsewhere.
pub trait Connect: Send + Sync {
    /// A client without a token for the node, with this limit for each call.
    fn connect(&self, node: &Node, timeout: Duration) -> Result<Client, BuildError>;

    /// The certificate (DER) that the node shows, trusted or not; none while it shows none. Nothing is sent to it.
    fn shown<'a>(&'a self, node: &'a Node, timeout: Duration) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let shown = shown_certificate(node.address, timeout).await;
            shown.ok().map(|certificate| certificate.to_vec())
        })
    }

    /// A client without a token for a Vault that runs elsewhere. Whether it may be called was decided before.
    fn connect_elsewhere(&self, at: &Elsewhere, timeout: Duration) -> Result<Client, BuildError>;
}

/// As the operator calls itself.
const USER_AGENT: &str = concat!("vaultkeeper-operator/", env!("CARGO_PKG_VERSION"));

/// The most that is read of an answer of a Vault that somebody else runs, in bytes: it shall not fill the memory with
/// which all other clusters are tended.
const MAX_ANSWER_ELSEWHERE: usize = 4 << 20;

/// Connects over HTTPS.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpsConnect;

impl Connect for HttpsConnect {
    fn connect(&self, node: &Node, timeout: Duration) -> Result<Client, BuildError> {
        Client::builder(format!("https://{}:{}", node.host, node.address.port()))
            .ca_pem(&node.ca)
            .connect_to(node.address)
            .timeout(timeout)
            .user_agent(USER_AGENT)
            .build()
    }

    fn connect_elsewhere(&self, at: &Elsewhere, timeout: Duration) -> Result<Client, BuildError> {
        let Elsewhere { url, ca, namespace } = at;
        let builder = Client::builder(url.as_str())
            .ca_pem(ca)
            .timeout(timeout)
            .max_answer(MAX_ANSWER_ELSEWHERE)
            .only_routable()
            .user_agent(USER_AGENT);
        match namespace {
            Some(namespace) => builder.namespace(namespace.as_str()).build(),
            None => builder.build(),
        }
    }
}
