//! A session over hours of paused time, against a fake that injects the fault: a role whose tokens may do nothing to
//! themselves, as one with `token_no_default_policy` and no policy for it; logins that fail; tokens with few uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use vaultkeeper_vault::Client;
use vaultkeeper_vault::transport::{Answer, Exchange, Request, Transport};

use super::*;
use crate::{config, uses};

/// A token that was granted.
struct Granted {
    end: Instant,
    /// What is left; `None` for no limit.
    uses: Option<u64>,
}

/// Grants tokens, lets them read, and denies whatever is asked about one.
#[derive(Default)]
struct StingyVault {
    /// How long a token lives, in seconds.
    ttl: u64,
    /// How many uses it has; zero for no limit.
    uses: u64,
    /// No login succeeds.
    is_closed: bool,
    /// What is said instead of any answer.
    says: Option<(u16, &'static str)>,
    tokens: Mutex<BTreeMap<String, Granted>>,
    attempts: Mutex<u64>,
}

impl StingyVault {
    fn answer(&self, path: &str, token: &str) -> (u16, String) {
        match path {
            "/v1/auth/approle/login" => self.grant(),
            "/v1/secret/read" if self.spend(token) => (200, r#"{"data":{}}"#.to_owned()),
            _ => (403, r#"{"errors":["permission denied"]}"#.to_owned()),
        }
    }

    fn grant(&self) -> (u16, String) {
        *self.attempts.lock().unwrap() += 1;
        if let Some((status, text)) = self.says {
            return (status, serde_json::json!({"errors": [text]}).to_string());
        }
        if self.is_closed {
            return (400, r#"{"errors":["invalid role or secret ID"]}"#.to_owned());
        }
        let mut tokens = self.tokens.lock().unwrap();
        let token = format!("hvs.{}", tokens.len());
        let granted = Granted {
            end: Instant::now() + Duration::from_secs(self.ttl),
            uses: (self.uses > 0).then_some(self.uses),
        };
        tokens.insert(token.clone(), granted);
        let auth = serde_json::json!({"client_token": token, "lease_duration": self.ttl, "renewable": true,
            "num_uses": self.uses});
        (200, serde_json::json!({"auth": auth}).to_string())
    }

    fn spend(&self, token: &str) -> bool {
        let mut tokens = self.tokens.lock().unwrap();
        let Some(granted) = tokens.get_mut(token) else {
            return false;
        };
        match &mut granted.uses {
            _ if granted.end <= Instant::now() => false,
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn is_alive(&self, token: &Token) -> bool {
        let tokens = self.tokens.lock().unwrap();
        tokens
            .get(token.expose())
            .is_some_and(|granted| Instant::now() < granted.end)
    }

    fn logins(&self) -> usize {
        self.tokens.lock().unwrap().len()
    }
}

/// The transport to it.
struct To(Arc<StingyVault>);

impl Transport for To {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        let token = request.headers().get("X-Vault-Token");
        let token = token.and_then(|token| token.to_str().ok()).unwrap_or_default();
        let (status, body) = self.0.answer(request.url().path(), token);
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

/// A connection to the fake, with a configuration that logs in there.
fn agent(vault: &Arc<StingyVault>, folder: &std::path::Path) -> (Connection, Config) {
    // Another test of this process may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let role_id_path = folder.join("role-id");
    std::fs::write(&role_id_path, "role").unwrap();
    let client = Client::builder("http://vault.test:8200").build().unwrap();
    let connection = Connection::over(client.with_transport(|_| Arc::new(To(Arc::clone(vault)))));
    let config = serde_json::json!({
        "vault": {"address": "http://vault.test:8200"},
        "auto_auth": {"method": {
            "type": "approle", "min_backoff": "1s", "max_backoff": "5m",
            "config": {"role_id_file_path": role_id_path},
        }},
    });
    let (config, _) = config::parse(&config.to_string(), &|_| None).unwrap();
    (connection, config)
}

/// Keeps a token for an hour. With `doubts`, a read is denied every second. Returns the number of logins.
async fn an_hour(ttl: u64, with_doubts: bool) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let vault = Arc::new(StingyVault {
        ttl,
        ..StingyVault::default()
    });
    let (connection, config) = agent(&vault, folder.path());
    let (identity, identities) = watch::channel(None::<Identity>);
    let (doubt, doubts) = mpsc::channel(1);
    let watching = async {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3600) {
            sleep(Duration::from_secs(1)).await;
            let current = identities.borrow().clone().expect("the login succeeds at once");
            assert!(
                vault.is_alive(&current.token),
                "a token of {ttl} s must be replaced before it ends, {:?} after the start it is dead",
                start.elapsed()
            );
            if with_doubts {
                // A full queue already holds the same doubt.
                let _ = doubt.try_send(current.generation);
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

/// How often a login is tried in a day with a server that grants none.
async fn a_day_of_failures(vault: StingyVault) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let vault = Arc::new(vault);
    let (connection, config) = agent(&vault, folder.path());
    let (identity, _identities) = watch::channel(None::<Identity>);
    let (_doubt, doubts) = mpsc::channel(1);
    tokio::select! {
        error = keep(&connection, &config, identity, doubts) => panic!("it tries for ever: {error}"),
        () = sleep(Duration::from_secs(86_400)) => {}
    }
    assert_eq!(vault.logins(), 0, "failures make no tokens");
    *vault.attempts.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_day_of_failed_logins_is_a_few_hundred_attempts_and_no_token() {
    let refused = StingyVault {
        is_closed: true,
        ..StingyVault::default()
    };
    let busy = StingyVault {
        says: Some((429, "too many requests")),
        ..StingyVault::default()
    };
    for vault in [refused, busy] {
        let says = vault.says;
        let attempts = a_day_of_failures(vault).await;
        // Between half of the longest delay and all of it, after the first few.
        assert!(
            (280..600).contains(&attempts),
            "{attempts} attempts in a day with {says:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_away_is_looked_at_every_few_seconds_whatever_the_longest_backoff() {
    for says in [(503, "Vault is sealed"), (503, "no healthy upstream")] {
        let vault = StingyVault {
            says: Some(says),
            ..StingyVault::default()
        };
        let attempts = a_day_of_failures(vault).await;
        assert!(
            (86_400 / 6..86_400 / 3).contains(&attempts),
            "one each three to six seconds, there were {attempts} in a day with {says:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn reads_with_tokens_of_few_uses_never_fail_and_logins_keep_their_distance() {
    for granted in [2, 3, 10] {
        let folder = tempfile::tempdir().unwrap();
        let vault = Arc::new(StingyVault {
            ttl: 3600,
            uses: granted,
            ..StingyVault::default()
        });
        let (connection, config) = agent(&vault, folder.path());
        let (identity, mut identities) = watch::channel(None::<Identity>);
        let (_doubt, doubts) = mpsc::channel(1);
        let reading = async {
            let first = identities.wait_for(Option::is_some).await.unwrap().clone();
            let mut current = first.expect("a token");
            let client = connection.client().unwrap();
            for read in 0..60 {
                let counted = uses::client(&client, &current, identities.clone());
                let answer = counted.read("secret/read").await;
                assert!(
                    answer.is_ok(),
                    "read {read} of tokens with {granted} uses: {answer:?}"
                );
                sleep(Duration::from_millis(100)).await;
                current = identities.borrow().clone().expect("a token");
            }
        };
        let start = Instant::now();
        tokio::select! {
            error = keep(&connection, &config, identity, doubts) => panic!("it keeps a token for ever: {error}"),
            () = reading => {}
        }
        let (logins, seconds) = (vault.logins(), start.elapsed().as_secs());
        assert!(logins > 1, "60 reads need more than one token of {granted} uses");
        let most = usize::try_from(seconds).unwrap() + 2;
        assert!(logins <= most, "{logins} logins in {seconds} s");
        let tokens = vault.tokens.lock().unwrap();
        let are_alive = tokens
            .values()
            .all(|granted| granted.uses.is_some_and(|left| left > 0));
        assert!(
            are_alive,
            "the last use of a token of {granted} must never be spent"
        );
    }
}
