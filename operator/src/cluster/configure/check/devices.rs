//! What audit devices must not be: where the pod has no place for their lines. Pure.

use vaultkeeper_crds::cluster::AuditVolume;
use vaultkeeper_crds::cluster::configuration::{AuditDevice, FileAudit, SocketType};
use vaultkeeper_crds::size;

use super::{check_name, is_plain};
use crate::cluster::build::AUDIT_FOLDER;

/// Streams that a `file` device may write to.
const STREAMS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];
/// How many more than are kept must fit on the volume: the one that is written, and what comes before it is put aside.
const ROOM: u64 = 2;

/// Where audit devices may log to, beside the streams of the server and the network.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places<'a> {
    /// The members' volume for audit logs.
    pub volume: Option<&'a AuditVolume>,
    /// Whether the pod sees the machine's syslog.
    pub has_syslog: bool,
}

/// Checks the devices.
pub(super) fn check(devices: &[AuditDevice], places: Places<'_>) -> Result<(), String> {
    let mut streams = Vec::new();
    let mut room = Some(0_u64);
    for (n, device) in devices.iter().enumerate() {
        let AuditDevice {
            path,
            description: _,
            format: _,
            stdout,
            file,
            socket,
            syslog,
        } = device;
        check_name("audit", path)?;
        let kinds = [
            stdout.is_some(),
            file.is_some(),
            socket.is_some(),
            syslog.is_some(),
        ];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            return Err(format!(
                "audit[{n}]: must name exactly one known kind: stdout, file, socket or syslog"
            ));
        }
        if syslog.is_some() && !places.has_syslog {
            return Err(format!(
                "audit[{n}].syslog: the pod does not see the machine's syslog: set spec.pod.syslogSocket, or use a socket over TCP or UDP"
            ));
        }
        if socket.as_ref().is_some_and(|s| s.type_ == SocketType::Unix) {
            return Err(format!(
                "audit[{n}].socket.type: nothing in the pod could share a Unix socket: use Tcp or Udp"
            ));
        }
        if let Some(file) = file
            .as_ref()
            .filter(|file| !STREAMS.contains(&file.path.as_str()))
        {
            let needed = check_file(&format!("audit[{n}].file"), file, places)?;
            room = room.and_then(|room| room.checked_add(needed?));
        }
        streams.extend(stdout.as_ref().map(|_| "stdout"));
        streams.extend(file.as_ref().map(|file| file.path.as_str()));
    }
    streams.sort_unstable();
    if streams.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(
            "audit: two devices for the same stream or file, of which Vault refuses the second: remove one"
                .to_owned(),
        );
    }
    let volume = places.volume.map_or(Some(0), |volume| size::bytes(&volume.size));
    if room.zip(volume).is_none_or(|(room, volume)| room > volume) {
        return Err(
            "audit: the files do not fit on the volume, which must hold each of them rotate.keep + 2 times at rotate.maxSize: lower these, or create another VaultCluster with a larger spec.auditVolume.size"
                .to_owned(),
        );
    }
    Ok(())
}

/// Checks a file on the volume. Gives the bytes that it and those put aside need; none are more than can be counted.
fn check_file(field: &str, file: &FileAudit, places: Places<'_>) -> Result<Option<u64>, String> {
    let FileAudit { path, rotate } = file;
    if places.volume.is_none() {
        return Err(format!(
            "{field}.path: needs spec.auditVolume: use that in a new VaultCluster, or /dev/stderr, /dev/stdout, or a socket"
        ));
    }
    let name = path
        .strip_prefix(AUDIT_FOLDER)
        .and_then(|rest| rest.strip_prefix('/'));
    if !name.is_some_and(is_file_name) {
        return Err(format!(
            "{field}.path: must be a plain name below {AUDIT_FOLDER}/, such as {AUDIT_FOLDER}/audit.log, or /dev/stderr or /dev/stdout"
        ));
    }
    let max_size = size::bytes(&rotate.max_size).filter(|size| *size > 0);
    let Some(max_size) = max_size.filter(|_| rotate.keep > 0) else {
        return Err(format!(
            "{field}.rotate: maxSize must be a size such as 100Mi, and keep at least 1"
        ));
    };
    Ok(max_size.checked_mul(u64::from(rotate.keep) + ROOM))
}

/// `audit.log`: never the name of one that was put aside, which ends in a number.
fn is_file_name(name: &str) -> bool {
    let (stem, end) = name.split_once('.').unwrap_or((name, "log"));
    is_plain(stem)
        && stem.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !end.is_empty()
        && end.chars().all(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use vaultkeeper_crds::cluster::Configuration;

    use super::*;

    #[test]
    fn a_file_needs_the_volume_a_plain_name_and_room_and_syslog_its_socket() {
        let volume: AuditVolume = serde_yaml::from_str("{size: 1Gi}").unwrap();
        let with = |volume: Option<&AuditVolume>, has_syslog: bool, devices: &str| {
            let text = format!("{{audit: [{devices}]}}");
            let configuration: Configuration = serde_yaml::from_str(&text).unwrap();
            check(&configuration.audit.unwrap(), Places { volume, has_syslog }).err()
        };
        let on_volume = |devices: &str| with(Some(&volume), false, devices);
        let file = |path: &str, rotate: &str| {
            on_volume(&format!(
                "{{path: a, file: {{path: '{path}', rotate: {rotate}}}}}"
            ))
        };
        let log = "{path: a, file: {path: /vault/audit/audit.log}}";
        assert_eq!(on_volume(log), None);
        assert!(
            with(None, true, log).is_some_and(|said| said.contains("needs spec.auditVolume")),
            "there is no volume"
        );
        for wrong in [
            "/vault/audit/../data/x",
            "/vault/audit/a/b",
            "/vault/audit/.a",
            "/vault/audit/",
            "/vault/audit/a.log.1",
            "/vault/audit/a.1",
            "/vault/auditor",
            "/vault/data/a.log",
        ] {
            let said = file(wrong, "{}");
            assert!(said.is_some_and(|said| said.contains("plain name")), "{wrong}");
        }
        // 1Gi are 1024Mi.
        assert_eq!(file("/vault/audit/a", "{maxSize: 128Mi, keep: 6}"), None);
        for wrong in [
            "{maxSize: 129Mi, keep: 6}",
            "{maxSize: 128Mi, keep: 7}",
            "{maxSize: 9999999Ti}",
        ] {
            let said = file("/vault/audit/a", wrong);
            assert!(said.is_some_and(|said| said.contains("do not fit")), "{wrong}");
        }
        assert!(file("/vault/audit/a", "{keep: 0}").is_some());
        assert!(file("/vault/audit/a", "{maxSize: 100}").is_some());
        let two = "{path: a, file: {path: /vault/audit/a}}, {path: b, file: {path: /vault/audit/b}}";
        assert!(
            on_volume(two).is_some_and(|said| said.contains("do not fit")),
            "2 x 700Mi"
        );
        let syslog = "{path: a, syslog: {}}";
        assert_eq!(with(None, true, syslog), None);
        assert!(on_volume(syslog).is_some_and(|said| said.contains("spec.pod.syslogSocket")));
    }
}
