//! Checks the properties of tokens.

use std::time::Duration;

use vaultkeeper_crds::duration;
use vaultkeeper_crds::role::TokenSettings;

use super::{Refusal, invalid};

pub(super) fn lives(token: &TokenSettings) -> Result<(Duration, Duration), Refusal> {
    let TokenSettings { ttl, max_ttl } = token;
    let parse = |field: &str, text: &str| match duration::parse(text) {
        Err(error) => Err(invalid(format!("spec.token.{field}: {error}"))),
        // Vault reads zero as its own default of 32 days.
        Ok(Duration::ZERO) => Err(invalid(format!(
            "spec.token.{field}: is zero: write how long a token lives"
        ))),
        Ok(duration) => Ok(duration),
    };
    let (short, long) = (parse("ttl", ttl)?, parse("maxTtl", max_ttl)?);
    if short > long {
        return Err(invalid(format!(
            "spec.token.ttl: {ttl} is longer than spec.token.maxTtl, {max_ttl}: shorten it, or lengthen maxTtl"
        )));
    }
    Ok((short, long))
}
