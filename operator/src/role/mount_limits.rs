//! What an auth mount would make of a VaultRole's tokens: Vault cuts lives short, and gives the mount's kind of token
//! instead of the one that is asked for, without a word to who logs in. Asked before something is written.

use std::time::Duration;

use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};
use vaultkeeper_vault::sys::mounts::MountConfig;
use vaultkeeper_vault::{Client, Error as VaultError};

use super::error::Error;

/// What a server allows whose mounts nobody has tuned.
const SYSTEM_MAX: Duration = Duration::from_secs(768 * 3600);

/// A setting that would not be what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bent {
    /// A life that is too long.
    #[error(
        "spec.token.{field}: {} s is more than the auth mount auth/{mount} allows, {} s, and Vault would cut it short \
         without a word: shorten it, or have the VaultCluster's owner raise the mount's maxLeaseTtl",
        wanted.as_secs(), max.as_secs()
    )]
    Life {
        /// Field of the spec.
        field: &'static str,
        /// Path of the mount.
        mount: String,
        /// What is wanted.
        wanted: Duration,
        /// What the mount allows.
        max: Duration,
    },
    /// The mount gives tokens of one kind only.
    #[error(
        "spec.token.type: the auth mount auth/{mount} gives tokens of type {given} only: choose that, or have the \
         VaultCluster's owner change the mount's tokenType"
    )]
    Kind {
        /// Path of the mount.
        mount: String,
        /// What it gives.
        given: String,
    },
}

/// Asks each mount: `GET sys/mounts/auth/<mount>/tune`.
pub(super) async fn check(vault: &Client, mounts: &[&str], token: &TokenParams) -> Result<(), Error> {
    for mount in mounts {
        let tuned = match vault.auth_method_limits(mount).await {
            Ok(tuned) => tuned,
            // The policy in a Vault elsewhere may be older than this question. Nothing is known there but the default.
            Err(error) if error.is_denied() => MountConfig {
                max_lease_ttl: SYSTEM_MAX,
                ..MountConfig::default()
            },
            // Not there: the write says so with its remedy.
            Err(VaultError::NotFound { .. } | VaultError::BadRequest { .. }) => continue,
            Err(error) => return Err(Error::vault("read the limits of an auth mount", error)),
        };
        bent(mount, token, &tuned).map_err(|bent| Error::Bent(Box::new(bent)))?;
    }
    Ok(())
}

fn bent(mount: &str, token: &TokenParams, tuned: &MountConfig) -> Result<(), Bent> {
    let max = tuned.max_lease_ttl;
    for (field, wanted) in [
        ("ttl", token.ttl),
        ("maxTtl", token.max_ttl),
        ("period", token.period),
    ] {
        if !max.is_zero() && wanted > max {
            return Err(Bent::Life {
                field,
                mount: mount.to_owned(),
                wanted,
                max,
            });
        }
    }
    let other = match token.kind {
        TokenKind::Service => "batch",
        TokenKind::Batch => "service",
        _ => return Ok(()),
    };
    if tuned.token_type == other {
        return Err(Bent::Kind {
            mount: mount.to_owned(),
            given: other.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(max_hours: u64, token_type: &str) -> MountConfig {
        MountConfig {
            max_lease_ttl: Duration::from_secs(max_hours * 3600),
            token_type: token_type.to_owned(),
            ..MountConfig::default()
        }
    }

    fn token(hours: u64) -> TokenParams {
        TokenParams {
            ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(hours * 3600),
            kind: TokenKind::Service,
            ..TokenParams::default()
        }
    }

    #[test]
    fn a_life_up_to_the_mounts_maximum_is_kept_and_a_longer_one_would_be_cut() {
        let mount = tuned(24, "default-service");
        assert_eq!(bent("approle", &token(24), &mount), Ok(()));
        let message = bent("approle", &token(25), &mount).unwrap_err().to_string();
        for part in [
            "spec.token.maxTtl: 90000 s",
            "auth/approle",
            "86400 s",
            "maxLeaseTtl",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let periodic = TokenParams {
            period: Duration::from_secs(25 * 3600),
            ..TokenParams::default()
        };
        assert!(
            bent("approle", &periodic, &mount).is_err(),
            "a period is cut as well"
        );
    }

    #[test]
    fn a_mount_of_one_kind_gives_no_other() {
        let batch = TokenParams {
            kind: TokenKind::Batch,
            ..token(1)
        };
        assert!(bent("x", &token(1), &tuned(24, "batch")).is_err());
        assert!(bent("x", &batch, &tuned(24, "service")).is_err());
        for kind in ["default-service", "default-batch", ""] {
            assert_eq!(
                bent("x", &batch, &tuned(24, kind)),
                Ok(()),
                "{kind}: the role's word counts"
            );
        }
        assert_eq!(bent("x", &batch, &tuned(24, "batch")), Ok(()));
    }
}
