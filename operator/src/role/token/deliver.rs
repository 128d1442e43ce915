//! Keeps the Secret with a token. I/O with the API server and Vault.
//!
//! The order makes a death at any call harmless: a new token is minted for a minute, stored, and only then renewed to its
//! whole life. One that was minted and never stored ends by itself, and nobody ever knew it.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::PostParams;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::auth::tokens::{TokenInfo, path_of_role};

use super::super::Identity;
use super::super::error::Error;
use super::super::secret::is_ours;
use super::plan::{Held, Plan, plan, renewed, until};
use super::secret::{Minted, Noted, Previous, accessors, noted, previous, settled, with_token};
use super::{Delivery, life, role};
use crate::context::Context;

/// The first life of a token, until it is known to be stored.
const FIRST_LIFE: Duration = Duration::from_secs(60);

/// What was done, and what is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// A token was minted and stored.
    pub issued: bool,
    /// How many others were revoked.
    pub revoked: usize,
    /// Accessor of the token in the Secret; none for a batch token.
    pub accessor: Option<String>,
    /// When to look again.
    pub next: Duration,
}

/// The token of one VaultRole.
pub struct Token<'a> {
    /// The operator's context.
    pub ctx: &'a Context,
    /// Vault.
    pub vault: &'a Client,
    /// The VaultRole.
    pub identity: &'a Identity,
    /// Name of its token role.
    pub name: &'a str,
}

