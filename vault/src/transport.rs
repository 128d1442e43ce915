//! The seam between a call and the network: one HTTP exchange. A simulator or a fault injector may stand in
//! its place ([`crate::Client::with_transport`]).

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::header::{HeaderValue, LOCATION, RETRY_AFTER};
use secrecy::zeroize::Zeroizing;

use crate::connections::Connections;

/// A request as a [`Transport`] gets it.
pub use reqwest::Request;

/// The most that is read of an answer unless the client says otherwise: a larger one is a fault or an attack.
pub const MAX_ANSWER: usize = 32 << 20;

/// An exchange under way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send + 'a>>;

/// Carries requests to a server. A request holds its own time limit.
pub trait Transport: Send + Sync {
    /// Sends one request and reads the whole answer. Dropping the future gives the exchange up.
    fn exchange(&self, request: reqwest::Request) -> Exchange<'_>;
}

/// An answer of any status. Its body may hold secrets: it has no Debug and is overwritten when dropped.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Zeroizing<Vec<u8>>,
    /// Header `Location`.
    pub location: Option<String>,
    /// Header `Retry-After`.
    pub retry_after: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not connected; the request was not sent.
    Unreachable {
        /// What the network or TLS said.
        reason: String,
        /// Whether TLS failed.
        tls: bool,
    },
    /// Sent, but no full answer in time.
    TimedOut,
    /// The connection broke before the whole answer was there.
    Interrupted {
        /// What the network said.
        reason: String,
    },
    /// The answer has more bytes than the client reads, [`MAX_ANSWER`] by default.
    TooLong,
    /// The request cannot be sent as it is.
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

/// The real network.
pub(crate) struct Http {
    pub(crate) connections: Arc<Connections>,
    /// The most that is read of an answer, in bytes.
    pub(crate) max_answer: usize,
}

impl Transport for Http {
    fn exchange(&self, request: reqwest::Request) -> Exchange<'_> {
        Box::pin(async move {
            let response = self.connections.current().execute(request).await;
            whole(response.map_err(fault)?, self.max_answer).await
        })
    }
}

/// Reads a whole answer.
pub(crate) async fn whole(mut response: reqwest::Response, max_answer: usize) -> Result<Answer, Fault> {
    let header = |name| {
        let value: Option<&HeaderValue> = response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let status = response.status().as_u16();
    let (location, retry_after) = (header(LOCATION), header(RETRY_AFTER));
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > max_answer {
            return Err(Fault::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        body,
        location,
        retry_after,
    })
}

/// Tells apart what failed before the request left and what failed after.
pub(crate) fn fault(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let reason = causes(&error);
    if error.is_connect() {
        Fault::Unreachable {
            reason,
            tls: is_tls(&error),
        }
    } else if error.is_timeout() {
        Fault::TimedOut
    } else if error.is_builder() {
        Fault::Invalid { reason }
    } else {
        Fault::Interrupted { reason }
    }
}

/// The innermost causes: the HTTP stack wraps them in layers that say nothing.
fn causes(error: &reqwest::Error) -> String {
    let mut chain = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // rustls adds a link to its manual.
        chain.push(
            text.split(": https://docs.rs")
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
        next = cause.source();
    }
    match chain.pop() {
        Some(innermost) => match chain.pop() {
            Some(outer) if !outer.contains(&innermost) && outer != "client error (Connect)" => {
                format!("{outer}: {innermost}")
            }
            _ => innermost,
        },
        None => error.to_string(),
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        if cause.is::<rustls::Error>() {
            return true;
        }
        // An io::Error names as its source that of the error inside, not that error itself.
        let inside = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => cause.source(),
        };
    }
    false
}
