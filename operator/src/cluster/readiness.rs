//! Ten rules for a Vault in production, each judged from what was observed. Pure; `observe` does the I/O.
//!
//! A rule that could not be looked at keeps its verdict for a while, so that one failed read changes nothing, and is
//! then unknown, which does not count as met. `docs/readiness.md` says what each rule observes.

mod judge;
mod memory;
pub(crate) mod observe;
mod policy_text;
mod rows;
mod sweep;
mod tokens;
mod vault;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::cluster::{Profile, ReadinessRule};

use super::validate::{AutoSeal, Storage, Validated};
use crate::backup::standing::Standing;
use crate::members::{Member, Probe};

pub(crate) use judge::{Verdict, judge};
pub use memory::Memory;
pub(crate) use policy_text::allows_everything;
pub(crate) use rows::{Change, changes, condition, rows, score, unmet};

/// How often Vault is looked at. The score falls within two of these.
pub(crate) const PACE: Duration = Duration::from_secs(60);
/// How soon after a look there may be another: when more is to be read, or the configuration is about to be put right.
pub(crate) const SHORTLY: Duration = Duration::from_secs(5);
/// How long a verdict stands while it cannot be looked at.
pub(crate) const HOLD: Duration = Duration::from_secs(600);
/// How long after its rotation the key of the barrier counts as rotated: 90 days.
pub(crate) const KEY_AGE: i64 = 90 * 24 * 3600;
/// A certificate with less than this part of its life left was not renewed, which happens at a third.
pub(crate) const LIFE_LEFT: i64 = 10;

/// What a look gave, or why there was none.
pub(crate) type Look<T> = Result<T, String>;

/// What the spec says that decides about a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub replicas: usize,
    pub hardened: bool,
    pub storage: Keeps,
    /// Parts of the spec that name an address without TLS.
    pub plain: Vec<&'static str>,
}

/// Where the data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Raft,
    Consul,
    Memory,
}

impl From<&Validated> for Wish {
    fn from(cluster: &Validated) -> Self {
        let mut plain = Vec::new();
        let is_plain = |address: &str| {
            let scheme = address.split_once("://").map(|(scheme, _)| scheme);
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
        };
        let storage = match &cluster.storage {
            Storage::Raft(_) => Keeps::Raft,
            Storage::Consul(consul) => {
                if is_plain(&consul.address) {
                    plain.push("spec.storage.consul.address");
                }
                Keeps::Consul
            }
            Storage::Ephemeral => Keeps::Memory,
        };
        if let Some(AutoSeal::Transit(transit)) = cluster.auto_seal()
            && is_plain(&transit.address)
        {
            plain.push("spec.seal.transit.address");
        }
        // The keys by which logins are verified: who changes them on their way logs in as anybody.
        let methods = cluster.configuration.iter().flat_map(|c| &c.auth_methods);
        for jwt in methods.filter_map(|method| method.jwt.as_ref()) {
            for (field, url) in [
                (
                    "spec.configuration.authMethods.jwt.discoveryUrl",
                    &jwt.discovery_url,
                ),
                ("spec.configuration.authMethods.jwt.jwksUrl", &jwt.jwks_url),
            ] {
                if url.as_deref().is_some_and(is_plain) {
                    plain.push(field);
                }
            }
        }
        Self {
            replicas: usize::try_from(cluster.replicas).unwrap_or_default(),
            hardened: cluster.profile == Profile::Hardened,
            storage,
            plain,
        }
    }
}

/// Everything that was observed. Each part may be missing for a reason of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observations {
    pub tokens: Look<Tokens>,
    /// Whether the key Secret holds a root token.
    pub stored_root_token: bool,
    pub members: Vec<MemberFacts>,
    /// Voters in Raft's configuration; asked for with Raft only.
    pub voters: Look<usize>,
    /// The certificate in the members' Secret. None: there is no such Secret.
    pub certificate: Look<Option<Lifetime>>,
    pub audit: Look<Vec<Device>>,
    pub network: Look<Network>,
    pub policies: Look<Policies>,
    pub mfa: Look<Enforcements>,
    /// When the key of the barrier was made, in seconds since 1970.
    pub key_made: Look<i64>,
    pub app_roles: Look<AppRoles>,
    /// How it stands with the backups.
    pub backups: Standing,
}

/// The tokens that are alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Those with the policy `root`.
    pub roots: Vec<RootToken>,
    /// How many have not been looked at yet.
    pub left: usize,
}

/// A root token, without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootToken {
    pub accessor: String,
    /// Where it was made: `auth/token/root` by `generate-root` or at the initialisation.
    pub path: String,
}

