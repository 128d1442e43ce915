//! Whether Vault is away, and how long to wait before the next look at it. Pure.

use std::time::Duration;

use vaultkeeper_vault::Error;

/// The longest time between two looks at a Vault that is away: it is noticed this soon when it is back, by logins, too.
pub(crate) const MOST: Duration = Duration::from_secs(6);

/// Whether another call would fare no better.
pub(crate) fn is_away(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Interrupted { .. }
            | Error::Sealed { .. }
            | Error::NotInitialized { .. }
            | Error::Standby { .. }
            | Error::NoActive { .. }
            | Error::RateLimited { .. }
    )
}
