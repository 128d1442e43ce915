//! Audit devices as they are declared: what Vault is asked for, and what OpenBao reads from its file. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vaultkeeper_crds::cluster::Profile;
use vaultkeeper_crds::cluster::configuration::{
    AuditDevice, AuditFormat, Configuration, FileAudit, SocketAudit, SocketType, StdoutAudit, SyslogAudit,
};
use vaultkeeper_vault::sys::audit::AuditDevice as Device;

use super::object::Difference;
use crate::hex::short_hash;

/// One device as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Field of the spec.
    pub field: String,
    /// Path in Vault.
    pub path: String,
    /// What Vault is asked for.
    pub device: Device,
}

/// What is to be done about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuditChange {
    /// It is as declared.
    None,
    /// Enable it.
    Enable,
    /// Disable the one that is there and enable it anew: a device cannot be changed. A stream logs meanwhile.
    Replace(Difference, Device),
    /// It would have to be replaced, but no stream of the server would log meanwhile.
    Alone(Difference),
}

/// Standard output of the active member: what every cluster has unless the spec says otherwise.
pub(crate) fn standard_output() -> Declared {
    ours("stdout", "standard output of the active member", "stdout")
}

/// Standard error: the second device in profile Hardened, unless the spec says otherwise. Another stream, so that one
/// that was disabled or whose reader hangs does not stop Vault; no file, which nothing would rotate.
pub(crate) fn second(profile: Profile) -> Option<Declared> {
    (profile == Profile::Hardened)
        .then(|| ours("stderr", "standard error of the active member", "/dev/stderr"))
}

/// Whether a device stands where this one would: at its path, or with its stream, which Vault gives out once.
pub(crate) fn is_there(declared: &Declared, found: &BTreeMap<String, Device>) -> bool {
    let file = |device: &Device| device.options.get("file_path").cloned();
    found.iter().any(|(path, there)| {
        is_at(path, declared) || there.kind == declared.device.kind && file(there) == file(&declared.device)
    })
}

fn ours(path: &str, description: &str, file: &str) -> Declared {
    let mut options = BTreeMap::from([("file_path".to_owned(), file.to_owned())]);
    if file.starts_with("/dev/") {
        options.insert("mode".to_owned(), KEEP_MODE.to_owned());
    }
    Declared {
        field: "the default of spec.configuration.audit".to_owned(),
        path: path.to_owned(),
        device: Device {
            kind: "file".to_owned(),
            description: description.to_owned(),
            options,
            ..Device::default()
        },
    }
}

/// A stream is not Vault's to change the mode of.
const KEEP_MODE: &str = "0000";

/// The devices of a spec.
pub(crate) fn declared(devices: &[AuditDevice]) -> Vec<Declared> {
    devices
        .iter()
        .enumerate()
        .map(|(n, device)| one(n, device))
        .collect()
}

fn one(index: usize, declared: &AuditDevice) -> Declared {
    let AuditDevice {
        path,
        description,
        format,
        stdout,
        file,
        socket,
        syslog,
    } = declared;
    let mut options = BTreeMap::new();
    let mut option = |key: &str, value: &str| {
        options.insert(key.to_owned(), value.to_owned());
    };
    if *format == AuditFormat::Jsonx {
        option("format", "jsonx");
    }
    let mut kind = "file";
    if let Some(StdoutAudit {}) = stdout {
        option("file_path", "stdout");
    }
    // Rotation is the helper's.
    if let Some(FileAudit { path, rotate: _ }) = file {
        option("file_path", path);
        if path.starts_with("/dev/") {
            option("mode", KEEP_MODE);
        }
    }
    if let Some(SocketAudit { address, type_ }) = socket {
        kind = "socket";
        option("address", address);
        option(
            "socket_type",
            match type_ {
                SocketType::Tcp => "tcp",
                SocketType::Udp => "udp",
                SocketType::Unix => "unix",
            },
        );
    }
    if let Some(SyslogAudit { facility, tag }) = syslog {
        kind = "syslog";
        option("facility", facility);
        option("tag", tag);
    }
    Declared {
        field: format!("spec.configuration.audit[{index}]"),
        path: path.clone(),
        device: Device {
            kind: kind.to_owned(),
            description: description.clone(),
            options,
            ..Device::default()
        },
    }
}

/// Compares one device with those that are there.
pub(crate) fn plan(declared: &Declared, found: &BTreeMap<String, Device>) -> AuditChange {
    let Some((_, there)) = found.iter().find(|(path, _)| is_at(path, declared)) else {
        return AuditChange::Enable;
    };
    match difference(declared, there) {
        None => AuditChange::None,
        // A socket may have lost its receiver without anybody's notice. Were it the only one, Vault would refuse every
        // request, also the one that enables the new device.
        Some(difference)
            if found
                .iter()
                .any(|(path, d)| is_stream(d) && !is_at(path, declared)) =>
        {
            AuditChange::Replace(difference, there.clone())
        }
        Some(difference) => AuditChange::Alone(difference),
    }
}

