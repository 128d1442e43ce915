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
    let Some((mount, inside)) = split(mount, path, namespace) else {
        return path.to_owned();
    };
    let starts_with = |folder: &str| {
        inside
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let folder = match purpose {
        // A secret may itself be called `data`: only what follows a slash is a path below it.
        Purpose::Secret if ["data", "metadata", "subkeys"].into_iter().any(starts_with) => {
            return path.to_owned();
        }
        Purpose::List if inside == "metadata" || starts_with("metadata") => return path.to_owned(),
        Purpose::Secret => "data",
        Purpose::List => "metadata",
    };
    format!("{mount}/{folder}/{inside}")
        .trim_end_matches('/')
        .to_owned()
}

/// Where the metadata of a secret lies; `None` where the path is not that of a secret of KV version 2.
pub(crate) fn metadata_path(mount: &Mount, path: &str, namespace: Option<&str>) -> Option<String> {
    let path = api_path(mount, path, Purpose::Secret, namespace);
    let (mount, inside) = split(mount, &path, namespace)?;
    let name = inside.strip_prefix("data/").filter(|name| !name.is_empty())?;
    Some(format!("{mount}/metadata/{name}"))
}

/// A mount's path as the client calls it: servers put the client's own namespace in front of it.
pub(crate) fn inside_namespace<'a>(mount: &'a str, namespace: Option<&str>) -> &'a str {
    let namespace = namespace.map_or("", |namespace| namespace.trim_matches('/'));
    if namespace.is_empty() {
        return mount;
    }
    let inside = mount
        .strip_prefix(namespace)
        .and_then(|rest| rest.strip_prefix('/'));
    inside.unwrap_or(mount)
}

/// The mount's path as the client calls it and the path inside; `None` outside of it and where it is not KV version 2.
fn split<'a>(mount: &'a Mount, path: &'a str, namespace: Option<&str>) -> Option<(&'a str, &'a str)> {
    if !mount.is_kv2() {
        return None;
    }
    let mount = inside_namespace(&mount.path, namespace).trim_matches('/');
    if path == mount {
        return Some((mount, ""));
    }
    let inside = path.strip_prefix(mount)?.strip_prefix('/')?;
    Some((mount, inside))
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
            ("team/secret/data", "team/secret/data/data"),
            ("team/secret", "team/secret/data"),
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
    fn metadata_lies_beside_the_data() {
        let path = |version, path| metadata_path(&mount(version), path, Some("team/"));
        for given in ["secret/a/b", "secret/data/a/b"] {
            assert_eq!(
                path("2", given).as_deref(),
                Some("secret/metadata/a/b"),
                "for {given}"
            );
        }
        for given in ["secret/metadata/a", "secret/subkeys/a", "secret", "elsewhere/a"] {
            assert_eq!(path("2", given), None, "for {given}");
        }
        assert_eq!(path("1", "secret/a"), None, "version 1 has none");
    }

    #[test]
    fn the_clients_namespace_is_not_doubled() {
        let path = api_path(&mount("2"), "secret/app", Purpose::Secret, Some("team/"));
        assert_eq!(path, "secret/data/app");
        for namespace in [None, Some(""), Some("/"), Some("tea"), Some("other")] {
            assert_eq!(
                inside_namespace("team/secret/", namespace),
                "team/secret/",
                "{namespace:?}"
            );
        }
    }
}
