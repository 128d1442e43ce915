//! Whether Vault is away, and how long to wait before the next look at it. Pure.

use std::time::Duration;

use vaultkeeper_vault::Error;

/// The longest time between two looks at a Vault that is away: it is noticed this soon when it is back, by logins, too.
pub(crate) const MOST: Duration = Duration::from_secs(6);

/// Whether another call would fare no better.
pub(crate) fn is_away(error: &Error) -> bool {
    is_not_there(error) || matches!(error, Error::Interrupted { .. } | Error::RateLimited { .. })
}

/// Whether Vault was not reached or serves nobody: a call that fails so has done nothing and may be repeated soon. One that was
/// interrupted may have been done, and one of too many is not to be repeated soon.
pub(crate) fn is_not_there(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Sealed { .. }
            | Error::NotInitialized { .. }
            | Error::Standby { .. }
            | Error::NoActive { .. }
            // A load balancer without a member; Vault itself says so when it is sealed only.
            | Error::Server { status: 503, .. }
    )
}