impl Token<'_> {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.ctx.client.clone(), &self.identity.namespace)
    }

    async fn read(&self, secret_name: &str) -> Result<Option<Secret>, Error> {
        let found = self.secrets().get_opt(secret_name).await;
        found.map_err(|e| Error::kubernetes("read the Secret for a token", e))
    }

    /// A live token by its accessor, if it came from this VaultRole's token role.
    async fn look_up(&self, accessor: &str) -> Result<Option<TokenInfo>, Error> {
        match self.vault.lookup_accessor(accessor).await {
            Ok(info) => Ok(Some(info).filter(|info| info.path == path_of_role(self.name))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Error::vault("look a token up", error)),
        }
    }

    /// Revokes those of these tokens that are alive and this VaultRole's.
    async fn revoke(&self, accessors: &BTreeSet<String>) -> Result<usize, Error> {
        let mut revoked = 0;
        // What is empty in an annotation is no accessor.
        for accessor in accessors.iter().filter(|accessor| !accessor.is_empty()) {
            if self.look_up(accessor).await?.is_none() {
                continue;
            }
            match self.vault.revoke_accessor(accessor).await {
                Ok(()) => revoked += 1,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(Error::vault("revoke a token", error)),
            }
        }
        Ok(revoked)
    }

    /// Makes sure that the Secret holds a token that lives on. The token role is there already. `known`: the accessor that
    /// the status has, for a Secret that somebody deleted.
    pub async fn ensure(
        &self,
        wanted: &Delivery,
        token: &TokenParams,
        known: Option<&str>,
    ) -> Result<Done, Error> {
        let existing = self.read(&wanted.secret_name).await?;
        if existing
            .as_ref()
            .is_some_and(|secret| !is_ours(&secret.metadata, self.identity))
        {
            return Err(Error::NameTaken {
                kind: "Secret",
                name: wanted.secret_name.clone(),
                remedy: "delete it, or choose another spec.token.deliver.secretName",
            });
        }
        let now = Timestamp::now();
        let noted = existing.as_ref().and_then(|secret| noted(secret, wanted, token));
        let held = self
            .held(noted.as_ref(), role(token).explicit_max_ttl, now)
            .await?;
        match plan(held.as_ref(), life(token)) {
            Plan::Replace(overlap) => {
                // Without a token that lives, whatever else is named is to end at once.
                let before = noted.and_then(|noted| noted.accessor).filter(|_| held.is_some());
                self.replace(existing, wanted, token, (before, overlap), known)
                    .await
            }
            keep => {
                let accessor = noted.and_then(|noted| noted.accessor);
                let mut next = life(token) / 2;
                match (keep, &accessor) {
                    (Plan::Keep(span), _) => next = span,
                    (_, Some(accessor)) => {
                        let given = self.vault.renew_accessor(accessor, life(token)).await;
                        let given = given.map_err(|e| Error::vault("renew a token", e))?;
                        let age = held.as_ref().map(|held| held.age).unwrap_or_default();
                        match renewed(given, age, life(token)) {
                            Plan::Keep(span) => next = span,
                            Plan::Renew => {}
                            Plan::Replace(overlap) => {
                                let before = (Some(accessor.clone()), overlap);
                                return self.replace(existing, wanted, token, before, known).await;
                            }
                        }
                    }
                    (_, None) => {}
                }
                let (revoked, pause) = match &existing {
                    Some(secret) => self.settle(secret, wanted, now).await?,
                    None => (0, None),
                };
                Ok(Done {
                    issued: false,
                    revoked,
                    accessor,
                    next: pause.unwrap_or(next).min(next),
                })
            }
        }
    }

    /// What Vault says of a noted token.
    async fn held(
        &self,
        noted: Option<&Noted>,
        max: Duration,
        now: Timestamp,
    ) -> Result<Option<Held>, Error> {
        let Some(Noted {
            accessor,
            until: end,
            current,
        }) = noted
        else {
            return Ok(None);
        };
        let Some(accessor) = accessor else {
            // Vault does not store it.
            let left = end.map(|end| until(end, now)).unwrap_or_default();
            return Ok((!left.is_zero()).then_some(Held {
                left,
                age: Duration::ZERO,
                longest: Some(left),
                renewable: false,
                current: *current,
            }));
        };
        let info = self.look_up(accessor).await?;
        Ok(info.map(|info| Held {
            left: info.ttl,
            age: age(&info, now),
            longest: longest(&info, max, now),
            renewable: info.renewable,
            current: *current,
        }))
    }

    async fn replace(
        &self,
        existing: Option<Secret>,
        wanted: &Delivery,
        token: &TokenParams,
        (before, overlap): (Option<String>, Duration),
        known: Option<&str>,
    ) -> Result<Done, Error> {
        let mut others: BTreeSet<String> = existing
            .as_ref()
            .map(accessors)
            .unwrap_or_default()
            .into_iter()
            .collect();
        others.extend(known.map(str::to_owned));
        let whole = life(token);
        let is_batch = token.kind == vaultkeeper_vault::auth::params::TokenKind::Batch;
        let first = if is_batch { whole } else { whole.min(FIRST_LIFE) };
        let minted = self
            .vault
            .create_token_of_role(
                self.name,
                first,
                role(token).explicit_max_ttl,
                &self.identity.metadata(),
            )
            .await
            .map_err(|e| Error::vault("mint a token", e))?;
        let now = Timestamp::now();
        let at = |span: Duration| {
            now.checked_add(SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX))
                .unwrap_or(Timestamp::MAX)
        };
        let kept = before.filter(|_| !overlap.is_zero());
        if let Some(kept) = &kept {
            others.remove(kept);
        }
        let fresh = existing.is_none();
        let secret = with_token(
            existing,
            self.identity,
            wanted,
            token,
            &Minted {
                token: minted.client_token.expose(),
                accessor: &minted.accessor,
                until: is_batch.then(|| at(minted.lease_duration)),
                previous: kept.map(|accessor| Previous {
                    accessor,
                    until: at(overlap),
                }),
            },
        );
        let plain = PostParams::default();
        let written = if fresh {
            self.secrets().create(&plain, &secret).await
        } else {
            self.secrets().replace(&wanted.secret_name, &plain, &secret).await
        };
        if let Err(kube::Error::Api(status)) = &written
            && (400..500).contains(&status.code)
            && !is_batch
        {
            // Refused, so surely not stored: nobody holds it.
            self.revoke(&BTreeSet::from([minted.accessor.clone()])).await?;
        }
        written.map_err(|e| Error::kubernetes("store a token", e))?;
        if !is_batch && first < whole && token.period.is_zero() {
            let renewed = self.vault.renew_accessor(&minted.accessor, whole).await;
            renewed.map_err(|e| Error::vault("renew a token", e))?;
        }
        // Stored: what was there before may go.
        others.remove(&minted.accessor);
        let revoked = self.revoke(&others).await?;
        let next = if overlap.is_zero() {
            whole / 2
        } else {
            overlap.min(whole / 2)
        };
        Ok(Done {
            issued: true,
            revoked,
            accessor: (!minted.accessor.is_empty()).then_some(minted.accessor),
            next: next.max(Duration::from_secs(1)),
        })
    }

    /// Revokes the token before, once its time is over, and puts the labels right. Says when that time is over.
    async fn settle(
        &self,
        secret: &Secret,
        wanted: &Delivery,
        now: Timestamp,
    ) -> Result<(usize, Option<Duration>), Error> {
        let left = previous(secret).map(|previous| (until(previous.until, now), previous.accessor));
        let (revoked, pause, is_over) = match left {
            Some((left, accessor)) if left.is_zero() => {
                (self.revoke(&BTreeSet::from([accessor])).await?, None, true)
            }
            Some((left, _)) => (0, Some(left), false),
            None => (0, None, false),
        };
        if let Some(settled) = settled(secret, wanted, is_over) {
            let written = self
                .secrets()
                .replace(&wanted.secret_name, &PostParams::default(), &settled)
                .await;
            written.map_err(|e| Error::kubernetes("write the Secret with a token", e))?;
        }
        Ok((revoked, pause))
    }

    /// Revokes every token that these Secrets and the status name.
    pub async fn end(&self, secrets: &BTreeSet<String>, known: Option<&str>) -> Result<(), Error> {
        let mut all: BTreeSet<String> = known.map(str::to_owned).into_iter().collect();
        for name in secrets {
            let secret = self.read(name).await?;
            let ours = secret.filter(|secret| is_ours(&secret.metadata, self.identity));
            all.extend(ours.as_ref().map(accessors).unwrap_or_default());
        }
        self.revoke(&all).await.map(drop)
    }
}

