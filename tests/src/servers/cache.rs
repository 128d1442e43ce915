//! The cache of built servers: `<cache>/vaultkeeper/servers/<module>-<hash>/`, outside of the checkout.
//!
//! The hash covers what decides about the program: go.mod, go.sum, our own Go files and the flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use ring::digest::{Context as Hash, SHA256};

use super::Server;

/// Flags that all servers are built with, beside `-ldflags`.
pub(super) const FLAGS: [&str; 2] = ["-mod=readonly", "-trimpath"];

/// How many versions of one module are kept: this checkout's and one other's.
const KEPT: usize = 2;

/// Where the go.mod of a server is.
pub(super) fn module_folder(server: Server) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("servers")
        .join(server.module())
}

/// The folder that holds, or will hold, the server as this checkout pins it.
pub(super) fn entry(server: Server) -> anyhow::Result<PathBuf> {
    let folder = module_folder(server);
    let mut hash = Hash::new(&SHA256);
    for path in sources(&folder)? {
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Name and length first, so that no two sets of files run into the same bytes.
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        hash.update(format!("{name} {}\n", content.len()).as_bytes());
        hash.update(&content);
    }
    hash.update(FLAGS.join(" ").as_bytes());
    hash.update(ldflags(server)?.as_bytes());
    let digest = hash.finish();
    let digest = digest.as_ref()[..6]
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Ok(home()?.join(format!("{}-{digest}", server.module())))
}

/// The folder of all entries: under $XDG_CACHE_HOME or ~/.cache.
pub(super) fn home() -> anyhow::Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|path| Path::new(path).is_absolute()) {
        Some(path) => PathBuf::from(path),
        None => std::env::home_dir()
            .context("there is no home folder: set HOME or XDG_CACHE_HOME")?
            .join(".cache"),
    };
    Ok(cache.join("vaultkeeper/servers"))
}

/// The linker's flags: small programs that know their version.
pub(super) fn ldflags(server: Server) -> anyhow::Result<String> {
    let go_mod = module_folder(server).join("go.mod");
    let text = fs::read_to_string(&go_mod).with_context(|| format!("cannot read {}", go_mod.display()))?;
    ldflags_for(server, &text)
}

fn ldflags_for(server: Server, go_mod: &str) -> anyhow::Result<String> {
    let stamp = match server.module() {
        "kubernetes" => {
            let version = required_version(go_mod, "k8s.io/kubernetes")?;
            let mut parts = version.trim_start_matches('v').split('.');
            let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
                bail!("{version} is not a version of Kubernetes");
            };
            let package = "k8s.io/component-base/version";
            format!(
                " -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
            )
        }
        "vault" => {
            let version = required_version(go_mod, "github.com/hashicorp/vault")?;
            format!(
                " -X github.com/hashicorp/vault/version.Version={}",
                version.trim_start_matches('v')
            )
        }
        "helm" => {
            let version = required_version(go_mod, "helm.sh/helm/v3")?;
            format!(" -X helm.sh/helm/v3/internal/version.version={version}")
        }
        _ => String::new(),
    };
    Ok(format!("-s -w{stamp}"))
}

/// The version that a go.mod requires of a module.
fn required_version<'a>(go_mod: &'a str, module: &str) -> anyhow::Result<&'a str> {
    let version = |line: &'a str| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
            .filter(|word| word.starts_with('v'))
    };
    go_mod
        .lines()
        .find_map(version)
        .with_context(|| format!("the go.mod does not require {module}"))
}

/// Removes entries of the same module beyond the newest ones; `current` always stays.
pub(super) fn remove_old(current: &Path, module: &str) -> anyhow::Result<()> {
    let home = home()?;
    let mut entries = Vec::new();
    for entry in fs::read_dir(&home).with_context(|| format!("cannot list {}", home.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_entry_of(&name, module) && entry.path() != current {
            entries.push((
                entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                entry.path(),
            ));
        }
    }
    entries.sort();
    entries.reverse();
    for (_, path) in entries.into_iter().skip(KEPT - 1) {
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn is_entry_of(name: &str, module: &str) -> bool {
    let hash = name.strip_prefix(module).and_then(|rest| rest.strip_prefix('-'));
    hash.is_some_and(|hash| hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let is_go = path.extension().is_some_and(|extension| extension == "go");
        let is_lock = path
            .file_name()
            .is_some_and(|name| name == "go.mod" || name == "go.sum");
        if is_go || is_lock {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_a_server_reports_is_the_one_that_its_go_mod_requires() {
        let go_mod =
            "module x\nrequire (\n\tk8s.io/kubernetes v1.36.3\n\tk8s.io/api v0.36.3 // indirect\n)\n";
        let flags = ldflags_for(Server::Kubelet, go_mod).unwrap();
        for wanted in [".gitVersion=v1.36.3", ".gitMajor=1 ", ".gitMinor=36"] {
            assert!(
                flags.contains(wanted),
                "the flags should hold {wanted}, got: {flags}"
            );
        }
        let vault = ldflags_for(Server::Vault, "require github.com/hashicorp/vault v1.21.1\n").unwrap();
        assert_eq!(
            vault,
            "-s -w -X github.com/hashicorp/vault/version.Version=1.21.1"
        );
    }

    #[test]
    fn a_replaced_module_is_not_taken_for_the_required_one() {
        let go_mod = "replace github.com/hashicorp/vault => ../vault\n";
        assert!(
            required_version(go_mod, "github.com/hashicorp/vault").is_err(),
            "a replace line requires nothing"
        );
    }

    #[test]
    fn entries_of_another_module_are_not_removed_as_old_ones() {
        assert!(is_entry_of("vault-0123456789ab", "vault"));
        assert!(
            !is_entry_of("vault-1.20-0123456789ab", "vault"),
            "a longer module name is another module"
        );
        assert!(
            !is_entry_of("vault-0123456789ab.building", "vault"),
            "a build under way is no entry"
        );
    }
}
