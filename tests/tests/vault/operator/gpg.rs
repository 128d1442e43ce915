//! People with PGP keys: GnuPG itself, with a keyring that lives as long as the test.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::SecretString;

/// A keyring of several people, none of whom protects the key by a passphrase.
pub(crate) struct Keyring {
    home: TempDir,
}

impl Keyring {
    /// Makes a key for each of them.
    pub(crate) fn of(people: &[&str]) -> anyhow::Result<Self> {
        let ring = Self {
            home: TempDir::with_prefix("gpg-")?,
        };
        // gpg itself waits 5 s for its agent, and gives up then.
        wait::until("the agent of the keyring", Duration::from_secs(60), || {
            let launched = ring.command("gpgconf").args(["--launch", "gpg-agent"]).output()?;
            ensure!(launched.status.success(), "{launched:?}");
            Ok(())
        })?;
        for name in people {
            ring.gpg(
                &[
                    "--quick-generate-key",
                    &address(name),
                    "future-default",
                    "default",
                    "never",
                ],
                &[],
            )?;
        }
        Ok(ring)
    }

    /// The public key of one of them, as they would paste it.
    pub(crate) fn public(&self, name: &str) -> anyhow::Result<String> {
        let options = ["--armor", "--export-options", "export-minimal", "--export"];
        let exported = self.gpg(&[&options[..], &[&address(name)]].concat(), &[])?;
        ensure!(!exported.is_empty(), "{name} has no key");
        Ok(String::from_utf8(exported)?)
    }

    /// What one of them reads in a message.
    pub(crate) fn decrypt(&self, message: &[u8]) -> anyhow::Result<SecretString> {
        let text = self.gpg(&["--decrypt"], message)?;
        Ok(SecretString::from(String::from_utf8(text)?))
    }

    fn gpg(&self, args: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut command = self.command("gpg");
        command.args([
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]);
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run gpg (Debian: apt-get install gpg gpg-agent)")?;
        child.stdin.take().context("no stdin")?.write_all(input)?;
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output()?;
        ensure!(
            status.success(),
            "gpg {args:?}: {}",
            String::from_utf8_lossy(&stderr)
        );
        Ok(stdout)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--homedir").arg(self.home.path());
        command
    }
}

impl Drop for Keyring {
    /// gpg leaves an agent of this keyring behind.
    fn drop(&mut self) {
        let _ = self.command("gpgconf").args(["--kill", "all"]).output();
    }
}

fn address(name: &str) -> String {
    format!("{name}@people.test")
}
