//! What can go wrong with a call, told apart by what the caller has to do next.
//! No error holds a request's body, a token, or a part of an answer other than the server's error texts.

use std::fmt;
use std::time::Duration;

/// A result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Which call, of which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Method and path, for instance `PUT sys/init`.
    pub operation: String,
    /// The server's URL.
    pub node: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.operation, self.node)
    }
}

/// The server's own words, each with control characters removed, together at most 2 KB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerErrors(pub Vec<String>);

impl ServerErrors {
    /// Whether one of the texts holds this phrase.
    pub fn mention(&self, phrase: &str) -> bool {
        self.0.iter().any(|text| text.contains(phrase))
    }
}

impl fmt::Display for ServerErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("no reason given")
        } else {
            f.write_str(&self.0.join("; "))
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection: a name that does not resolve, a refused or silent port, a failed TLS handshake.
    /// The request was not sent.
    #[error("{call}: no connection: {reason}")]
    Unreachable {
        /// The call.
        call: Call,
        /// What the network or TLS said.
        reason: String,
        /// Whether TLS failed (a wrong CA, name or expired certificate): retrying with the same CA is of no use.
        tls: bool,
    },
    /// Connected and sent, but no full answer in time. The server may have done what was asked.
    #[error("{call}: no answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The call.
        call: Call,
        /// The time allowed.
        after: Duration,
    },
    /// The connection broke before the whole answer was there. The server may have done what was asked.
    #[error("{call}: the connection broke before the answer was complete: {reason}")]
    Interrupted {
        /// The call.
        call: Call,
        /// What the network said.
        reason: String,
    },
    /// The node is sealed. A node that was never initialised answers most calls like this too.
    #[error("{call}: the server is sealed: {errors}")]
    Sealed {
        /// The call.
        call: Call,
        /// The server's words.
        errors: ServerErrors,
    },
    /// The node holds no keys yet: it needs `sys/init` or has not joined its cluster so far.
    #[error("{call}: the server is not initialised")]
    NotInitialized {
        /// The call.
        call: Call,
    },
    /// `sys/init` on a server that has keys.
    #[error("{call}: the server is already initialised")]
    AlreadyInitialized {
        /// The call.
        call: Call,
    },
    /// A standby that did not forward (it was asked not to, or could not). Nothing was done.
    #[error("{call}: this node is a standby; the active node is {}", active.as_deref().unwrap_or("not known"))]
    Standby {
        /// The call.
        call: Call,
        /// The active node's API address, as this node knows it; it may be out of date.
        active: Option<String>,
    },
    /// No node of the cluster is active right now.
    #[error("{call}: the cluster has no active node")]
    NoActive {
        /// The call.
        call: Call,
    },
    /// 403: the token is not valid, or no policy of it allows this.
    #[error("{call}: denied: {errors}")]
    Denied {
        /// The call.
        call: Call,
        /// True only where the server says that the token is at fault (Vault does). OpenBao and old servers
        /// say the same for both: look the token itself up to know.
        invalid_token: bool,
        /// The server's words.
        errors: ServerErrors,
    },
    /// 404: nothing there, or no such mount.
    #[error("{call}: not found: {errors}")]
    NotFound {
        /// The call.
        call: Call,
        /// The server's words; none where only the object is absent.
        errors: ServerErrors,
    },
    /// 400: the server refuses what was asked. Asking again is of no use.
    #[error("{call}: refused: {errors}")]
    BadRequest {
        /// The call.
        call: Call,
        /// The server's words.
        errors: ServerErrors,
    },
    /// 405: the server does not offer this, for instance an endpoint that its configuration closes.
    #[error("{call}: not offered by this server: {errors}")]
    Unsupported {
        /// The call.
        call: Call,
        /// The server's words.
        errors: ServerErrors,
    },
    /// The API of this namespace was locked by an administrator.
    #[error("{call}: locked: {errors}")]
    Locked {
        /// The call.
        call: Call,
        /// The server's words.
        errors: ServerErrors,
    },
    /// 429: too many requests.
    #[error("{call}: too many requests")]
    RateLimited {
        /// The call.
        call: Call,
        /// When to ask again, where the server says so.
        retry_after: Option<Duration>,
    },
    /// Any other status, mostly 5xx.
    #[error("{call}: the server answered {status}: {errors}")]
    Server {
        /// The call.
        call: Call,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        errors: ServerErrors,
    },
    /// The call succeeded, but its answer is not what this client knows.
    #[error("{call}: the answer is not understood: {reason}")]
    Decode {
        /// The call.
        call: Call,
        /// Where it deviates; no content.
        reason: String,
    },
    /// The request is malformed and was not sent.
    #[error("{call}: not sent: {reason}")]
    InvalidRequest {
        /// The call.
        call: Call,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Which call failed.
    pub fn call(&self) -> &Call {
        match self {
            Self::Unreachable { call, .. }
            | Self::TimedOut { call, .. }
            | Self::Interrupted { call, .. }
            | Self::Sealed { call, .. }
            | Self::NotInitialized { call }
            | Self::AlreadyInitialized { call }
            | Self::Standby { call, .. }
            | Self::NoActive { call }
            | Self::Denied { call, .. }
            | Self::NotFound { call, .. }
            | Self::BadRequest { call, .. }
            | Self::Unsupported { call, .. }
            | Self::Locked { call, .. }
            | Self::RateLimited { call, .. }
            | Self::Server { call, .. }
            | Self::Decode { call, .. }
            | Self::InvalidRequest { call, .. } => call,
        }
    }

    /// A fixed word per kind, for a condition's reason, an event or a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { tls: true, .. } => "VaultTLSFailed",
            Self::Unreachable { .. } => "VaultUnreachable",
            Self::TimedOut { .. } => "VaultTimedOut",
            Self::Interrupted { .. } => "VaultInterrupted",
            Self::Sealed { .. } => "VaultSealed",
            Self::NotInitialized { .. } => "VaultNotInitialized",
            Self::AlreadyInitialized { .. } => "VaultAlreadyInitialized",
            Self::Standby { .. } => "VaultStandby",
            Self::NoActive { .. } => "VaultNoActiveNode",
            Self::Denied { .. } => "VaultDenied",
            Self::NotFound { .. } => "VaultNotFound",
            Self::BadRequest { .. } => "VaultRefused",
            Self::Unsupported { .. } => "VaultUnsupported",
            Self::Locked { .. } => "VaultLocked",
            Self::RateLimited { .. } => "VaultRateLimited",
            Self::Server { .. } => "VaultServerError",
            Self::Decode { .. } => "VaultAnswerNotUnderstood",
            Self::InvalidRequest { .. } => "VaultInvalidRequest",
        }
    }

    /// Whether the same call may succeed later with nothing changed on our side. A failed TLS handshake counts:
    /// certificates are renewed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::Sealed { .. }
            | Self::NotInitialized { .. }
            | Self::Standby { .. }
            | Self::NoActive { .. }
            | Self::Locked { .. }
            | Self::RateLimited { .. } => true,
            Self::Server { status, .. } => *status >= 500 || *status == 412,
            Self::AlreadyInitialized { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::BadRequest { .. }
            | Self::Unsupported { .. }
            | Self::Decode { .. }
            | Self::InvalidRequest { .. } => false,
        }
    }

    /// Whether the fault may lie with the member that was asked, or the way to it, so that another member of the
    /// same cluster may answer otherwise.
    pub fn may_be_this_member(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::Sealed { .. }
            | Self::NotInitialized { .. }
            | Self::Standby { .. }
            | Self::NoActive { .. } => true,
            Self::Server { status, .. } => *status >= 500,
            Self::AlreadyInitialized { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::BadRequest { .. }
            | Self::Unsupported { .. }
            | Self::Locked { .. }
            | Self::RateLimited { .. }
            | Self::Decode { .. }
            | Self::InvalidRequest { .. } => false,
        }
    }

    /// Whether the server answered, so that the error may repeat words of it.
    pub fn is_answer(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Interrupted { .. }
        )
    }

    /// Whether the server may have done what was asked although the call failed. After a `sys/init` that ended
    /// like this the keys may exist and be lost.
    pub fn may_have_taken_effect(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Interrupted { .. } | Self::Server { .. } | Self::Decode { .. }
        )
    }

    /// 403, whatever the reason.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// 403 where the server says that the token itself is not valid.
    pub fn is_invalid_token(&self) -> bool {
        matches!(
            self,
            Self::Denied {
                invalid_token: true,
                ..
            }
        )
    }

    /// Nothing there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Sealed.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed { .. })
    }

    /// The server's words; empty where the server did not answer.
    pub fn server_errors(&self) -> &[String] {
        match self {
            Self::Sealed { errors, .. }
            | Self::Denied { errors, .. }
            | Self::NotFound { errors, .. }
            | Self::BadRequest { errors, .. }
            | Self::Unsupported { errors, .. }
            | Self::Locked { errors, .. }
            | Self::Server { errors, .. } => &errors.0,
            _ => &[],
        }
    }

    /// Turns an error whose text says that the object is absent into `NotFound`, for the calls that answer
    /// 400 or 500 where 404 is meant.
    pub(crate) fn absent_when(self, phrase: &str) -> Self {
        match self {
            Self::BadRequest { call, errors } | Self::Server { call, errors, .. }
                if errors.mention(phrase) =>
            {
                Self::NotFound { call, errors }
            }
            other => other,
        }
    }
}