/// How long a token can live at most from now on, with the hard end `max` after it was made; zero for none.
fn longest(info: &TokenInfo, max: Duration, now: Timestamp) -> Option<Duration> {
    if max.is_zero() {
        return None;
    }
    Some(max.saturating_sub(age(info, now)))
}

/// How old a token is: by Vault's own clock, which alone counts, where Vault says when it ends.
fn age(info: &TokenInfo, now: Timestamp) -> Duration {
    let end = info
        .expire_time
        .as_ref()
        .and_then(|end| end.parse::<Timestamp>().ok());
    let left = i64::try_from(info.ttl.as_secs()).unwrap_or(i64::MAX);
    let there = end.map_or(now.as_second(), |end| end.as_second().saturating_sub(left));
    let age = there.saturating_sub(info.creation_time);
    Duration::from_secs(u64::try_from(age).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_as_old_as_vaults_clock_says_whatever_the_operators_does() {
        let hour = Duration::from_secs(3600);
        let info: TokenInfo = serde_json::from_value(serde_json::json!({
            "accessor": "a", "creation_time": 1_000_000, "ttl": 1800, "type": "service",
            "expire_time": Timestamp::from_second(1_000_000 + 3 * 3600).unwrap().to_string(),
        }))
        .unwrap();
        for behind in [-36_000, 0, 36_000] {
            let now = Timestamp::from_second(1_000_000 + 9000 + behind).unwrap();
            assert_eq!(age(&info, now), hour * 5 / 2, "{behind}");
            assert_eq!(longest(&info, hour * 4, now), Some(hour * 3 / 2), "{behind}");
        }
        let endless = TokenInfo {
            expire_time: None,
            ..info
        };
        let now = Timestamp::from_second(1_000_060).unwrap();
        assert_eq!(age(&endless, now), Duration::from_secs(60));
    }
}
