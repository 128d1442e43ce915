//! Hands the unseal shares over to the custodians: a rekey to their PGP keys, after which the operator holds none.
//!
//! The old shares are dead from the moment in which Vault answers, if not before. What comes is therefore noted first;
//! Vault keeps a backup of the encrypted shares; and the old ones leave the key Secret in the same write that brings the
//! new ones in.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use vaultkeeper_crds::cluster::Distribution;
use vaultkeeper_crds::names;
use vaultkeeper_vault::sys::rekey::{Rekey, RekeyBackup, RekeyPaths, RekeyProgress, RekeyRequest};
use vaultkeeper_vault::{Client, Error as VaultError, ExposeSecret};

use super::configure;
use super::custody::{self, Attempt, Custody, Encrypted, Next, Seen};
use super::error::Error;
use super::execute::Scope;
use super::key_store;
use super::keys::KeyRecord;
use super::validate::{Seal, Storage};
use crate::members::Member;
use crate::report::Reason;
use crate::sessions::Target;

/// Which paths of a rekey a product has.
pub(crate) fn paths(distribution: Distribution) -> RekeyPaths {
    match distribution {
        Distribution::Vault => RekeyPaths::Rekey,
        Distribution::OpenBao => RekeyPaths::RotateRoot,
    }
}

