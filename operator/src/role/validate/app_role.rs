//! Checks the AppRole login.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vaultkeeper_crds::cidr::ParseCidrError;
use vaultkeeper_crds::role::{AppRole, CredentialsSecret, RestartTarget, Rotation, Wrap};
use vaultkeeper_crds::{annotations, cidr, duration};

use super::{Refusal, invalid, is_object_name};

/// The overlap unless the spec says another one.
const OVERLAP: Duration = Duration::from_secs(3600);
/// A secret-id that lives shorter would be replaced all the time.
const SHORTEST_TTL: Duration = Duration::from_secs(30);
/// Each replacement is a write to Vault and to the Secret.
const SHORTEST_PERIOD: Duration = Duration::from_secs(10);
/// A wrapping token that lives shorter would be replaced all the time.
const SHORTEST_WRAP: Duration = Duration::from_secs(10);
/// After how much of its life a secret-id is replaced, in percent.
const AFTER_PERCENT: u32 = 66;

/// What an AppRole login is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRoleWish {
    /// Name of the Secret.
    pub secret_name: String,
    /// What it looks like.
    pub secret: CredentialsSecret,
    /// The role-id to have; none for one that Vault makes.
    pub role_id: Option<String>,
    /// Whether a login needs a secret-id.
    pub bind_secret_id: bool,
    /// Whether secret-ids stay in one cluster.
    pub local_secret_ids: bool,
    /// From where a login may come, sorted; empty for anywhere.
    pub bound_cidrs: Vec<String>,
    /// How long a secret-id lives; zero for ever.
    pub ttl: Duration,
    /// How many logins it is good for; zero for no limit.
    pub num_uses: u64,
    /// When it is replaced.
    pub rotation: RotationWish,
    /// For how long it is wrapped; none for plain delivery.
    pub wrap: Option<Duration>,
}

/// When a secret-id is replaced, and what happens then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationWish {
    /// At which age.
    pub period: Period,
    /// How long the one before works on; none for the usual time.
    pub overlap: Option<Duration>,
    /// What is restarted.
    pub targets: Vec<RestartTarget>,
}

/// At which age a secret-id is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// At none.
    Never,
    /// At this one.
    Every(Duration),
    /// After this share of its life, in percent.
    AfterPercent(u32),
}

impl RotationWish {
    /// How long the one before works on, when the one after it is replaced at the age of `period`.
    pub fn overlap(&self, period: Option<Duration>) -> Duration {
        let usual = || period.map_or(OVERLAP, |period| OVERLAP.min(period / 2));
        self.overlap.unwrap_or_else(usual)
    }
}

/// Checks all of it.
pub(super) fn wish(app_role: &AppRole) -> Result<AppRoleWish, Refusal> {
    let AppRole {
        secret_name,
        secret,
        role_id,
        bind_secret_id,
        secret_id_ttl,
        secret_id_num_uses,
        secret_id_bound_cidrs,
        local_secret_ids,
        rotation,
        wrap,
    } = app_role;
    let ttl = secret_id_ttl
        .as_deref()
        .map(|text| time("secretIdTtl", text, SHORTEST_TTL))
        .transpose()?;
    let wish = AppRoleWish {
        secret_name: name_of_secret(secret_name)?,
        secret: shape(secret)?,
        role_id: role_id.as_deref().map(checked_role_id).transpose()?,
        bind_secret_id: *bind_secret_id,
        local_secret_ids: *local_secret_ids,
        bound_cidrs: cidrs(secret_id_bound_cidrs)?,
        ttl: ttl.unwrap_or_default(),
        num_uses: match secret_id_num_uses {
            None => 0,
            Some(uses) => u64::try_from(*uses).ok().filter(|uses| *uses > 0).ok_or_else(|| {
                invalid(format!(
                    "spec.appRole.secretIdNumUses: {uses} is no number of logins: leave it out for any number"
                ))
            })?,
        },
        rotation: checked_rotation(rotation.as_ref(), ttl)?,
        wrap: match wrap {
            None => None,
            Some(Wrap { ttl: text }) => Some(wrap_ttl(text, ttl)?),
        },
    };
    if *bind_secret_id {
        return Ok(wish);
    }
    if wish.bound_cidrs.is_empty() || wish.bound_cidrs.iter().any(|block| block.ends_with("/0")) {
        return Err(invalid(
            "spec.appRole.bindSecretId: may be false only with secretIdBoundCidrs that are not the whole world: the role-id \
             alone would let anybody in"
                .to_owned(),
        ));
    }
    if ttl.is_some() || wish.num_uses > 0 || rotation.is_some() || wrap.is_some() {
        return Err(invalid(
            "spec.appRole: without a secret-id (bindSecretId: false) there is nothing for secretIdTtl, secretIdNumUses, \
             rotation or wrap: remove them"
                .to_owned(),
        ));
    }
    Ok(wish)
}

