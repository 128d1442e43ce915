//! A real Vault over TLS with ten secrets, and what an agent logs in to it with.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tempfile::TempDir;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::vault_server::{Config, VaultServer};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::approle::{Role, SecretIdRequest};
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::sys::init::{InitRequest, Split};
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::{Client, ExposeSecret as _};

/// How many secrets there are, and usually as many files.
pub(crate) const SECRETS: usize = 10;

/// For what takes seconds on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The server with its agents' files.
pub(crate) struct Bed {
    root: Client,
    login: PathBuf,
    /// In memory where there is such a place, as in a pod: agents sync what they write, or do not.
    files: TempDir,
    _server: VaultServer,
}

impl Bed {
    /// A new folder for an agent's files.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.files.path().join(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    pub(crate) async fn start(run: &RunDir) -> anyhow::Result<Self> {
        let ca = Ca::new("bench-ca")?;
        let server = VaultServer::start(Config::single("bench")?, &ca, run).await?;
        let client = Client::builder(server.url()).ca_pem(server.ca_pem());
        let client = client.timeout(Duration::from_secs(60)).build()?;
        let split = Split {
            shares: 1,
            threshold: 1,
            pgp_keys: Vec::new(),
        };
        let keys = client.init(&InitRequest::Shamir(split)).await?;
        for share in &keys.keys {
            client.unseal(share).await?;
        }
        wait::until_async("the server to be active", DEADLINE, || async {
            ensure!(client.leader().await?.is_self, "it is not");
            Ok(())
        })
        .await?;
        let root = client.with_token(&keys.root_token);
        let engine = |kind: &str, version: &[(&str, &str)]| MountRequest {
            kind: kind.to_owned(),
            options: version
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..MountRequest::default()
        };
        root.enable_mount("secret", &engine("kv", &[("version", "2")]))
            .await?;
        root.enable_auth_method("approle", &engine("approle", &[]))
            .await?;
        // Both agents may do all that either wants.
        let policy = "path \"secret/*\" { capabilities = [\"read\", \"list\"] }";
        root.write_policy("bench", policy).await?;
        let approle = root.approle("approle");
        let token = TokenParams {
            policies: vec!["bench".to_owned()],
            ttl: Duration::from_secs(3600),
            ..TokenParams::default()
        };
        let role = Role {
            token,
            ..Role::default()
        };
        approle.write_role("bench", &role).await?;
        let secret_id = approle
            .create_secret_id("bench", &SecretIdRequest::default())
            .await?;
        let login = run.folder("login")?;
        fs::write(login.join("ca.crt"), server.ca_pem())?;
        fs::write(login.join("role-id"), approle.role_id("bench").await?)?;
        fs::write(login.join("secret-id"), secret_id.secret_id.expose_secret())?;
        let in_memory = Path::new("/dev/shm");
        let place = if in_memory.is_dir() { in_memory } else { run.path() };
        let bed = Self {
            root,
            login,
            files: tempfile::tempdir_in(place)?,
            _server: server,
        };
        wait::until_async("the engine to take secrets", DEADLINE, || bed.write(0)).await?;
        Ok(bed)
    }

    /// Writes all secrets anew; each has this round's number and what a small application needs.
    pub(crate) async fn write(&self, round: usize) -> anyhow::Result<()> {
        for number in 0..SECRETS {
            let body = json!({"data": {
                "round": round,
                "username": format!("app-{number}"),
                "password": format!("a-password-of-usual-length-{number}"),
                "host": "database.example.com",
                "port": 5432,
            }});
            self.root
                .write(&format!("secret/data/app-{number}"), &body)
                .await?;
        }
        Ok(())
    }

    /// The configuration that both agents read, for so many files in a folder.
    pub(crate) fn config(&self, folder: &Path, files: usize, interval: &str) -> Value {
        let login = |name: &str| self.login.join(name);
        let template = |number: usize| {
            let secret = number % SECRETS;
            let contents = format!(
                "{{{{ with secret \"secret/data/app-{secret}\" }}}}{{{{ range $k, $v := .Data.data }}}}{{{{ $k }}}}={{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
            );
            json!({"contents": contents, "destination": folder.join(number.to_string())})
        };
        json!({
            "vault": {"address": self.root.node(), "ca_cert": login("ca.crt")},
            "auto_auth": {"method": [{
                "type": "approle",
                "mount_path": "auth/approle",
                "config": {
                    "role_id_file_path": login("role-id"),
                    "secret_id_file_path": login("secret-id"),
                    "remove_secret_id_file_after_reading": false,
                },
            }]},
            "template": (0..files).map(template).collect::<Vec<_>>(),
            "template_config": {"static_secret_render_interval": interval},
        })
    }
}