/// Refuses a key to which nothing can be encrypted any more.
pub(crate) fn check_keys(seal: &Seal) -> Result<(), Error> {
    let now = Timestamp::now().as_second();
    match seal.custodians().iter().find(|c| !c.key.is_current(now)) {
        Some(custodian) => Err(Error::CustodianKeyExpired {
            name: custodian.name.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether the stored shares may still be right although a hand-over is open and no member is active that could be asked.
/// Dead ones are not sent again and again: people may be unsealing with theirs meanwhile.
pub(crate) async fn check_stored(
    scope: &Scope<'_>,
    record: &KeyRecord,
    member: &Member,
    client: &Client,
) -> Result<(), Error> {
    let status = client.on_this_node().seal_status().await;
    let status = status.map_err(|e| Error::vault("ask which shares are in force", &member.name, e))?;
    let refused = scope
        .ctx
        .recent
        .is_fresh(&refusal(scope, member), 0, Duration::MAX, Instant::now());
    if refused || (status.shares, status.threshold) != stored(record) {
        return Err(interrupted(scope, member));
    }
    Ok(())
}

/// A member has refused the stored shares while a hand-over is open.
pub(crate) fn note_refusal(scope: &Scope<'_>, member: &Member) -> Error {
    scope.ctx.recent.mark(refusal(scope, member), 0, Instant::now());
    interrupted(scope, member)
}

fn refusal(scope: &Scope<'_>, member: &Member) -> String {
    let container = member.container.as_deref().unwrap_or_default();
    format!("{}/refused/{}/{container}", scope.cluster.uid, member.name)
}

fn interrupted(scope: &Scope<'_>, member: &Member) -> Error {
    Error::HandOverInterrupted {
        member: member.name.clone(),
        secret: names::key_secret(&scope.cluster.namespace, &scope.cluster.name),
    }
}

/// Shares and threshold of what is stored in plain text.
fn stored(record: &KeyRecord) -> (u32, u32) {
    let number = |number: usize| u32::try_from(number).unwrap_or_default();
    (number(record.shares.len()), number(record.threshold))
}

/// True: done, look again. False: it has to wait.
pub(crate) async fn hand_over(scope: &Scope<'_>, record: &KeyRecord) -> Result<bool, Error> {
    let seal = &scope.cluster.seal;
    let Some(wanted) = Custody::wanted(seal) else {
        return Ok(false);
    };
    let target = Target::from(scope.cluster);
    let session = scope.ctx.sessions.active(scope.ctx, &target).await;
    let client = session.map_err(Box::new)?.on_this_node();
    let work = Work {
        scope,
        record,
        client: &client,
        rekey: client.rekey(paths(scope.cluster.distribution)),
        wanted: &wanted,
    };
    let result = Box::pin(work.run()).await;
    scope.forget_a_spoilt_session(&result).await;
    result
}

/// One pass of it.
struct Work<'a> {
    scope: &'a Scope<'a>,
    record: &'a KeyRecord,
    client: &'a Client,
    rekey: Rekey<'a>,
    wanted: &'a Custody,
}

impl Work<'_> {
    async fn run(&self) -> Result<bool, Error> {
        // Not while the loss of one member would leave the others without a leader, and everything sealed.
        if self.record.hand_over.is_empty() && !self.tolerates_a_failure().await? {
            return Ok(false);
        }
        self.grant(true).await?;
        let status = self.rekey.status().await.map_err(self.step("look for a rekey"))?;
        let backup = self.backup().await?;
        let seen = Seen {
            noted: &self.record.hand_over,
            status: &status,
            backup: backup.as_ref(),
            in_force: self.in_force().await?,
            stored: stored(self.record),
        };
        match custody::next(self.wanted, &seen) {
            Next::Keep(custody, encrypted) => return self.keep(&custody, &encrypted).await,
            Next::Elsewhere => return Err(Error::RekeyElsewhere),
            Next::CancelAndStart(nonce) => {
                let cancelled = self.rekey.cancel(&nonce).await;
                cancelled.map_err(self.step("end an unfinished rekey"))?;
            }
            Next::Start => {}
        }
        self.attempt(backup.as_ref()).await
    }

    async fn attempt(&self, backup: Option<&RekeyBackup>) -> Result<bool, Error> {
        check_keys(&self.scope.cluster.seal)?;
        let keys = self.scope.cluster.seal.custodians().iter();
        let (shares, threshold) = self.wanted.split();
        let narrow = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let request = RekeyRequest {
            shares: narrow(shares),
            threshold: narrow(threshold),
            pgp_keys: keys.map(|c| c.key.base64.clone()).collect(),
            backup: true,
        };
        let started = self.rekey.start(&request).await.map_err(refused_keys)?;
        if !custody::is_ours(self.wanted, &started) {
            return Err(Error::RekeyElsewhere);
        }
        let attempt = Attempt {
            nonce: started.nonce.clone(),
            custody: self.wanted.clone(),
        };
        let noted = custody::with_attempt(&self.record.hand_over, backup, attempt);
        let Scope { ctx, cluster, .. } = self.scope;
        key_store::note_attempts(ctx, cluster, self.record, &noted).await?;
        let answer = match self.give(&started.nonce).await {
            Ok(answer) => answer,
            Err(error) => {
                // Not one that may have been done: its answer is found at the next pass.
                if !error.may_have_taken_effect() || matches!(error, VaultError::Server { .. }) {
                    let _ = self.rekey.cancel(&started.nonce).await;
                }
                if are_dead(&error) {
                    // Dead shares prove that an earlier attempt came into force.
                    return match custody::ours(&self.record.hand_over, backup) {
                        Some((custody, encrypted)) => self.keep(&custody, &encrypted).await,
                        None => Err(Error::SharesDead {
                            secret: self.secret(),
                        }),
                    };
                }
                return Err(if error.server_errors().iter().any(|e| e.contains("encrypt")) {
                    refused_keys(error)
                } else {
                    self.step("hand the shares over")(error)
                });
            }
        };
        let texts: Vec<String> = answer.keys.iter().map(|k| k.expose_secret().to_owned()).collect();
        let encrypted = custody::answered(self.wanted, &answer.pgp_fingerprints, &texts);
        let in_force = self.in_force().await?;
        match encrypted {
            Some(encrypted) if answer.complete && in_force == self.wanted.split() => {
                self.keep(self.wanted, &encrypted).await
            }
            // The next pass looks at the backup.
            _ => Err(Error::HandOverUnclear),
        }
    }

    /// Gives as many of the stored shares as Vault wants.
    async fn give(&self, nonce: &str) -> Result<RekeyProgress, VaultError> {
        let mut last = RekeyProgress::default();
        for share in self.record.shares.iter().take(self.record.threshold) {
            last = self.rekey.give(nonce, share).await?;
            if last.complete {
                break;
            }
        }
        Ok(last)
    }

    /// Stores the encrypted shares, and with them goes what the operator could unseal with.
    async fn keep(&self, custody: &Custody, encrypted: &Encrypted) -> Result<bool, Error> {
        let Scope { ctx, cluster, .. } = self.scope;
        key_store::store_custody(ctx, cluster, self.record, custody, encrypted).await?;
        let note = format!(
            "the unseal shares were made anew and are held by {}, encrypted in Secret {}; the operator keeps none that it could use",
            custody.quorum(),
            names::custodian_secret(&cluster.name),
        );
        self.scope.event(Reason::SharesHandedOver, "", &note).await;
        // Encrypted and now stored: nothing is lost if it stays, and the right to it goes with the next configuration.
        if let Err(error) = self.rekey.delete_backup().await {
            tracing::warn!(%error, "Vault's backup of the encrypted shares was left");
        }
        if let Err(error) = self.grant(false).await {
            tracing::warn!(error = %error.chain(), "the right to rekey is taken back later");
        }
        Ok(true)
    }

    /// Gives the operator the right to rekey, or takes it back.
    async fn grant(&self, rekey: bool) -> Result<(), Error> {
        let paths = paths(self.scope.cluster.distribution);
        configure::grant_rekey(self.client, paths, rekey, self.client.node()).await
    }

    async fn tolerates_a_failure(&self) -> Result<bool, Error> {
        if !matches!(self.scope.cluster.storage, Storage::Raft(_)) || self.scope.cluster.replicas < 3 {
            return Ok(true);
        }
        let state = self.client.autopilot_state().await;
        let state = state.map_err(self.step("ask for autopilot's judgement"))?;
        Ok(state.failure_tolerance > 0)
    }

    /// Only an attempt of ours can be made good from it.
    async fn backup(&self) -> Result<Option<RekeyBackup>, Error> {
        if self.record.hand_over.is_empty() {
            return Ok(None);
        }
        let backup = self.rekey.backup().await;
        backup.map_err(self.step("read the backup of encrypted shares"))
    }

    async fn in_force(&self) -> Result<(u32, u32), Error> {
        let status = self.client.seal_status().await;
        let status = status.map_err(self.step("ask which shares are in force"))?;
        Ok((status.shares, status.threshold))
    }

    fn secret(&self) -> String {
        names::key_secret(&self.scope.cluster.namespace, &self.scope.cluster.name)
    }

    fn step(&self, step: &'static str) -> impl Fn(VaultError) -> Error {
        let member = self.client.node().to_owned();
        move |source| Error::vault(step, &member, source)
    }
}

fn refused_keys(source: VaultError) -> Error {
    let lost_the_race = |text: &String| text.contains("already in progress");
    match source {
        // Since we looked.
        source if source.server_errors().iter().any(lost_the_race) => Error::RekeyElsewhere,
        VaultError::BadRequest { .. } | VaultError::Server { .. } => Error::CustodianKeysRefused {
            source: Box::new(source),
        },
        source => Error::vault("start a rekey", "the active member", source),
    }
}

/// Vault's words for shares that do not open its root key.
fn are_dead(error: &VaultError) -> bool {
    error
        .server_errors()
        .iter()
        .any(|e| e.contains("message authentication failed") || e.contains("key verification failed"))
}

#[cfg(test)]
mod tests {
    use vaultkeeper_vault::{Call, ServerErrors};

    use super::*;

    #[test]
    fn a_rekey_that_somebody_began_meanwhile_is_told_from_keys_that_vault_refuses() {
        let answered = |text: &str| VaultError::BadRequest {
            call: Call {
                operation: "PUT sys/rekey/init".to_owned(),
                node: "main-0".to_owned(),
            },
            errors: ServerErrors(vec![text.to_owned()]),
        };
        let reason = |text| refused_keys(answered(text)).reason();
        assert_eq!(reason("rekey already in progress"), "RekeyElsewhere");
        assert_eq!(
            reason("error parsing one of the PGP keys"),
            "CustodianKeysRefused"
        );
    }
}
