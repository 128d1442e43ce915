//! One look at Vault with the operator's own login, on the active member. Each look reads a bounded number of things;
//! what is left is read a few seconds later.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;
use vaultkeeper_crds::names;
use vaultkeeper_vault::sys::audit::AuditDevice;
use vaultkeeper_vault::{Client, Data, Error};

use super::memory::{Remembered, Seen};
use super::sweep::Sweep;
use super::tokens::Known;
use super::{
    AppRoles, Device, Enforcements, Look, PACE, Policies, RootToken, Tokens, never_expires, policy_text,
};
use crate::cluster::build;
use crate::cluster::configure;
use crate::cluster::execute::Scope;
use crate::role::ClusterName;
use crate::role::sweep::{Facts, Kept};
use crate::sessions::{OPERATOR_ROLE, is_spoilt_by};

/// How many tokens, and policies and roles that are no VaultRole's, one look reads at most, each.
const BATCH: usize = 100;
/// How many calls are under way at a time.
const AT_ONCE: usize = 8;
/// What Vault takes for yes (`strconv.ParseBool` of Go), and keeps as it was written.
const YES: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
/// Files that keep nothing.
const NOWHERE: [&str; 2] = ["/dev/null", "discard"];

/// Looks once. The second value: a failed call may be the fault of the login.
pub(super) async fn look(
    client: &Client,
    scope: &Scope<'_>,
    in_place: bool,
    remembered: &mut Remembered,
    at: Instant,
) -> (Seen, bool) {
    let mut spoilt = false;
    let mut told = |error: Error| {
        spoilt |= is_spoilt_by(&error);
        error.to_string()
    };
    let tokens = tokens(client, &mut remembered.tokens).await.map_err(&mut told);
    let audit = audit(client).await.map_err(&mut told);
    let methods = client.auth_methods().await.map_err(&mut told);
    let accessors = methods.map(|methods| {
        let methods = methods.into_iter();
        methods
            .map(|(path, info)| (path.trim_matches('/').to_owned(), info.accessor))
            .collect::<BTreeMap<_, _>>()
    });
    let begun = *remembered.begun.get_or_insert(at);
    let of_roles = OfRoles::of(scope, at.saturating_duration_since(begun) < PACE);
    let policies = match &accessors {
        Err(why) => Err(why.clone()),
        Ok(_) if !in_place => Err("the declared configuration is not applied yet".to_owned()),
        Ok(accessors) => {
            let wanted = wanted(scope, accessors, remembered.seen.is_some());
            policies(client, &wanted, &of_roles, &mut remembered.policies)
                .await
                .map_err(&mut told)
        }
    };
    let mfa = match &accessors {
        Err(why) => Err(why.clone()),
        Ok(accessors) => enforcements(client, &accessors.values().cloned().collect())
            .await
            .map_err(&mut told),
    };
    let key_made = match client.read("sys/key-status").await.map_err(&mut told) {
        Err(why) => Err(why),
        Ok(answer) => key_made(&answer.data),
    };
    let app_roles = app_roles(client, &of_roles, &mut remembered.app_roles)
        .await
        .map_err(&mut told);
    let unfinished = !in_place
        || tokens.as_ref().is_ok_and(|t| t.left > 0)
        || policies.as_ref().is_ok_and(|p| p.left > 0)
        || app_roles.as_ref().is_ok_and(|r| r.left > 0);
    let seen = Seen {
        at,
        unfinished,
        tokens,
        certificate: Ok(None),
        audit,
        policies,
        mfa,
        key_made,
        app_roles,
    };
    (seen, spoilt)
}

