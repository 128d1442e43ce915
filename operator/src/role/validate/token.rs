//! Checks what the tokens are to be like: what Vault refuses, and what it bends without a word.

use std::time::Duration;

use vaultkeeper_crds::role::{RoleTokenType, TokenSettings};
use vaultkeeper_crds::{cidr, duration};
use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};

use super::{Refusal, invalid};

const DEFAULT_TTL: Duration = Duration::from_secs(3600);
const DEFAULT_MAX_TTL: Duration = Duration::from_secs(4 * 3600);

/// The settings in Vault's words, without policies.
pub(super) fn params(token: &TokenSettings) -> Result<TokenParams, Refusal> {
    let TokenSettings {
        type_,
        ttl,
        max_ttl,
        explicit_max_ttl,
        period,
        num_uses,
        no_default_policy,
        bound_cidrs,
        deliver: _,
    } = token;
    let explicit = span("explicitMaxTtl", explicit_max_ttl.as_deref())?;
    let periodic = span("period", period.as_deref())?;
    let lives = (span("ttl", ttl.as_deref())?, span("maxTtl", max_ttl.as_deref())?);
    if *type_ == RoleTokenType::Batch && (periodic.is_some() || num_uses.is_some()) {
        return Err(invalid(
            "spec.token.type: a Batch token has neither period nor numUses, since Vault does not store it: remove them, \
             or choose Service"
                .to_owned(),
        ));
    }
    if *num_uses == Some(0) {
        return Err(invalid(
            "spec.token.numUses: is zero, which Vault reads as no limit: write a number, or remove it"
                .to_owned(),
        ));
    }
    let (ttl, max_ttl) = match (periodic, lives) {
        (None, (ttl, max_ttl)) => bounded(ttl, max_ttl, explicit)?,
        (Some(period), (None, None)) => {
            not_above(
                "period",
                period,
                "explicitMaxTtl",
                explicit.unwrap_or(Duration::MAX),
            )?;
            (Duration::ZERO, Duration::ZERO)
        }
        (Some(_), _) => {
            return Err(invalid(
                "spec.token.period: takes the place of ttl and maxTtl, which Vault would not heed: remove them, and set \
                 explicitMaxTtl where the token must end one day"
                    .to_owned(),
            ));
        }
    };
    Ok(TokenParams {
        ttl,
        max_ttl,
        explicit_max_ttl: explicit.unwrap_or_default(),
        period: periodic.unwrap_or_default(),
        policies: Vec::new(),
        bound_cidrs: ranges(bound_cidrs)?,
        no_default_policy: *no_default_policy,
        num_uses: num_uses.map(u64::from).unwrap_or_default(),
        kind: match type_ {
            RoleTokenType::Service => TokenKind::Service,
            RoleTokenType::Batch => TokenKind::Batch,
        },
    })
}

/// Life and longest life of a token without a period.
fn bounded(
    ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    explicit: Option<Duration>,
) -> Result<(Duration, Duration), Refusal> {
    let max = max_ttl.or(explicit).unwrap_or(DEFAULT_MAX_TTL);
    not_above("maxTtl", max, "explicitMaxTtl", explicit.unwrap_or(Duration::MAX))?;
    let limit = match (max_ttl, explicit) {
        (None, Some(_)) => "explicitMaxTtl",
        _ => "maxTtl",
    };
    let ttl = ttl.unwrap_or(DEFAULT_TTL.min(max));
    not_above("ttl", ttl, limit, max)?;
    Ok((ttl, max))
}

fn not_above(field: &str, value: Duration, limit: &str, max: Duration) -> Result<(), Refusal> {
    if value <= max {
        return Ok(());
    }
    Err(invalid(format!(
        "spec.token.{field}: {} s is longer than spec.token.{limit}, {} s: shorten it, or lengthen {limit}",
        value.as_secs(),
        max.as_secs()
    )))
}

fn span(field: &str, text: Option<&str>) -> Result<Option<Duration>, Refusal> {
    match text.map(duration::parse).transpose() {
        Err(error) => Err(invalid(format!("spec.token.{field}: {error}"))),
        // Vault reads zero as its own default of 32 days, or as no limit.
        Ok(Some(Duration::ZERO)) => Err(invalid(format!(
            "spec.token.{field}: is zero: write how long, or remove it"
        ))),
        Ok(span) => Ok(span),
    }
}

