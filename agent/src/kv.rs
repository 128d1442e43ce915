//! Where KV version 2 keeps what a template names: `data/` and `metadata/` are put in as consul-template does.

use vaultkeeper_vault::kv::Mount;

/// What is done with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Read or write a secret.
    Secret,
    /// List names.
    List,
}

/// The path to call. `namespace` is the client's own: servers put it in front of the mount's path.
pub(crate) fn api_path(mount: &Mount, path: &str, purpose: Purpose, namespace: Option<&str>) -> String {
    if !mount.is_kv2() {
        return path.to_owned();
    }
    let namespace = namespace
        .map(|namespace| format!("{}/", namespace.trim_matches('/')))
        .unwrap_or_default();
    let mount = mount
        .path
        .strip_prefix(&namespace)
        .unwrap_or(&mount.path)
        .trim_matches('/');
    let inside = if path == mount {
        Some("")
    } else {
        path.strip_prefix(mount).and_then(|rest| rest.strip_prefix('/'))
    };
    let Some(inside) = inside else {
        return path.to_owned();
    };
    let first = inside.split('/').next().unwrap_or("");
    let wanted = match purpose {
        Purpose::Secret if matches!(first, "data" | "metadata" | "subkeys") => return path.to_owned(),
        Purpose::List if first == "metadata" => return path.to_owned(),
        Purpose::Secret => "data",
        Purpose::List => "metadata",
    };
    format!("{mount}/{wanted}/{inside}")
        .trim_end_matches('/')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(version: &str) -> Mount {
        Mount {
            path: "team/secret/".to_owned(),
            kind: "kv".to_owned(),
            options: [("version".to_owned(), version.to_owned())].into(),
        }
    }

    #[test]
    fn data_is_put_after_the_mount_once() {
        for (given, wanted) in [
            ("team/secret/app", "team/secret/data/app"),
            ("team/secret/data/app", "team/secret/data/app"),
            ("team/secret/metadata/app", "team/secret/metadata/app"),
            ("team/secret/subkeys/app", "team/secret/subkeys/app"),
            ("team/secret/database", "team/secret/data/database"),
            ("elsewhere/app", "elsewhere/app"),
        ] {
            assert_eq!(
                api_path(&mount("2"), given, Purpose::Secret, None),
                wanted,
                "for {given}"
            );
        }
        assert_eq!(
            api_path(&mount("1"), "team/secret/app", Purpose::Secret, None),
            "team/secret/app"
        );
    }

    #[test]
    fn lists_go_to_metadata() {
        assert_eq!(
            api_path(&mount("2"), "team/secret/a", Purpose::List, None),
            "team/secret/metadata/a"
        );
        assert_eq!(
            api_path(&mount("2"), "team/secret", Purpose::List, None),
            "team/secret/metadata"
        );
        assert_eq!(
            api_path(&mount("2"), "team/secret/metadata/a", Purpose::List, None),
            "team/secret/metadata/a"
        );
    }

    #[test]
    fn the_clients_namespace_is_not_doubled() {
        let path = api_path(&mount("2"), "secret/app", Purpose::Secret, Some("team/"));
        assert_eq!(path, "secret/data/app");
    }
}