async fn tokens(client: &Client, known: &mut Known) -> Result<Tokens, Error> {
    let alive = client.list_accessors().await?;
    let new = known.sort_out(&alive);
    let now = &new[..new.len().min(BATCH)];
    for some in now.chunks(AT_ONCE) {
        let looked = join_all(some.iter().map(|accessor| client.lookup_accessor(accessor))).await;
        for (accessor, info) in some.iter().zip(looked) {
            match info {
                Ok(info) if info.is_root() => known.root(RootToken {
                    accessor: (*accessor).to_owned(),
                    path: info.path,
                }),
                Ok(_) => known.harmless(accessor),
                // It ended between the two calls.
                Err(Error::NotFound { .. } | Error::BadRequest { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(known.told(new.len() - now.len()))
}

async fn audit(client: &Client) -> Result<Vec<Device>, Error> {
    let devices = client.audit_devices().await?.into_iter();
    Ok(devices.map(|(path, found)| device(&path, &found)).collect())
}

fn device(path: &str, found: &AuditDevice) -> Device {
    let option = |key: &str| found.options.get(key).map(String::as_str).unwrap_or_default();
    Device {
        path: path.trim_matches('/').to_owned(),
        discards: NOWHERE.contains(&option("file_path")),
        raw: YES.contains(&option("log_raw")),
        on_volume: found.kind == "file" && is_on_volume(option("file_path")),
    }
}

fn is_on_volume(file: &str) -> bool {
    let below = file.strip_prefix(build::AUDIT_FOLDER);
    below.is_some_and(|below| below.starts_with('/'))
}

/// The text of each policy that is to be as declared; none where it cannot be made. The operator's own is one of them
/// after the first look: an operator that was upgraded writes another text than the one before it.
fn wanted(
    scope: &Scope<'_>,
    accessors: &BTreeMap<String, String>,
    again: bool,
) -> BTreeMap<String, Option<String>> {
    // Of one that is refused nothing is wanted.
    let configuration = scope.cluster.configuration.clone().unwrap_or_default();
    let mut wanted = configure::declared_policies(&configuration, accessors);
    if again {
        let own = configure::operator_policy(&configuration, configure::rekey_of(scope));
        wanted.insert(OPERATOR_ROLE.to_owned(), Some(own));
    }
    wanted
}

/// What is known of VaultRoles, so that nothing of theirs is read here: their own sweep does that, at its pace.
struct OfRoles {
    kept: Kept,
    /// In the first minute of an operator their passes may be yet to come.
    is_early: bool,
}

impl OfRoles {
    fn of(scope: &Scope<'_>, is_early: bool) -> Self {
        let cluster = ClusterName {
            namespace: scope.cluster.namespace.clone(),
            name: scope.cluster.name.clone(),
        };
        Self {
            kept: scope.ctx.sweep.kept(&cluster),
            is_early,
        }
    }

    /// Those of these names of which their VaultRole does not tell this.
    fn others(&self, names: &[String], fact: Fact) -> Vec<String> {
        let others = names.iter().filter(|name| self.told(name, fact).is_none());
        others.cloned().collect()
    }

    fn told(&self, name: &str, fact: Fact) -> Option<bool> {
        self.kept.get(name).and_then(fact)
    }

    /// Of those some to read now.
    fn next(&self, others: &[String], sweep: &mut Sweep) -> Vec<String> {
        // The name of a VaultRole holds a dot.
        let now = others
            .iter()
            .filter(|name| !(self.is_early && name.contains('.')));
        sweep.next(&now.cloned().collect::<Vec<_>>(), BATCH)
    }

    /// Those of these names that stand out, by what is known of their VaultRoles.
    fn flagged(&self, names: &[String], fact: Fact) -> Vec<String> {
        let flagged = names.iter().filter(|name| self.told(name, fact) == Some(true));
        flagged.cloned().collect()
    }
}

/// One of the facts about a VaultRole.
type Fact = fn(&Facts) -> Option<bool>;

async fn policies(
    client: &Client,
    wanted: &BTreeMap<String, Option<String>>,
    of_roles: &OfRoles,
    sweep: &mut Sweep,
) -> Result<Policies, Error> {
    let own_login_is_root = client.lookup_self().await?.is_root();
    let mut names = client.list_policies().await?;
    // It has no text and cannot be changed.
    names.retain(|name| name != "root");
    let others = of_roles.others(&names, |facts| facts.wide);
    let mut chosen: BTreeSet<String> = of_roles.next(&others, sweep).into_iter().collect();
    chosen.extend(wanted.keys().cloned());
    let chosen: Vec<String> = chosen.into_iter().collect();
    let mut differ = Vec::new();
    for some in chosen.chunks(AT_ONCE) {
        let read = join_all(some.iter().map(|name| read_policy(client, name))).await;
        for (name, text) in some.iter().zip(read) {
            let text = text?;
            if let Some(text) = &text {
                sweep.note(name, policy_text::allows_everything(text));
            }
            let is_as_wanted = |wanted: &Option<String>| match (wanted, &text) {
                (Some(wanted), Some(text)) => wanted.trim() == text.trim(),
                _ => false,
            };
            if wanted.get(name).is_some_and(|wanted| !is_as_wanted(wanted)) {
                differ.push(name.clone());
            }
        }
    }
    let mut wide = sweep.flagged();
    wide.extend(of_roles.flagged(&names, |facts| facts.wide));
    Ok(Policies {
        differ,
        wide,
        left: sweep.left(&others),
        own_login_is_root,
    })
}

/// The text of a policy. Names made by hand may hold a slash.
async fn read_policy(client: &Client, name: &str) -> Result<Option<String>, Error> {
    #[derive(Default, Deserialize)]
    struct Answer {
        #[serde(default)]
        policy: String,
    }
    match client.read(&format!("sys/policies/acl/{name}")).await {
        Ok(answer) => Ok(Some(answer.data.decode::<Answer>().unwrap_or_default().policy)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn enforcements(client: &Client, accessors: &BTreeSet<String>) -> Result<Enforcements, Error> {
    let mut found = Enforcements::default();
    let names = client.list("identity/mfa/login-enforcement").await?;
    for name in names.iter().take(BATCH) {
        let path = format!("identity/mfa/login-enforcement/{name}");
        let answer = match client.read(&path).await {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        // Another shape than the known one concerns nobody that is known.
        let rule: Rule = answer.data.decode().unwrap_or_default();
        let list = if rule.concerns_somebody(accessors) {
            &mut found.effective
        } else {
            &mut found.idle
        };
        list.push(name.clone());
    }
    Ok(found)
}

/// A rule for logins, as `identity/mfa/login-enforcement/<name>` answers it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    mfa_method_ids: Option<Vec<String>>,
    auth_method_accessors: Option<Vec<String>>,
    auth_method_types: Option<Vec<String>>,
    identity_group_ids: Option<Vec<String>>,
    identity_entity_ids: Option<Vec<String>>,
}

impl Rule {
    fn concerns_somebody(&self, accessors: &BTreeSet<String>) -> bool {
        let Self {
            mfa_method_ids,
            auth_method_accessors,
            auth_method_types,
            identity_group_ids,
            identity_entity_ids,
        } = self;
        let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let mut methods = auth_method_accessors.iter().flatten();
        some(mfa_method_ids)
            && (methods.any(|accessor| accessors.contains(accessor))
                || some(auth_method_types)
                || some(identity_group_ids)
                || some(identity_entity_ids))
    }
}

/// When the key of the barrier was made.
fn key_made(answer: &Data) -> Look<i64> {
    #[derive(Deserialize)]
    struct KeyStatus {
        install_time: String,
    }
    let status: KeyStatus = answer.decode().map_err(|error| error.to_string())?;
    let time: Timestamp = status
        .install_time
        .parse()
        .map_err(|_| "the time of the last rotation is not understood".to_owned())?;
    Ok(time.as_second())
}

async fn app_roles(client: &Client, of_roles: &OfRoles, sweep: &mut Sweep) -> Result<AppRoles, Error> {
    let mount = names::APPROLE_AUTH_PATH;
    let roles = match client.list(&format!("auth/{mount}/role")).await {
        Ok(roles) => roles,
        // Somebody disabled the method: there are none.
        Err(Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let others = of_roles.others(&roles, |facts| facts.endless);
    let chosen = of_roles.next(&others, sweep);
    let auth = client.approle(mount);
    for some in chosen.chunks(AT_ONCE) {
        let read = join_all(some.iter().map(|name| auth.read_role(name))).await;
        for (name, role) in some.iter().zip(read) {
            match role {
                Ok(role) => {
                    let (ttl, num_uses) = (role.secret_id_ttl, role.secret_id_num_uses);
                    sweep.note(name, never_expires(role.bind_secret_id, ttl, num_uses));
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let mut endless = sweep.flagged();
    endless.extend(of_roles.flagged(&roles, |facts| facts.endless));
    Ok(AppRoles {
        endless,
        left: sweep.left(&others),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_sweep_of_roles_keeps_is_not_read_again_and_counts_all_the_same() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = names(&["by-hand", "shop.app", "shop.gone", "shop.new"]);
        let facts = |endless| Facts {
            wide: None,
            endless: Some(endless),
        };
        let mut of_roles = OfRoles {
            kept: [("shop.app", true), ("shop.other", true), ("shop.gone", false)]
                .map(|(name, endless)| (name.to_owned(), facts(endless)))
                .into(),
            is_early: true,
        };
        let mut sweep = Sweep::default();
        let others = of_roles.others(&all, |facts| facts.endless);
        assert_eq!(
            of_roles.others(&all, |facts| facts.wide),
            all,
            "of a policy none of them tells"
        );
        assert_eq!(others, ["by-hand", "shop.new"], "the others are known");
        assert_eq!(
            of_roles.next(&others, &mut sweep),
            ["by-hand"],
            "the pass of the other one may be yet to come"
        );
        of_roles.is_early = false;
        assert_eq!(of_roles.next(&others, &mut sweep), ["by-hand", "shop.new"]);
        assert_eq!(
            of_roles.flagged(&all, |facts| facts.endless),
            ["shop.app"],
            "what is not in Vault does not count"
        );
        assert_eq!(of_roles.flagged(&all, |facts| facts.wide), names(&[]));
    }

    #[test]
    fn a_device_that_logs_in_clear_is_known_in_every_way_to_ask_for_it() {
        let is_raw = |value: &str| {
            let found: AuditDevice = serde_json::from_value(json!({
                "type": "file", "options": {"file_path": "stdout", "log_raw": value},
            }))
            .unwrap();
            device("stdout/", &found).raw
        };
        for yes in ["true", "True", "TRUE", "1", "t", "T"] {
            assert!(is_raw(yes), "Vault takes {yes:?} for yes");
        }
        for no in ["false", "0", "F", ""] {
            assert!(!is_raw(no), "Vault takes {no:?} for no");
        }
    }

    #[test]
    fn a_file_on_the_audit_volume_is_told_from_a_stream() {
        let is_on_volume = |file: &str| {
            let found: AuditDevice = serde_json::from_value(json!({
                "type": "file", "options": {"file_path": file},
            }))
            .unwrap();
            device("a/", &found).on_volume
        };
        assert!(is_on_volume("/vault/audit/audit.log"));
        for other in ["stdout", "/dev/stderr", "/vault/auditor"] {
            assert!(!is_on_volume(other), "{other}");
        }
    }

    #[test]
    fn a_rule_for_a_second_factor_counts_when_it_names_a_login_that_is_there() {
        let accessors = BTreeSet::from(["auth_userpass_1".to_owned()]);
        let concerns = |rule: serde_json::Value| {
            let rule: Rule = serde_json::from_value(rule).unwrap();
            rule.concerns_somebody(&accessors)
        };
        assert!(concerns(
            json!({"mfa_method_ids": ["m"], "auth_method_accessors": ["auth_userpass_1"], "auth_method_types": null})
        ));
        assert!(concerns(
            json!({"mfa_method_ids": ["m"], "auth_method_types": ["oidc"]})
        ));
        assert!(
            !concerns(json!({"mfa_method_ids": ["m"], "auth_method_accessors": ["auth_userpass_9"]})),
            "that auth method was disabled"
        );
        assert!(
            !concerns(json!({"mfa_method_ids": [], "auth_method_accessors": ["auth_userpass_1"]})),
            "no method is to be shown"
        );
    }
}
