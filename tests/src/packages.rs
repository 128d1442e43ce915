//! What the testbed takes from the distribution: `tests/packages.txt`, which `tests/prepare` reads, too.

use std::path::Path;

use anyhow::bail;

/// The list, one need per line.
const LIST: &str = include_str!("../packages.txt");

/// Folders with programs of the administrator, which a user's PATH may lack.
const ADMIN_PATH: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What a need is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To compile anything.
    Build,
    /// To run the whole node.
    Node,
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// A command, or the absolute path of a file.
    pub what: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
    /// What for.
    pub purpose: Purpose,
}

/// All lines of the list.
pub fn needs() -> impl Iterator<Item = Need> {
    LIST.lines().filter_map(parse)
}

/// The packages to install, without repetition, in the order of the list.
pub fn missing() -> Vec<&'static str> {
    let mut packages = Vec::new();
    for need in needs() {
        if !is_there(need.what) && !packages.contains(&need.package) {
            packages.push(need.package);
        }
    }
    packages
}

/// An error with the command to type if anything is missing.
pub fn check() -> anyhow::Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        bail!("packages are missing. As root: {}", install_command(&missing));
    }
    Ok(())
}

/// What installs these packages on Debian.
pub fn install_command(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(ADMIN_PATH.map(Into::into))
        .any(|folder| folder.join(what).is_file())
}

fn parse(line: &'static str) -> Option<Need> {
    let line = line.split('#').next()?;
    let mut words = line.split_whitespace();
    let (what, package) = (words.next()?, words.next()?);
    let purpose = match words.next()? {
        "build" => Purpose::Build,
        "node" => Purpose::Node,
        _ => return None,
    };
    Some(Need {
        what,
        package,
        purpose,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_understood() {
        let lines = LIST
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .count();
        assert_eq!(
            needs().count(),
            lines,
            "lines of tests/packages.txt that are read"
        );
    }

    #[test]
    fn a_missing_command_is_named_with_its_package() {
        assert!(
            !is_there("no-such-command-anywhere"),
            "a command in no folder of PATH is missing"
        );
        assert!(is_there("sh"), "sh is in PATH");
        assert!(is_there("/proc/self/stat"), "a path is looked at directly");
    }
}
