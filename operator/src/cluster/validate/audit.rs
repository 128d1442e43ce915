//! Where audit logs may go to. Pure.

use std::collections::BTreeMap;

use vaultkeeper_crds::cluster::{AuditVolume, Configuration, VaultClusterSpec};
use vaultkeeper_crds::size;

use super::{Invalid, invalid};
use crate::cluster::build;

/// How the log of one file is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Size in bytes from which on it is put aside.
    pub max_size: u64,
    /// How many are kept beside it.
    pub keep: u32,
}

/// The volume, if there is to be one.
pub(super) fn volume(spec: &VaultClusterSpec) -> Result<Option<AuditVolume>, Invalid> {
    let Some(volume) = &spec.audit_volume else {
        return Ok(None);
    };
    if size::bytes(&volume.size).is_none() {
        return Err(invalid("spec.auditVolume.size", "must be a size such as 10Gi"));
    }
    Ok(Some(volume.clone()))
}

/// The path of a socket that is called like one of syslog: nothing else of the host is mounted.
pub(super) fn syslog_socket(spec: &VaultClusterSpec) -> Result<(), Invalid> {
    let Some(path) = &spec.pod.syslog_socket else {
        return Ok(());
    };
    let is_step = |step: &str| {
        !step.is_empty()
            && !step.starts_with('.')
            && step
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let steps = path.strip_prefix('/').map(|rest| rest.split('/'));
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = last.strip_suffix(".sock").unwrap_or(last);
    if steps.is_some_and(|mut steps| steps.all(is_step)) && ["log", "dev-log", "syslog"].contains(&name) {
        return Ok(());
    }
    Err(invalid(
        "spec.pod.syslogSocket",
        "must be the path of a socket named log, dev-log or syslog, such as /dev/log: no other socket of the host may be mounted",
    ))
}

/// The files on the volume by name, also of a configuration that is refused: what was declared of them goes on.
pub(super) fn rotated(configuration: &Configuration) -> BTreeMap<String, Rotated> {
    let files = configuration.audit.iter().flatten();
    files
        .filter_map(|device| device.file.as_ref())
        .filter_map(|file| {
            let name = file.path.strip_prefix(build::AUDIT_FOLDER)?.strip_prefix('/')?;
            let max_size = size::bytes(&file.rotate.max_size)?;
            let keep = file.rotate.keep;
            Some((name.to_owned(), Rotated { max_size, keep }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::super::validate;

    fn problem(extra: &str) -> Option<&'static str> {
        validate(&cluster(extra)).err().map(|invalid| invalid.field)
    }

    #[test]
    fn of_the_host_only_a_socket_that_is_called_like_one_of_syslog_is_mounted() {
        let of = |path: &str| problem(&format!("  pod: {{syslogSocket: '{path}'}}"));
        for taken in [
            "/dev/log",
            "/run/systemd/journal/dev-log",
            "/var/run/syslog",
            "/run/x/log.sock",
        ] {
            assert_eq!(of(taken), None, "{taken}");
        }
        for refused in [
            "",
            "log",
            "/run/containerd/containerd.sock",
            "/run/../etc/log",
            "/run//log",
            "/dev/log/",
            "/dev/xlog",
            "/a b/log",
        ] {
            assert_eq!(of(refused), Some("spec.pod.syslogSocket"), "{refused}");
        }
    }

    #[test]
    fn a_size_of_the_volume_that_cannot_be_read_is_refused() {
        assert_eq!(problem("  auditVolume: {size: 10Gi}"), None);
        assert_eq!(
            problem("  auditVolume: {size: 10}"),
            Some("spec.auditVolume.size")
        );
    }
}