fn name_of_secret(name: &str) -> Result<String, Refusal> {
    if !is_object_name(name) {
        return Err(invalid(format!(
            "spec.appRole.secretName: `{name}` is no name of a Secret: change it"
        )));
    }
    // In the operator's namespace these names belong to unseal shares and CA keys, also before those exist.
    if name.starts_with("vault-keys.") || name.starts_with("vault-ca.") {
        return Err(invalid(format!(
            "spec.appRole.secretName: `{name}` is reserved for the operator: choose another name"
        )));
    }
    Ok(name.to_owned())
}

fn checked_role_id(role_id: &str) -> Result<String, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if role_id.is_empty() || role_id.len() > 128 || !role_id.chars().all(plain) {
        return Err(invalid(format!(
            "spec.appRole.roleId: `{role_id}` is no role-id: use at most 128 letters, digits and - _ ."
        )));
    }
    Ok(role_id.to_owned())
}

fn time(field: &str, text: &str, shortest: Duration) -> Result<Duration, Refusal> {
    let time = duration::parse(text).map_err(|error| invalid(format!("spec.appRole.{field}: {error}")))?;
    if time < shortest {
        return Err(invalid(format!(
            "spec.appRole.{field}: {text} is too short: write at least {} s",
            shortest.as_secs()
        )));
    }
    Ok(time)
}

fn wrap_ttl(text: &str, secret_id_ttl: Option<Duration>) -> Result<Duration, Refusal> {
    let ttl = time("wrap.ttl", text, SHORTEST_WRAP)?;
    match secret_id_ttl {
        Some(life) if ttl >= life => Err(invalid(format!(
            "spec.appRole.wrap.ttl: {text} is not shorter than secretIdTtl, {} s: it would outlive what is in it",
            life.as_secs()
        ))),
        _ => Ok(ttl),
    }
}

fn cidrs(blocks: &[String]) -> Result<Vec<String>, Refusal> {
    for block in blocks {
        // Bits behind the length mean nothing to Vault, and an address alone is refused by it.
        let is_block = !matches!(cidr::parse(block), Err(ParseCidrError::Malformed(_)));
        if !is_block || !block.contains('/') {
            return Err(invalid(format!(
                "spec.appRole.secretIdBoundCidrs: `{block}` is no block of addresses: write an address and a length, such as \
                 10.0.0.0/8"
            )));
        }
    }
    let sorted: BTreeSet<&String> = blocks.iter().collect();
    Ok(sorted.into_iter().cloned().collect())
}

