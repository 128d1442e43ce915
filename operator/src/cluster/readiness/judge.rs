//! The ten verdicts. Pure.

use vaultkeeper_crds::cluster::ReadinessRule;

use crate::backup::standing::Standing;

use super::{
    AppRoles, Device, Enforcements, KEY_AGE, Keeps, LIFE_LEFT, Lifetime, Look, MemberFacts, Network,
    Observations, Policies, Tokens, Wish,
};

/// How many things a message names.
const NAMED: usize = 3;
/// Seals whose key lies in a Secret.
const KEY_IN_A_SECRET: [&str; 2] = ["shamir", "static"];

/// What the observations say of one rule, for a person, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met(String),
    Failed(String),
    /// It could not be looked at, and why.
    Unknown(String),
}

impl Verdict {
    fn met(text: impl Into<String>) -> Self {
        Self::Met(text.into())
    }

    fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    fn unknown(why: &str) -> Self {
        Self::Unknown(format!("could not be looked at: {why}"))
    }
}

/// Judges all ten, in their order. `now` in seconds since 1970.
pub(crate) fn judge(wish: &Wish, observed: &Observations, now: i64) -> Vec<(ReadinessRule, Verdict)> {
    let Observations {
        tokens,
        stored_root_token,
        members,
        voters,
        certificate,
        audit,
        network,
        policies,
        mfa,
        key_made,
        app_roles,
        backups,
    } = observed;
    let verdict = |rule| match rule {
        ReadinessRule::NoRootToken => no_root_token(tokens, *stored_root_token),
        ReadinessRule::AutoUnseal => auto_unseal(members),
        ReadinessRule::Tls => tls(wish, members, certificate, now),
        ReadinessRule::HighAvailability => high_availability(wish, members, voters),
        ReadinessRule::Audit => audited(wish, audit),
        ReadinessRule::NetworkIsolation => network_isolation(network),
        ReadinessRule::Backups => backed_up(backups),
        ReadinessRule::LeastPrivilege => least_privilege(policies),
        ReadinessRule::Mfa => second_factor(mfa),
        ReadinessRule::Rotation => rotation(key_made, app_roles, now),
    };
    ReadinessRule::ALL.map(|rule| (rule, verdict(rule))).into()
}

/// Names of things, the first few of them.
fn named(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    match names.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", first.join(", ")),
        _ => first.join(", "),
    }
}

fn no_root_token(tokens: &Look<Tokens>, stored: bool) -> Verdict {
    if stored {
        return Verdict::failed(
            "the key Secret holds a root token: it is revoked and removed when the operator's own login works; see the condition Configured",
        );
    }
    match tokens {
        Err(why) => Verdict::unknown(why),
        Ok(Tokens { roots, .. }) if !roots.is_empty() => {
            let names: Vec<String> = roots
                .iter()
                .map(|t| format!("{} (made by {})", t.accessor, t.path))
                .collect();
            Verdict::Failed(format!(
                "root tokens are alive, by their accessors: {}. Revoke each as soon as its work is done: vault token revoke -accessor <accessor>",
                named(&names)
            ))
        }
        Ok(Tokens { left: 1.., .. }) => {
            Verdict::unknown("not every token was looked at yet; they are looked at by and by")
        }
        Ok(_) => Verdict::met("no root token is alive, and none is stored"),
    }
}

fn auto_unseal(members: &[MemberFacts]) -> Verdict {
    let mut kinds = members
        .iter()
        .filter_map(|m| Some((m, m.seal.as_deref()?)))
        .peekable();
    if kinds.peek().is_none() {
        return Verdict::unknown("no member says how it is sealed");
    }
    match kinds.find(|(_, kind)| KEY_IN_A_SECRET.contains(kind)) {
        Some((member, kind)) => Verdict::Failed(format!(
            "{} has a {kind} seal, whose keys lie in a Secret of this Kubernetes cluster: use a key management service (spec.seal.awskms, gcpckms, azurekeyvault, ocikms, transit or pkcs11), or waive the rule with who holds the keys",
            member.name
        )),
        None => Verdict::met("a key management service unseals every member"),
    }
}

