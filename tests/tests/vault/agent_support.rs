//! An agent beside a real Vault: engine, policy, role and files of one test, and the process itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vaultkeeper_tests::agent_program;
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::approle::{Role, SecretIdRequest};
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::{Client, ExposeSecret as _, SecretString};

/// How long anything that the agent does may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// The agent's program, built by whoever asks first.
pub(crate) fn program() -> &'static Path {
    agent_program::path().unwrap()
}

/// What one test's agent works with: `kv-<name>`, `approle-<name>`, the policy and role `<name>`, a folder.
pub(crate) struct Rig {
    name: String,
    root: Client,
    folder: PathBuf,
    address: String,
    secret_id: SecretString,
}

impl Rig {
    /// Makes everything on the server and writes the login's files. The role may read `kv-<name>/data/app`.
    pub(crate) async fn new(
        name: &str,
        root: &Client,
        ca_pem: &str,
        folder: &Path,
        token: TokenParams,
    ) -> Self {
        let folder = folder.join(format!("agent-{name}"));
        fs::create_dir_all(folder.join("secrets")).unwrap();
        let engine = MountRequest {
            kind: "kv".to_owned(),
            options: [("version".to_owned(), "2".to_owned())].into(),
            ..MountRequest::default()
        };
        let method = MountRequest {
            kind: "approle".to_owned(),
            ..MountRequest::default()
        };
        root.enable_mount(&format!("kv-{name}"), &engine).await.unwrap();
        root.enable_auth_method(&format!("approle-{name}"), &method)
            .await
            .unwrap();
        let policy = format!("path \"kv-{name}/data/app\" {{ capabilities = [\"read\"] }}");
        root.write_policy(name, &policy).await.unwrap();
        let approle = root.approle(&format!("approle-{name}"));
        let token = TokenParams {
            policies: vec![name.to_owned()],
            ..token
        };
        approle
            .write_role(
                name,
                &Role {
                    token,
                    ..Role::default()
                },
            )
            .await
            .unwrap();
        let secret_id = approle
            .create_secret_id(name, &SecretIdRequest::default())
            .await
            .unwrap()
            .secret_id;
        fs::write(folder.join("ca.crt"), ca_pem).unwrap();
        fs::write(folder.join("role-id"), approle.role_id(name).await.unwrap()).unwrap();
        fs::write(folder.join("secret-id"), secret_id.expose_secret()).unwrap();
        let address = root.node().to_owned();
        Self {
            name: name.to_owned(),
            root: root.clone(),
            folder,
            address,
            secret_id,
        }
    }