fn checked_rotation(rotation: Option<&Rotation>, ttl: Option<Duration>) -> Result<RotationWish, Refusal> {
    let usual = Rotation::default();
    let Rotation {
        every,
        after_percent_of_ttl,
        overlap,
        restart_targets,
    } = rotation.unwrap_or(&usual);
    let period = match (every, after_percent_of_ttl) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "spec.appRole.rotation: holds every and afterPercentOfTtl: remove one of them".to_owned(),
            ));
        }
        (Some(text), None) => {
            let every = time("rotation.every", text, SHORTEST_PERIOD)?;
            if let Some(ttl) = ttl
                && every >= ttl
            {
                return Err(invalid(format!(
                    "spec.appRole.rotation.every: {text} is not shorter than secretIdTtl, {} s: a secret-id would end \
                     before it is replaced",
                    ttl.as_secs()
                )));
            }
            Period::Every(every)
        }
        (None, Some(percent)) => {
            let percent = u32::try_from(*percent).ok().filter(|p| (10..=90).contains(p));
            let percent = percent.ok_or_else(|| {
                invalid("spec.appRole.rotation.afterPercentOfTtl: is not between 10 and 90".to_owned())
            })?;
            if ttl.is_none() {
                return Err(invalid(
                    "spec.appRole.rotation.afterPercentOfTtl: there is no secretIdTtl: add one, or use every"
                        .to_owned(),
                ));
            }
            Period::AfterPercent(percent)
        }
        (None, None) if ttl.is_some() => Period::AfterPercent(AFTER_PERCENT),
        (None, None) => Period::Never,
    };
    let overlap = overlap
        .as_deref()
        .map(|text| time("rotation.overlap", text, Duration::ZERO))
        .transpose()?;
    if let (Period::Every(every), Some(overlap)) = (period, overlap)
        && overlap >= every
    {
        return Err(invalid(format!(
            "spec.appRole.rotation.overlap: {} s is not shorter than every, {} s: old secret-ids would pile up",
            overlap.as_secs(),
            every.as_secs()
        )));
    }
    if let Some(bad) = restart_targets
        .iter()
        .find(|target| !is_object_name(&target.name))
    {
        return Err(invalid(format!(
            "spec.appRole.rotation.restartTargets: `{}` is no name of a workload: change it",
            bad.name
        )));
    }
    Ok(RotationWish {
        period,
        overlap,
        targets: restart_targets.clone(),
    })
}

fn shape(secret: &CredentialsSecret) -> Result<CredentialsSecret, Refusal> {
    let CredentialsSecret {
        type_,
        labels,
        annotations,
        keys,
    } = secret;
    if !is_free_type(type_) {
        return Err(invalid(format!(
            "spec.appRole.secret.type: `{type_}` is none that may be used: leave it out, or take one with a domain of your \
             own, such as example.com/vault"
        )));
    }
    let reserved = |key: &String| {
        key.starts_with(annotations::PREFIX)
            || key == "app.kubernetes.io/managed-by"
            || key.starts_with("kubernetes.io/")
            || key.starts_with("kubectl.kubernetes.io/")
    };
    check_map("labels", labels, |key, value| {
        !reserved(key) && is_label_value(value)
    })?;
    check_map("annotations", annotations, |key, _| !reserved(key))?;
    let mut seen = BTreeSet::new();
    for key in keys.names() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if key.is_empty() || key.len() > 253 || !key.chars().all(plain) || key == "." || key.starts_with("..")
        {
            return Err(invalid(format!(
                "spec.appRole.secret.keys: `{key}` is no name of a key: use letters, digits and - _ ."
            )));
        }
        if !seen.insert(key) {
            return Err(invalid(format!(
                "spec.appRole.secret.keys: `{key}` is there twice: give each its own name"
            )));
        }
    }
    Ok(secret.clone())
}

/// A Secret of a type of Kubernetes' own would be read, or filled, by one of its controllers.
fn is_free_type(text: &str) -> bool {
    let Some((domain, name)) = text.split_once('/') else {
        return text == "Opaque";
    };
    let taken = ["kubernetes.io", "k8s.io", "helm.sh"];
    let is_taken = |owner: &str| domain == owner || domain.ends_with(&format!(".{owner}"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    is_object_name(domain)
        && !taken.into_iter().any(is_taken)
        && !name.is_empty()
        && text.len() <= 253
        && name.chars().all(plain)
}

fn check_map(
    field: &str,
    map: &BTreeMap<String, String>,
    is_good: impl Fn(&String, &String) -> bool,
) -> Result<(), Refusal> {
    match map
        .iter()
        .find(|(key, value)| !is_qualified_name(key) || !is_good(key, value))
    {
        None => Ok(()),
        Some((key, _)) => Err(invalid(format!(
            "spec.appRole.secret.{field}: `{key}` is not allowed there, or its value is not: change it"
        ))),
    }
}

/// `name` or `domain/name`, as Kubernetes wants the keys of labels and annotations.
fn is_qualified_name(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(d, n)| (Some(d), n));
    domain.is_none_or(is_object_name) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().next_back())
}

#[cfg(test)]
#[path = "app_role_tests.rs"]
mod tests;
