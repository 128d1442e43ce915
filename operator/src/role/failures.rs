//! What fails of several things that do not depend on each other: one that cannot be done holds no other up.

use super::error::Error;

/// The first failure; the others are in the log.
#[derive(Debug, Default)]
pub(super) struct Failures(Option<Error>);

impl Failures {
    /// The value, or none where it failed.
    ///
    /// # Errors
    /// Where Vault is away: nothing else would work either.
    pub(super) fn keep<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_absence() => Err(error),
            Err(error) => {
                if self.0.is_some() {
                    tracing::warn!(error = error.chain(), "failed as well");
                } else {
                    self.0 = Some(error);
                }
                Ok(None)
            }
        }
    }

    /// The end of all of them.
    ///
    /// # Errors
    /// The first that failed.
    pub(super) fn end(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use vaultkeeper_vault::{Call, Error as VaultError};

    use super::*;

    #[test]
    fn what_fails_is_told_at_the_end_and_a_vault_that_is_away_at_once() {
        let mut failures = Failures::default();
        assert_eq!(failures.keep(Ok(1)).unwrap(), Some(1));
        assert_eq!(
            failures.keep::<u8>(Err(Error::Incomplete("first"))).unwrap(),
            None
        );
        assert_eq!(failures.keep(Ok(2)).unwrap(), Some(2), "it goes on");
        assert_eq!(
            failures.keep::<u8>(Err(Error::Incomplete("second"))).unwrap(),
            None
        );
        let call = Call {
            operation: "GET x".to_owned(),
            node: "https://main.vault.svc:8200".to_owned(),
        };
        let away = Error::vault("read", VaultError::NoActive { call });
        assert!(
            failures
                .keep::<u8>(Err(away))
                .is_err_and(|error| error.is_absence())
        );
        assert!(matches!(failures.end(), Err(Error::Incomplete("first"))));
        assert!(Failures::default().end().is_ok());
    }
}
