//! Holds a token: logs in, renews in time, logs in again when that no longer serves. Talks to Vault.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use vaultkeeper_vault::{Auth, Error, Token};

use crate::away;
use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::Connection;
use crate::logging::Chain;
use crate::login::{LoginError, Logins};
use crate::random::unit;
use crate::seen::{self, Trouble};
use crate::sinks::Pending;
use crate::tenure::{Act, End, Tenure};
use crate::token::{DenialGate, Lease};
use crate::uses::Uses;

/// How long a renewal may take, unless one failed before.
const RENEWAL: Duration = Duration::from_secs(5);

/// The token in use.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) token: Token,
    /// Counts logins, so that a doubt about an old token is not held against a new one.
    pub(crate) generation: u64,
    /// What is left of its uses, where they have a limit.
    pub(crate) uses: Option<Arc<Uses>>,
    /// When the leases made with the token are to be replaced if there is another token: they end with it. `None` for
    /// those of a batch token, which end by themselves, and of a token without end.
    pub(crate) replace_leases_at: Option<Instant>,
    /// Becomes true when the token is in all of its files.
    pub(crate) in_sinks: watch::Receiver<bool>,
}

/// Keeps a token for ever, or until the first failed login where the configuration says so. `doubts` brings the generations
/// of tokens that a read was denied with.
pub(crate) async fn keep(
    connection: &Connection,
    config: &Config,
    identity: watch::Sender<Option<Identity>>,
    mut doubts: mpsc::Receiver<u64>,
) -> LoginError {
    let start = Instant::now();
    let mut logins = Logins::new(&config.login, &config.vault);
    let mut gate = DenialGate::new();
    let mut generation = 0;
    loop {
        let auth = match log_in(connection, config, &mut logins).await {
            Ok(auth) => auth,
            Err(error) => return error,
        };
        let granted = Instant::now();
        seen::now().logged_in(auth.lease_duration, granted);
        generation += 1;
        tracing::info!(
            policies = %auth.policies.join(","),
            kind = %auth.token_type,
            lease_seconds = auth.lease_duration.as_secs(),
            renewable = auth.renewable,
            orphan = auth.orphan,
            uses = auth.num_uses,
            "logged in"
        );
        let (written, in_sinks) = watch::channel(config.sinks.is_empty());
        let current = Identity {
            in_sinks,
            token: auth.client_token.clone(),
            generation,
            uses: Uses::of(auth.num_uses).map(Arc::new),
            replace_leases_at: replace_leases_at(&auth, granted),
        };
        identity.send_replace(Some(current.clone()));
        // No wait here: nobody keeps the token alive between its hold and the login.
        let replace_after = || gate.delay(start.elapsed(), unit());
        let held = Held {
            identity: &current,
            lease: Lease::new(auth.lease_duration, auth.renewable),
            granted,
            written,
        };
        let end = hold(connection, config, held, &logins, &mut doubts, replace_after).await;
        seen::now().logged_out();
        tracing::info!(reason = end.as_str(), "logging in again");
        if end == End::UsedUp {
            logins.is_worn();
            // A role with few uses for many secrets must not make a storm of logins.
            sleep_until(granted + config.login.min_backoff).await;
        }
    }
}

/// At two thirds of the token's first life: one that has no use to spare, or whose successor came early, lives on and its
/// leases with it. They cannot be replaced at once each time: that alone would use the next token up.
fn replace_leases_at(auth: &Auth, granted: Instant) -> Option<Instant> {
    let ends = auth.token_type != "batch" && !auth.lease_duration.is_zero();
    let after = auth.lease_duration.mul_f64(2.0 / 3.0);
    granted.checked_add(after).filter(|_| ends)
}

/// Tries until a login succeeds. A Vault that is away is looked at more often than one that refuses: that costs it little,
/// and nothing is rendered until it is found back.
async fn log_in(connection: &Connection, config: &Config, logins: &mut Logins) -> Result<Auth, LoginError> {
    let (least, most) = (config.login.min_backoff, config.login.max_backoff);
    let mut refused = Backoff::new(least, most);
    let mut away = Backoff::new(least, most.min(away::MOST));
    loop {
        let result = match connection.client() {
            Ok(client) => logins.log_in(&client).await,
            Err(error) => Err(LoginError::Connection(error)),
        };
        match result {
            Ok(auth) => return Ok(auth),
            Err(error) if config.login.exit_on_err => return Err(error),
            Err(error) => {
                seen::now().trouble(Trouble::Login);
                let backoff = if error.is_away() { &mut away } else { &mut refused };
                let delay = backoff.next(unit());
                tracing::warn!(error = %Chain(&error), retry_ms = millis(delay), "no login");
                sleep(delay).await;
            }
        }
    }
}

/// A token as its login granted it.
struct Held<'a> {
    identity: &'a Identity,
    lease: Lease,
    granted: Instant,
    /// To say that the token is in all of its files.
    written: watch::Sender<bool>,
}

