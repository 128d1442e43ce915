//! Whether Vault is away, and how long to wait before the next look at it. Pure.

use std::time::Duration;

use vaultkeeper_vault::Error;

/// The longest time between two looks at a Vault that is away: it is noticed this soon when it is back, by logins, too.
pub(crate) const MOST: Duration = Duration::from_secs(6);

/// Whether another question would fare no better. Nothing that a single path can answer with: the others would wait for it.
pub(crate) fn is_away(error: &Error) -> bool {
    serves_nobody(error) || matches!(error, Error::Interrupted { .. } | Error::RateLimited { .. })
}

/// Whether a login that failed so has made no token and may be tried again soon. One that was interrupted may have made one,
/// and one of too many is not to be repeated soon.
pub(crate) fn was_no_login(error: &Error) -> bool {
    // A load balancer without a member behind it says 503.
    serves_nobody(error) || matches!(error, Error::Server { status: 503, .. })
}

fn serves_nobody(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Sealed { .. }
            | Error::NotInitialized { .. }
            | Error::Standby { .. }
            | Error::NoActive { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vaultkeeper_vault::Client;
    use vaultkeeper_vault::transport::{Answer, Exchange, Request, Transport};

    use super::*;

    /// Answers everything with this.
    struct Says(u16, &'static str);

    impl Transport for Says {
        fn exchange(&self, _: Request) -> Exchange<'_> {
            let answer = Answer {
                status: self.0,
                body: serde_json::json!({"errors": [self.1]})
                    .to_string()
                    .into_bytes()
                    .into(),
                location: None,
                retry_after: None,
            };
            Box::pin(async move { Ok(answer) })
        }
    }

    #[tokio::test]
    async fn what_one_path_may_say_silences_no_other_and_only_a_login_that_made_nothing_is_repeated_soon() {
        // Another test of this process may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder("http://vault.test:8200").build().unwrap();
        for (status, text, away, no_login) in [
            (503, "Vault is sealed", true, true),
            (
                500,
                "local node not active but active cluster node not found",
                true,
                true,
            ),
            (503, "no healthy upstream", false, true),
            (502, "the database's answer makes no sense", false, false),
            (500, "internal error", false, false),
            (429, "too many requests", true, false),
            (403, "permission denied", false, false),
        ] {
            let client = client.with_transport(|_| Arc::new(Says(status, text)));
            let error = client.read("secret/app").await.unwrap_err();
            assert_eq!(is_away(&error), away, "other questions after {status} {text:?}");
            assert_eq!(
                was_no_login(&error),
                no_login,
                "another login soon after {status} {text:?}"
            );
        }
    }
}