    /// Writes the secret `app`. KV v2 is not ready for a moment after it was mounted.
    pub(crate) async fn write_secret(&self, password: &str) {
        let path = format!("kv-{}/data/app", self.name);
        let body = json!({"data": {"user": "app", "password": password, "port": 5432}});
        wait::until_async("the engine to take a secret", DEADLINE, || async {
            self.root.write(&path, &body).await?;
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Writes secrets over this client from now on, as when another member leads.
    pub(crate) fn call_through(&mut self, root: &Client) {
        self.root = root.clone();
    }

    /// Where the test's files lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The rendered file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("secrets/app.conf")
    }

    /// Vault Agent's configuration for one file out of this template.
    pub(crate) fn config(&self, template: &str) -> Value {
        let path = |name: &str| self.folder.join(name);
        json!({
            "vault": {"address": self.address, "ca_cert": path("ca.crt")},
            "auto_auth": {"method": {
                "type": "approle",
                "mount_path": format!("auth/approle-{}", self.name),
                "config": {
                    "role_id_file_path": path("role-id"),
                    "secret_id_file_path": path("secret-id"),
                    "remove_secret_id_file_after_reading": false,
                },
            }},
            "template": [{"contents": template, "destination": self.file(), "perms": "0440"}],
            "template_config": {"static_secret_render_interval": "1s"},
        })
    }

    /// `user:password:port` of the secret `app`, without `data/` in the path.
    pub(crate) fn template(&self) -> String {
        format!(
            "{{{{ with secret \"kv-{}/app\" }}}}{{{{ with .Data.data }}}}{{{{ .user }}}}:{{{{ .password }}}}:{{{{ .port }}}}{{{{ end }}}}{{{{ end }}}}",
            self.name
        )
    }

    /// Starts the agent with the configuration in its environment, as the injector gives it.
    pub(crate) fn start(&self, config: &Value, run: &RunDir) -> Agent {
        Agent::start(&self.name, config, run)
    }

    /// Starts the agent with these arguments.
    pub(crate) fn start_with(&self, arguments: &[String], run: &RunDir) -> Agent {
        Agent::start_with(&self.name, arguments, run)
    }

    /// Waits until the rendered file holds this text.
    pub(crate) fn wait_for(&self, text: &str) {
        wait_for(&self.file(), text);
    }

    /// The accessors of the living tokens of this test's role.
    pub(crate) async fn tokens(&self) -> Vec<String> {
        let mut own = Vec::new();
        for accessor in self.root.list_accessors().await.unwrap() {
            // Another test's token may end between the two calls.
            let Ok(info) = self.root.lookup_accessor(&accessor).await else {
                continue;
            };
            if info.path == format!("auth/approle-{}/login", self.name) {
                own.push(accessor);
            }
        }
        own
    }

    /// What must not appear in any log.
    pub(crate) fn secret_id(&self) -> &str {
        self.secret_id.expose_secret()
    }

    pub(crate) fn root(&self) -> &Client {
        &self.root
    }
}

/// Waits until a file holds this text.
pub(crate) fn wait_for(file: &Path, text: &str) {
    wait::until(&format!("{} to hold {text:?}", file.display()), DEADLINE, || {
        let there = fs::read_to_string(file)?;
        ensure!(there == text, "it holds {there:?}");
        Ok(())
    })
    .unwrap();
}

/// A running agent. It ends with this value, at the latest with the run.
pub(crate) struct Agent {
    pub(crate) process: Process,
    log: PathBuf,
}

impl Agent {
    /// Starts one with the configuration in its environment, as the injector gives it.
    pub(crate) fn start(name: &str, config: &Value, run: &RunDir) -> Self {
        let spec = ProcessSpec::new(&format!("agent-{name}"), program(), run);
        Self::of(spec, config, run)
    }

    /// Starts one in its own way.
    pub(crate) fn of(spec: ProcessSpec, config: &Value, run: &RunDir) -> Self {
        Self::spawn(spec.env("VAULT_CONFIG", STANDARD.encode(config.to_string())), run)
    }

    /// Starts one with these arguments.
    pub(crate) fn start_with(name: &str, arguments: &[String], run: &RunDir) -> Self {
        let spec = ProcessSpec::new(&format!("agent-{name}"), program(), run);
        Self::spawn(spec.args(arguments), run)
    }

    fn spawn(spec: ProcessSpec, run: &RunDir) -> Self {
        let spec = spec.env("VAULT_LOG_LEVEL", "debug");
        let log = spec.log.clone();
        Self {
            process: Process::start(spec, run).unwrap(),
            log,
        }
    }

    /// Everything it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many of its lines hold this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until it has ended, with this text in its log.
    pub(crate) fn wait_for_end(&self, text: &str) {
        wait::until("the agent to end", DEADLINE, || {
            ensure!(!self.process.is_running(), "it still runs");
            Ok(())
        })
        .unwrap();
        assert!(
            self.count(text) > 0,
            "{text:?} is not in its log:\n{}",
            self.log()
        );
    }

    /// Waits until this many lines hold the text.
    pub(crate) fn wait_for(&self, text: &str, lines: usize) {
        wait::until(
            &format!("{lines} lines of the agent with {text:?}"),
            DEADLINE,
            || {
                if !self.process.is_running() {
                    bail!("the agent has ended");
                }
                let count = self.count(text);
                ensure!(count >= lines, "there are {count}");
                Ok(())
            },
        )
        .unwrap();
    }
}