/// Ranges as Vault writes them, each once. It would store text that is no range.
fn ranges(texts: &[String]) -> Result<Vec<String>, Refusal> {
    let mut ranges = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let range =
            cidr::parse(text).map_err(|error| invalid(format!("spec.token.boundCidrs[{index}]: {error}")))?;
        ranges.push(range.to_string());
    }
    ranges.sort();
    ranges.dedup();
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(token: serde_json::Value) -> Result<TokenParams, String> {
        let token: TokenSettings = serde_json::from_value(token).unwrap();
        params(&token).map_err(|refusal| refusal.message)
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    #[test]
    fn what_is_not_said_has_a_default_that_fits_what_is_said() {
        for (token, ttl, max) in [
            (serde_json::json!({}), 1, 4),
            (serde_json::json!({"maxTtl": "9h"}), 1, 9),
            (serde_json::json!({"ttl": "2h", "explicitMaxTtl": "24h"}), 2, 24),
        ] {
            let found = checked(token.clone()).unwrap();
            assert_eq!((found.ttl, found.max_ttl), (hours(ttl), hours(max)), "{token}");
        }
        let short = checked(serde_json::json!({"maxTtl": "30m"})).unwrap();
        assert_eq!(
            short.ttl,
            Duration::from_secs(1800),
            "the default would be too long"
        );
        let periodic = checked(serde_json::json!({"period": "24h"})).unwrap();
        assert_eq!(
            (periodic.ttl, periodic.max_ttl, periodic.period),
            (Duration::ZERO, Duration::ZERO, hours(24)),
            "Vault heeds the period alone"
        );
    }

    #[test]
    fn what_vault_refuses_or_bends_is_refused_and_its_neighbour_is_taken() {
        for (bad, good, part) in [
            (
                serde_json::json!({"type": "Batch", "period": "1h"}),
                serde_json::json!({"period": "1h"}),
                "spec.token.type",
            ),
            (
                serde_json::json!({"type": "Batch", "numUses": 1}),
                serde_json::json!({"type": "Batch"}),
                "spec.token.type",
            ),
            (
                serde_json::json!({"numUses": 0}),
                serde_json::json!({"numUses": 1}),
                "spec.token.numUses",
            ),
            (
                serde_json::json!({"period": "2h", "explicitMaxTtl": "1h"}),
                serde_json::json!({"period": "2h", "explicitMaxTtl": "2h"}),
                "spec.token.period: 7200 s is longer than spec.token.explicitMaxTtl",
            ),
            (
                serde_json::json!({"period": "2h", "ttl": "1h"}),
                serde_json::json!({"ttl": "1h"}),
                "takes the place of ttl",
            ),
            (
                serde_json::json!({"ttl": "2h", "maxTtl": "1h"}),
                serde_json::json!({"ttl": "1h", "maxTtl": "1h"}),
                "spec.token.ttl: 7200 s is longer than spec.token.maxTtl",
            ),
            (
                serde_json::json!({"ttl": "5h"}),
                serde_json::json!({"ttl": "4h"}),
                "spec.token.ttl: 18000 s is longer than spec.token.maxTtl",
            ),
            (
                serde_json::json!({"maxTtl": "2h", "explicitMaxTtl": "1h"}),
                serde_json::json!({"maxTtl": "1h", "explicitMaxTtl": "1h"}),
                "spec.token.maxTtl: 7200 s is longer than spec.token.explicitMaxTtl",
            ),
            (
                serde_json::json!({"ttl": "2h", "explicitMaxTtl": "1h"}),
                serde_json::json!({"ttl": "1h", "explicitMaxTtl": "1h"}),
                "spec.token.ttl: 7200 s is longer than spec.token.explicitMaxTtl",
            ),
            (
                serde_json::json!({"explicitMaxTtl": "0s"}),
                serde_json::json!({"explicitMaxTtl": "1s"}),
                "spec.token.explicitMaxTtl: is zero",
            ),
            (
                serde_json::json!({"boundCidrs": ["10.0.0.0/8", "300.0.0.0/8"]}),
                serde_json::json!({"boundCidrs": ["10.0.0.0/8", "30.0.0.0/8"]}),
                "spec.token.boundCidrs[1]: `300.0.0.0/8`",
            ),
        ] {
            let message = checked(bad.clone()).expect_err("must be refused");
            assert!(message.contains(part), "{bad}: {message}");
            assert_eq!(checked(good.clone()).err(), None, "{good}");
        }
    }

    #[test]
    fn ranges_are_written_once_and_as_vault_reads_them_back() {
        let cidrs =
            serde_json::json!({"boundCidrs": ["192.0.2.7/32", "10.0.0.0/8", "192.0.2.7", "2001:DB8::/32"]});
        assert_eq!(
            checked(cidrs).unwrap().bound_cidrs,
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
        );
    }
}