fn tls(wish: &Wish, members: &[MemberFacts], certificate: &Look<Option<Lifetime>>, now: i64) -> Verdict {
    if let [first, ..] = wish.plain.as_slice() {
        return Verdict::Failed(format!(
            "{first} begins with http://, so that secrets travel in plain text: use https://"
        ));
    }
    let untrusted: Vec<String> = members
        .iter()
        .filter(|m| m.untrusted)
        .map(|m| m.name.clone())
        .collect();
    if !untrusted.is_empty() {
        return Verdict::Failed(format!(
            "{} shows a certificate that is expired, of another CA, or without its name: see its row in status.members, and have it serve the one in the Secret of the members",
            named(&untrusted)
        ));
    }
    match certificate {
        Err(why) => return Verdict::unknown(why),
        Ok(Some(Lifetime { end, .. })) if *end <= now => {
            return Verdict::failed(
                "the members' certificate has expired: correct its source in spec.tls, see the condition Configured",
            );
        }
        Ok(Some(Lifetime { begin, end })) if end - now < (end - begin) / LIFE_LEFT => {
            return Verdict::failed(
                "the members' certificate expires soon and was not renewed: correct its source in spec.tls, see the condition Configured",
            );
        }
        Ok(Some(_) | None) => {}
    }
    if members.iter().any(|m| m.answers) {
        Verdict::met("every member that answers shows a certificate that is trusted and current")
    } else {
        Verdict::unknown("no member answers")
    }
}

fn high_availability(wish: &Wish, members: &[MemberFacts], voters: &Look<usize>) -> Verdict {
    let Wish {
        replicas, storage, ..
    } = wish;
    if *storage == Keeps::Memory {
        return Verdict::failed(
            "the data is in the memory of one member: create a VaultCluster with spec.storage.raft",
        );
    }
    if *replicas < 3 {
        return Verdict::Failed(format!(
            "spec.replicas is {replicas}: set 3 or more, so that one may fail"
        ));
    }
    let away: Vec<String> = members
        .iter()
        .filter(|m| !m.serves)
        .map(|m| format!("{} is {}", m.name, m.state))
        .collect();
    if !away.is_empty() {
        return Verdict::Failed(format!(
            "{}: bring every member back, see the condition Unsealed",
            named(&away)
        ));
    }
    if *storage == Keeps::Consul {
        return Verdict::met("three members or more serve, with Consul as their storage");
    }
    match voters {
        Err(why) => Verdict::unknown(why),
        Ok(voters) if *voters < 3 => Verdict::Failed(format!(
            "{voters} members have a vote in Raft, 3 are needed: a new member gets its vote within half a minute; see sys/storage/raft/configuration"
        )),
        Ok(voters) if voters % 2 == 0 => Verdict::Failed(format!(
            "{voters} members have a vote in Raft, an even number: see sys/storage/raft/configuration for one that is missing or left over"
        )),
        Ok(_) => Verdict::met("three members or more serve and vote"),
    }
}

fn audited(wish: &Wish, audit: &Look<Vec<Device>>) -> Verdict {
    let devices = match audit {
        Err(why) => return Verdict::unknown(why),
        Ok(devices) => devices,
    };
    if let Some(device) = devices.iter().find(|d| d.raw) {
        return Verdict::Failed(format!(
            "audit device {} writes secrets in clear (log_raw): disable it and enable it without that option",
            device.path
        ));
    }
    let needed = if wish.hardened { 2 } else { 1 };
    let (on_volume, elsewhere): (Vec<&Device>, Vec<&Device>) =
        devices.iter().filter(|d| !d.discards).partition(|d| d.on_volume);
    // Those on the volume fail together.
    let logging = elsewhere.len() + on_volume.len().min(1);
    if logging < needed {
        return Verdict::Failed(format!(
            "{logging} of {needed} audit devices log requests: declare {needed} in spec.configuration.audit that do not fail together (files on the audit volume count as one)"
        ));
    }
    Verdict::met("requests are logged, by as many audit devices as the profile asks for")
}