fn is_at(path: &str, declared: &Declared) -> bool {
    path.trim_end_matches('/') == declared.path
}

/// Standard output or standard error, which a server always has.
fn is_stream(device: &Device) -> bool {
    let file = device.options.get("file_path").map(String::as_str);
    device.kind == "file" && matches!(file, Some("stdout" | "/dev/stdout" | "/dev/stderr"))
}

/// The first thing that differs.
fn difference(declared: &Declared, there: &Device) -> Option<Difference> {
    let wanted = &declared.device;
    let differs = |part: &str, found: &str, wanted: &str| {
        let empty = |text: &str| {
            if text.is_empty() {
                "nothing".to_owned()
            } else {
                format!("{text:?}")
            }
        };
        (found != wanted).then(|| Difference {
            field: format!("{}.{part}", declared.field),
            what: what(declared),
            found: empty(found),
            wanted: empty(wanted),
        })
    };
    differs("kind", &there.kind, &wanted.kind)
        .or_else(|| {
            let keys = wanted.options.keys().chain(there.options.keys());
            keys.filter(|key| !is_default(key, &there.options))
                .find_map(|key| {
                    let value =
                        |options: &BTreeMap<String, String>| options.get(key).cloned().unwrap_or_default();
                    differs(key, &value(&there.options), &value(&wanted.options))
                })
        })
        .or_else(|| differs("description", &there.description, &wanted.description))
}

/// An option that was made by hand and says what Vault does anyway.
fn is_default(key: &str, options: &BTreeMap<String, String>) -> bool {
    let value = options.get(key).map(String::as_str);
    matches!(
        (key, value),
        ("format", Some("json"))
            | ("log_raw" | "elide_list_responses", Some("false"))
            | ("hmac_accessor", Some("true"))
    )
}

/// What a person calls a device.
pub(crate) fn what(declared: &Declared) -> String {
    format!("audit device {}", declared.path)
}

/// The devices in OpenBao's configuration file. The defaults' texts never change: a node that restarts with a device
/// that differs from the one that it knows does not become active. One that comes or goes as a whole is no difference.
pub(crate) fn of_openbao(configuration: &Configuration, profile: Profile) -> String {
    let mut devices = vec![ours("stdout", "standard output", "stdout")];
    devices.extend(second(profile));
    if let Some(list) = &configuration.audit {
        devices = declared(list);
        devices.iter_mut().for_each(name_by_content);
    }
    stanzas(&devices)
}

/// A device of OpenBao cannot be changed: an active member that finds another one at a path that it knows does not
/// become active. So that also "removed, then added anew" makes another path, the path ends in a hash of the device.
/// OpenBao enables what is new before it disables what is gone.
fn name_by_content(declared: &mut Declared) {
    let Device {
        kind,
        description,
        options,
        local: _,
    } = &mut declared.device;
    if kind == "socket" {
        // A receiver that is away while a new device is tried would keep the member from becoming active.
        options.insert("skip_test".to_owned(), "true".to_owned());
    }
    let content = serde_json::to_vec(&(&kind, &description, &options)).unwrap_or_default();
    declared.path = format!("{}-{}", declared.path, short_hash(&content, 4));
}

/// The `audit` stanzas of OpenBao's configuration file: it takes no devices by its API. The API server has checked
/// that no value holds what HCL would read as more than text.
fn stanzas(devices: &[Declared]) -> String {
    let mut text = String::new();
    for Declared {
        field: _,
        path,
        device,
    } in devices
    {
        let Device {
            kind,
            description,
            options,
            local: _,
        } = device;
        let _ = write!(
            text,
            "\naudit \"{kind}\" \"{path}\" {{\n  description = \"{}\"\n  options {{\n",
            plain(description)
        );
        for (key, value) in options {
            let _ = writeln!(text, "    {key} = \"{}\"", plain(value));
        }
        text += "  }\n}\n";
    }
    text
}