/// Renews a token until it has to be replaced. `replace_after` says how long a denied one waits for that.
async fn hold(
    connection: &Connection,
    config: &Config,
    held: Held<'_>,
    logins: &Logins,
    doubts: &mut mpsc::Receiver<u64>,
    mut replace_after: impl FnMut() -> Duration,
) -> End {
    let Held {
        identity,
        lease,
        granted,
        written: in_sinks,
    } = held;
    let Identity {
        token,
        generation,
        uses,
        replace_leases_at: _,
        in_sinks: _,
    } = identity;
    let mut tenure = Tenure::new(lease, granted, config.login.max_backoff, unit());
    let mut pending = Pending::new(&config.sinks);
    let mut sink_backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut write_sinks_at = Some(granted);
    let mut look_at = config
        .login
        .follow_credentials
        .then(|| granted + config.login.read_period);
    loop {
        tokio::select! {
            () = reach(write_sinks_at) => {
                let client = connection.client().ok();
                let written = pending.write(client.as_ref(), token).await;
                in_sinks.send_replace(written);
                write_sinks_at = (!written).then(|| Instant::now() + sink_backoff.next(unit()));
                continue;
            }
            () = reach(look_at) => {
                if logins.has_news() {
                    return End::NewCredentials;
                }
                look_at = Some(Instant::now() + config.login.read_period);
                continue;
            }
            () = spent(uses.as_deref()) => return End::UsedUp,
            () = reach(tenure.due()) => {}
            Some(doubted) = doubts.recv() => {
                let is_news = doubted == *generation && !tenure.is_doubted();
                if is_news && is_dead(connection, identity).await {
                    let wait = replace_after();
                    tracing::debug!(wait_ms = millis(wait), "the token is replaced");
                    tenure.doubted(Instant::now() + wait);
                }
                continue;
            }
        }
        match tenure.act(Instant::now()) {
            None => continue,
            Some(Act::LogIn(end)) => return end,
            Some(Act::Renew) => {}
        }
        if !uses.as_deref().is_none_or(Uses::spend) {
            return End::UsedUp;
        }
        let renewed = renew(connection, token, tenure.is_failing()).await;
        if renewed.is_err() {
            seen::now().trouble(Trouble::Renewal);
        }
        match renewed {
            Ok(renewed) => {
                seen::now().renewed(renewed.lease_duration, Instant::now());
                tenure.renewed(renewed.lease_duration, renewed.renewable, Instant::now(), unit());
                tracing::debug!(
                    lease_seconds = renewed.lease_duration.as_secs(),
                    "renewed the token"
                );
            }
            // A denial, too: a role's tokens may lack the right to renew themselves, and this one lives on a while.
            Err(error) if is_permanent(&error) => {
                tracing::warn!(error = %Chain(&error), "the token is not renewed");
                return End::NotRenewed;
            }
            Err(error) => match tenure.not_renewed_yet(Instant::now(), unit()) {
                Ok(delay) => {
                    tracing::warn!(error = %Chain(&error), retry_ms = millis(delay), "the token is not renewed yet");
                }
                Err(end) => {
                    tracing::warn!(error = %Chain(&error), "the token is not renewed");
                    return end;
                }
            },
        }
    }
}

/// Waits until a token has no use to spare.
async fn spent(uses: Option<&Uses>) {
    match uses {
        Some(uses) => uses.end().await,
        None => std::future::pending().await,
    }
}

/// The first time it may take [`RENEWAL`] only, so that a member that hangs is left for another.
async fn renew(connection: &Connection, token: &Token, again: bool) -> Result<Auth, LoginError> {
    let mut client = connection.client()?;
    if !again {
        client = client.with_timeout(RENEWAL);
    }
    let renewed = client.with_token(token).renew_self(None).await;
    renewed.map_err(|source| LoginError::Refused {
        method: "renewal",
        mount: "token".to_owned(),
        source,
    })
}

/// Whether trying the same again is of no use. A server that is away, sealed or without a leader is worth waiting for.
fn is_permanent(error: &LoginError) -> bool {
    match error {
        // "role … does not exist during renewal" is a 500.
        LoginError::Refused {
            source: Error::Server { errors, .. },
            ..
        } if errors.mention("renewal") => true,
        LoginError::Refused { source, .. } => !source.is_retryable(),
        _ => false,
    }
}

/// Asks the server whether it still knows the token: a read was denied, which may also be a missing policy.
async fn is_dead(connection: &Connection, identity: &Identity) -> bool {
    let Ok(client) = connection.client() else {
        return false;
    };
    if !identity.uses.as_deref().is_none_or(Uses::spend) {
        return false;
    }
    match client.with_token(&identity.token).lookup_self().await {
        Ok(_) => {
            tracing::debug!("the token is valid: a policy is missing");
            false
        }
        // OpenBao says the same to a dead token and to one without the policy "default"; logins are spaced out then.
        Err(error) => error.is_denied(),
    }
}

async fn reach(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// For logs.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
