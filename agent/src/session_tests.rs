//! A session over hours of paused time, against a fake that injects the fault: a role whose tokens may do nothing to
//! themselves, as one with `token_no_default_policy` and no policy for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use vaultkeeper_vault::Client;
use vaultkeeper_vault::transport::{Answer, Exchange, Transport};

use super::*;
use crate::config;

/// Grants tokens of this many seconds, and denies whatever is asked about one.
struct StingyVault {
    ttl: u64,
    /// The tokens with their ends.
    tokens: Mutex<BTreeMap<String, Instant>>,
}

impl StingyVault {
    fn answer(&self, path: &str) -> (u16, String) {
        if path != "/v1/auth/approle/login" {
            return (403, r#"{"errors":["permission denied"]}"#.to_owned());
        }
        let mut tokens = self.tokens.lock().unwrap();
        let token = format!("hvs.{}", tokens.len());
        tokens.insert(token.clone(), Instant::now() + Duration::from_secs(self.ttl));
        let auth = serde_json::json!({"client_token": token, "lease_duration": self.ttl, "renewable": true});
        (200, serde_json::json!({"auth": auth}).to_string())
    }

    fn is_alive(&self, token: &Token) -> bool {
        let tokens = self.tokens.lock().unwrap();
        tokens
            .get(token.expose())
            .is_some_and(|end| Instant::now() < *end)
    }

    fn logins(&self) -> usize {
        self.tokens.lock().unwrap().len()
    }
}

/// The transport to it.
struct To(Arc<StingyVault>);

impl Transport for To {
    fn exchange(&self, request: reqwest::Request) -> Exchange<'_> {
        let (status, body) = self.0.answer(request.url().path());
        Box::pin(async move {
            Ok(Answer {
                status,
                body: body.into_bytes().into(),
                location: None,
                retry_after: None,
            })
        })
    }
}

/// Keeps a token for an hour. With `doubts`, a read is denied every second. Returns the number of logins.
async fn an_hour(ttl: u64, with_doubts: bool) -> usize {
    // Another test of this process may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let role_id_path = folder.path().join("role-id");
    std::fs::write(&role_id_path, "role").unwrap();
    let vault = Arc::new(StingyVault {
        ttl,
        tokens: Mutex::default(),
    });
    let client = Client::builder("http://vault.test:8200").build().unwrap();
    let connection = Connection::over(client.with_transport(|_| Arc::new(To(Arc::clone(&vault)))));
    let config = serde_json::json!({
        "vault": {"address": "http://vault.test:8200"},
        "auto_auth": {"method": {
            "type": "approle", "min_backoff": "1s", "max_backoff": "5m",
            "config": {"role_id_file_path": role_id_path},
        }},
    });
    let (config, _) = config::parse(&config.to_string(), &|_| None).unwrap();
    let (identity, identities) = watch::channel(None::<Identity>);
    let (doubt, doubts) = mpsc::channel(1);
    let watching = async {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3600) {
            sleep(Duration::from_secs(1)).await;
            let Identity {
                token,
                generation,
                uses: _,
            } = identities.borrow().clone().expect("the login succeeds at once");
            assert!(
                vault.is_alive(&token),
                "a token of {ttl} s must be replaced before it ends, {:?} after the start it is dead",
                start.elapsed()
            );
            if with_doubts {
                // A full queue already holds the same doubt.
                let _ = doubt.try_send(generation);
            }
        }
    };
    tokio::select! {
        error = keep(&connection, &config, identity, doubts) => panic!("it keeps a token for ever: {error}"),
        () = watching => {}
    }
    vault.logins()
}

#[tokio::test(start_paused = true)]
async fn a_token_that_may_not_renew_itself_is_replaced_before_it_ends() {
    for ttl in [6, 60, 840] {
        let logins = an_hour(ttl, false).await;
        // Two thirds of the lease, up to a tenth earlier.
        let most = usize::try_from(3600 * 10 / (ttl * 6) + 2).unwrap();
        assert!(
            logins <= most,
            "{logins} logins with tokens of {ttl} s, at most {most}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_read_neither_lets_a_short_token_end_nor_makes_a_storm_of_logins() {
    for (ttl, most) in [(60, 120), (840, 40)] {
        let logins = an_hour(ttl, true).await;
        assert!(
            logins > 2,
            "a denied token is replaced, there were {logins} logins"
        );
        assert!(
            logins <= most,
            "{logins} logins with tokens of {ttl} s, at most {most}"
        );
    }
}