/// A CRD of another version may have let more in.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\' | '$'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(text: &str) -> Vec<Declared> {
        declared(&serde_yaml::from_str::<Vec<AuditDevice>>(text).unwrap())
    }

    fn there(devices: &[Declared]) -> BTreeMap<String, Device> {
        devices
            .iter()
            .map(|d| (format!("{}/", d.path), d.device.clone()))
            .collect()
    }

    #[test]
    fn the_defaults_of_openbao_are_the_texts_that_its_clusters_have_always_had() {
        let text = |profile| of_openbao(&Configuration::default(), profile);
        let one = "\naudit \"file\" \"stdout\" {\n  description = \"standard output\"\n  options {\n    file_path = \"stdout\"\n  }\n}\n";
        assert_eq!(text(Profile::Development), one);
        let two = "\naudit \"file\" \"stderr\" {\n  description = \"standard error of the active member\"\n  options {\n    file_path = \"/dev/stderr\"\n    mode = \"0000\"\n  }\n}\n";
        assert_eq!(
            text(Profile::Hardened),
            format!("{one}{two}"),
            "its own rule Audit asks for two"
        );
    }

    #[test]
    fn a_default_is_there_when_its_path_or_its_stream_is_taken() {
        let second = second(Profile::Hardened).unwrap();
        assert!(is_there(
            &second,
            &there(&devices("[{path: err, file: {path: /dev/stderr}}]"))
        ));
        assert!(is_there(
            &second,
            &there(&devices("[{path: stderr, stdout: {}}]"))
        ));
        assert!(!is_there(&second, &there(&[standard_output()])));
        assert!(!is_there(&second, &there(&devices(TWO))), "a socket is no stream");
    }

    const TWO: &str =
        "[{path: out, stdout: {}}, {path: siem, socket: {address: '127.0.0.1:9090', type: Udp}}]";

    #[test]
    fn what_is_there_as_declared_is_left_and_what_is_absent_is_enabled() {
        let two = devices(TWO);
        assert_eq!(plan(&two[1], &there(&two)), AuditChange::None);
        assert_eq!(plan(&two[1], &there(&two[..1])), AuditChange::Enable);
        let mut by_hand = there(&two);
        for device in by_hand.values_mut() {
            device.options.insert("format".to_owned(), "json".to_owned());
        }
        assert_eq!(
            plan(&two[1], &by_hand),
            AuditChange::None,
            "json is what Vault does anyway"
        );
    }

    fn with_raw_log(found: &mut BTreeMap<String, Device>, path: &str) {
        if let Some(device) = found.get_mut(path) {
            device.options.insert("log_raw".to_owned(), "true".to_owned());
        }
    }

    #[test]
    fn a_device_is_replaced_only_while_a_stream_logs() {
        let two = devices(TWO);
        let mut found = there(&two);
        with_raw_log(&mut found, "siem/");
        let AuditChange::Replace(difference, _) = plan(&two[1], &found) else {
            panic!("log_raw writes secrets in clear: the device must be replaced")
        };
        assert_eq!(difference.field, "spec.configuration.audit[1].log_raw");
        found.remove("out/");
        assert!(
            matches!(plan(&two[1], &found), AuditChange::Alone(_)),
            "it is the only one"
        );
    }

    #[test]
    fn the_last_stream_is_not_taken_away_while_only_a_socket_is_left() {
        let two = devices(TWO);
        let mut found = there(&two);
        with_raw_log(&mut found, "out/");
        assert!(
            matches!(plan(&two[0], &found), AuditChange::Alone(_)),
            "the socket's receiver may be gone"
        );
        let other = devices("[{path: err, file: {path: /dev/stderr}}]");
        found.extend(there(&other));
        assert!(matches!(plan(&two[0], &found), AuditChange::Replace(..)));
        with_raw_log(&mut found, "err/");
        assert!(
            matches!(plan(&other[0], &there(&other)), AuditChange::None),
            "as declared"
        );
        found.remove("out/");
        assert!(
            matches!(plan(&other[0], &found), AuditChange::Alone(_)),
            "the other stream is gone"
        );
    }

    #[test]
    fn openbao_reads_the_same_devices_from_its_file_under_paths_that_change_with_them() {
        let text = |list: &str| {
            let configuration = Configuration {
                audit: Some(serde_yaml::from_str(list).unwrap()),
                ..Configuration::default()
            };
            of_openbao(&configuration, Profile::Hardened)
        };
        let wanted = "\naudit \"file\" \"out-HASH\" {\n  description = \"\"\n  options {\n    file_path = \"stdout\"\n  }\n}\n\naudit \"socket\" \"siem-HASH\" {\n  description = \"\"\n  options {\n    address = \"127.0.0.1:9090\"\n    skip_test = \"true\"\n    socket_type = \"udp\"\n  }\n}\n";
        let path = |text: &str, name: &str| {
            let begin = text.find(&format!("\"{name}-")).unwrap() + 1;
            text[begin..].split('"').next().unwrap().to_owned()
        };
        let two = text(TWO);
        let (out, siem) = (path(&two, "out"), path(&two, "siem"));
        assert_eq!(two.replace(&out, "out-HASH").replace(&siem, "siem-HASH"), wanted);
        let changed = text("[{path: out, format: Jsonx, stdout: {}}]");
        assert_ne!(path(&changed, "out"), out, "another device, so another path");
        assert_eq!(
            path(&text("[{path: out, stdout: {}}]"), "out"),
            out,
            "the same device again"
        );
    }

    #[test]
    fn a_text_that_a_stanza_would_end_with_stays_a_text() {
        let mut device = standard_output();
        device.device.description = "a\"}\n${x} b".to_owned();
        assert!(stanzas(&[device]).contains("description = \"a}{x} b\""));
    }
}
