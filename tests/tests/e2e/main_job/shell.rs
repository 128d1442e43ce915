//! Commands as a person types them, with a `kubectl` that leads to the cluster of the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Context as _;
use vaultkeeper_tests::helm;

use super::installation::Installation;
use crate::shared::TESTBED;

impl Installation {
    /// Runs a script with `sh -e`. Gives the arguments that kubectl got, one line per call.
    pub(crate) fn type_in(&self, script: &str) -> anyhow::Result<String> {
        let folder = tempfile::tempdir()?;
        let (kubectl, seen) = (folder.path().join("kubectl"), folder.path().join("seen"));
        let wrapper = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{}'\nexec '{TESTBED}' kubectl --name '{}' \"$@\"\n",
            seen.display(),
            self.cluster.name()
        );
        fs::write(&kubectl, wrapper)?;
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", folder.path().display());
        helm::run(Command::new("sh").args(["-e", "-c", script]).env("PATH", path))?;
        fs::read_to_string(&seen).context("the script should call kubectl")
    }
}