fn network_isolation(network: &Look<Network>) -> Verdict {
    match network {
        Err(why) => Verdict::unknown(why),
        Ok(Network::Off) => Verdict::failed(
            "there is no NetworkPolicy: name the clients in spec.networkPolicy and set spec.networkPolicy.enabled to true",
        ),
        Ok(Network::Absent) => Verdict::failed(
            "the NetworkPolicy of the members is not there: the operator applies it again within a minute; find out who deleted the NetworkPolicy, and see the condition Configured if it stays away",
        ),
        Ok(Network::Changed) => Verdict::failed(
            "somebody changed the NetworkPolicy of the members: the operator applies it again within a minute. Declare what is missing in spec.networkPolicy",
        ),
        Ok(Network::Open) => Verdict::failed(
            "the NetworkPolicy lets every address in: name the blocks of the clients in spec.networkPolicy instead of one that ends in /0",
        ),
        Ok(Network::Applied) => Verdict::met("the NetworkPolicy of the members is as it was applied"),
    }
}

fn backed_up(backups: &Standing) -> Verdict {
    match backups {
        Standing::Off => Verdict::failed(
            "no backup is configured: declare spec.backup, or waive the rule with what makes encrypted snapshots and where they go",
        ),
        Standing::Good(message) => Verdict::met(message.as_str()),
        Standing::Bad { reason, message } => Verdict::Failed(format!("{reason}: {message}")),
    }
}

fn least_privilege(policies: &Look<Policies>) -> Verdict {
    let Policies {
        differ,
        wide,
        left,
        own_login_is_root,
    } = match policies {
        Err(why) => return Verdict::unknown(why),
        Ok(policies) => policies,
    };
    if *own_login_is_root {
        return Verdict::failed(
            "the operator's own login has the policy root: take root out of its role at auth/kubernetes",
        );
    }
    let mut wrong = Vec::new();
    if !differ.is_empty() {
        wrong.push(format!(
            "policies are gone or not as declared: {}. Find out who changed them; spec.configuration.drift: Enforce puts them right",
            named(differ)
        ));
    }
    if !wide.is_empty() {
        wrong.push(format!(
            "policies allow everything: {}. Name the paths that their holders need, instead of `*` or all of sys/ with sudo",
            named(wide)
        ));
    }
    if !wrong.is_empty() {
        return Verdict::Failed(wrong.join(". "));
    }
    if *left > 0 {
        return Verdict::unknown("not every policy was read yet; they are read by and by");
    }
    Verdict::met("declared policies are as declared, and none allows everything")
}

fn second_factor(mfa: &Look<Enforcements>) -> Verdict {
    match mfa {
        Err(why) => Verdict::unknown(why),
        Ok(Enforcements { effective, .. }) if !effective.is_empty() => {
            Verdict::met("logins ask for a second factor")
        }
        Ok(Enforcements { idle, .. }) if !idle.is_empty() => Verdict::Failed(format!(
            "rules for a second factor concern no login: {}. Name the auth methods of people in spec.configuration.mfa.enforcements",
            named(idle)
        )),
        Ok(_) => Verdict::failed(
            "no login asks for a second factor: declare spec.configuration.mfa for the auth methods of people, or waive the rule if no person logs in here",
        ),
    }
}

fn rotation(key_made: &Look<i64>, app_roles: &Look<AppRoles>, now: i64) -> Verdict {
    match key_made {
        Ok(made) if now - made > KEY_AGE => {
            return Verdict::failed(
                "Vault's encryption key is older than 90 days: vault operator rotate, and let Vault do it from now on: vault write sys/rotate/config interval=2160h",
            );
        }
        Ok(_) | Err(_) => {}
    }
    match (key_made, app_roles) {
        (_, Ok(AppRoles { endless, .. })) if !endless.is_empty() => Verdict::Failed(format!(
            "secret-ids of AppRole roles never expire: {}. Log in with a ServiceAccount instead (spec.kubernetes of the VaultRole), give the role a secret_id_ttl, or waive the rule with how they are rotated",
            named(endless)
        )),
        (Err(why), _) | (_, Err(why)) => Verdict::unknown(why),
        (_, Ok(AppRoles { left: 1.., .. })) => {
            Verdict::unknown("not every AppRole role was read yet; they are read by and by")
        }
        (Ok(_), Ok(_)) => {
            Verdict::met("Vault's encryption key is at most 90 days old, and secret-ids expire")
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
