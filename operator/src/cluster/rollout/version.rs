//! Which of two versions is older. Pure.

use std::cmp::Ordering;

use vaultkeeper_crds::VaultCluster;

use crate::cluster::error::Error;

/// Refuses a spec with an older version than what serves, before the template changes: any pod that dies comes back from
/// it. What never served does not count, so that an upgrade that never came up can be taken back.
pub(crate) fn check(cluster: &VaultCluster) -> Result<(), Error> {
    let wanted = &cluster.spec.version;
    let members = cluster.status.iter().flat_map(|status| &status.members);
    let serving = members.filter(|m| matches!(m.state.as_str(), "Active" | "Standby"));
    let newer = serving
        .filter_map(|m| Some((m, m.version.as_deref()?)))
        .find(|(_, runs)| is_older(wanted, runs));
    match newer {
        Some((member, runs)) => Err(Error::Downgrade(refusal(wanted, &member.name, runs))),
        None => Ok(()),
    }
}

/// Whether `wanted` is older than `running`. What is not a version is older than nothing.
pub(crate) fn is_older(wanted: &str, running: &str) -> bool {
    match (parse(wanted), parse(running)) {
        (Some(wanted), Some(running)) => wanted.cmp(&running) == Ordering::Less,
        _ => false,
    }
}

/// Why an older version is not rolled out, and what to do.
pub(crate) fn refusal(wanted: &str, member: &str, running: &str) -> String {
    format!(
        "spec.version {wanted} is older than {running}, which {member} runs, and an older server may not understand what a newer one has written: set spec.version to {running} or later. To go back, restore a snapshot that the older version has taken into a new cluster"
    )
}

/// Numbers, then whether it is a release: 1.22.0-rc1 comes before 1.22.0. Editions (`+ent`) do not matter.
fn parse(text: &str) -> Option<([u64; 3], bool)> {
    let text = text.trim().trim_start_matches('v');
    let text = text.split_once('+').map_or(text, |(before, _)| before);
    let (numbers, is_release) = match text.split_once('-') {
        Some((numbers, _)) => (numbers, false),
        None => (text, true),
    };
    let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
    let parsed = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some((parsed, is_release))
}

#[cfg(test)]
mod tests {
    use vaultkeeper_crds::VaultClusterStatus;
    use vaultkeeper_crds::cluster::MemberStatus;

    use super::*;
    use crate::cluster::validate::tests::cluster;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (older, newer) in [
            ("1.9.0", "1.10.0"),
            ("1.20.4", "1.21.0"),
            ("1.21.1", "2.0.0"),
            ("1.22.0-rc1", "1.22.0"),
            ("1.20.4", "1.21.1+ent.hsm"),
            ("1.21.0", "v1.21.1"),
        ] {
            assert!(is_older(older, newer), "{older} is older than {newer}");
            assert!(!is_older(newer, older), "{newer} is not older than {older}");
        }
    }

    #[test]
    fn a_spec_is_refused_by_what_served_last() {
        let check = |state: &str, version: &str| {
            let mut object = cluster("");
            let row = MemberStatus {
                name: "main-1".to_owned(),
                state: state.to_owned(),
                version: Some(version.to_owned()),
                ..MemberStatus::default()
            };
            object.status = Some(VaultClusterStatus {
                members: vec![row],
                ..VaultClusterStatus::default()
            });
            check(&object)
        };
        let refused = check("Standby", "1.22.0").unwrap_err();
        assert_eq!(refused.reason(), "DowngradeRefused");
        assert!(check("Sealed", "1.22.0").is_ok(), "it never served");
        assert!(check("Active", "1.21.1").is_ok(), "the same");
        assert!(check("Active", "1.20.4").is_ok(), "an upgrade");
    }

    #[test]
    fn an_edition_or_a_word_is_no_other_version() {
        assert!(!is_older("1.21.1", "1.21.1+ent"));
        assert!(!is_older("1.21.1+ent", "1.21.1"));
        assert!(!is_older("1.21.1", "nightly"), "nothing is known of it");
        assert!(!is_older("1.21", "1.22.0"), "not a whole version");
    }
}