/// What a member answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberFacts {
    pub name: String,
    /// Its state in a word, as in the status.
    pub state: &'static str,
    pub answers: bool,
    pub serves: bool,
    /// The kind of its seal.
    pub seal: Option<String>,
    /// The handshake failed: its certificate is not one that is trusted and current.
    pub untrusted: bool,
}

impl From<&Member> for MemberFacts {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            state: member.probe.word(),
            answers: !matches!(member.probe, Probe::Pending | Probe::Unreachable(_)),
            serves: member.probe.serves(),
            seal: member.seal_type.clone(),
            untrusted: member.untrusted,
        }
    }
}

/// Begin and end of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub begin: i64,
    pub end: i64,
}

/// An audit device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    pub path: String,
    /// It writes to nowhere.
    pub discards: bool,
    /// It writes secrets in clear.
    pub raw: bool,
    /// It writes to the audit volume, and fails with all others there when that is full.
    pub on_volume: bool,
}

/// The members' NetworkPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// The spec asks for none.
    Off,
    /// It is not there.
    Absent,
    /// Somebody changed it.
    Changed,
    /// It is as it was applied, and lets every address in.
    Open,
    /// It is as it was applied.
    Applied,
}

/// Vault's policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policies {
    /// Declared ones, and the operator's, that are not there or differ.
    pub differ: Vec<String>,
    /// Those that allow too much.
    pub wide: Vec<String>,
    /// How many have not been read yet.
    pub left: usize,
    /// Whether the operator itself holds a root token.
    pub own_login_is_root: bool,
}

/// Rules for logins with a second factor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enforcements {
    /// Those that name a method and somebody who has to use it.
    pub effective: Vec<String>,
    /// Those that concern nobody.
    pub idle: Vec<String>,
}

/// Roles of AppRole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppRoles {
    /// Those whose secret-ids never expire.
    pub endless: Vec<String>,
    /// How many have not been read yet.
    pub left: usize,
}

/// Whether secret-ids of such an AppRole role last for ever.
pub(crate) fn never_expires(bind_secret_id: bool, ttl: Duration, num_uses: u64) -> bool {
    bind_secret_id && ttl == Duration::ZERO && num_uses == 0
}

/// How long a failure may last before it counts: a rolled member is away for a moment.
pub(crate) fn grace(rule: ReadinessRule) -> Duration {
    match rule {
        ReadinessRule::HighAvailability => Duration::from_secs(120),
        ReadinessRule::Tls => Duration::from_secs(30),
        _ => Duration::ZERO,
    }
}

/// Whole seconds, as the API server keeps them.
fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::super::validate::{tests::cluster, validate};
    use super::*;

    fn plain(extra: &str, storage: Option<&str>) -> Vec<&'static str> {
        let mut object = cluster(extra);
        if let Some(storage) = storage {
            object.spec.storage = serde_yaml::from_str(storage).unwrap();
        }
        Wish::from(&validate(&object).unwrap()).plain
    }

    #[test]
    fn every_address_of_the_spec_that_is_asked_in_plain_text_is_named() {
        let transit = |url: &str| {
            format!("  seal: {{transit: {{address: '{url}', keyName: k, tokenSecret: {{name: n, key: t}}}}}}")
        };
        let jwt = |url: &str| {
            format!("  configuration: {{authMethods: [{{path: ci, type: jwt, jwt: {{{url}}}}}]}}")
        };
        for (field, extra, tls) in [
            (
                "spec.seal.transit.address",
                transit("http://kms:8200"),
                transit("https://kms:8200"),
            ),
            (
                "spec.configuration.authMethods.jwt.jwksUrl",
                jwt("jwksUrl: 'HTTP://idp/keys'"),
                jwt("jwksUrl: 'https://idp/keys'"),
            ),
            (
                "spec.configuration.authMethods.jwt.discoveryUrl",
                jwt("discoveryUrl: 'http://idp'"),
                jwt("discoveryUrl: 'https://idp'"),
            ),
        ] {
            let hurried = format!("  profile: Development\n{extra}");
            assert_eq!(plain(&hurried, None), [field], "{extra}");
            assert_eq!(plain(&tls, None), [""; 0], "{tls}");
        }
        let consul = |url: &str| format!("{{consul: {{address: '{url}'}}}}");
        let of_consul = |url: &str| plain("  profile: Development", Some(&consul(url)));
        assert_eq!(of_consul("http://c:8500"), ["spec.storage.consul.address"]);
        assert_eq!(of_consul("https://c:8501"), [""; 0]);
    }
}
