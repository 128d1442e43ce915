//! The agent with Vault's database engine and a real PostgreSQL: leases renewed, replaced, revoked; rotated passwords.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use vaultkeeper_tests::postgres::{ADMIN, PostgresServer};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::{TokenKind, TokenParams};
use vaultkeeper_vault::sys::mounts::MountRequest;

use crate::TESTBED;
use crate::agent::ttl;
use crate::agent_support::{DEADLINE, Rig};
use crate::client_support::solo;

/// A rig whose role may read `db-<name>/creds/app` and `db-<name>/static-creds/app`.
struct Database {
    postgres: PostgresServer,
    rig: Rig,
    mount: String,
    run: OwnedRun,
}

/// User and password as the template wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Login(String, String);

impl Database {
    async fn new(name: &str, token: TokenParams) -> Self {
        let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
        let postgres = PostgresServer::start(&run).unwrap();
        let solo = solo().await;
        let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), token).await;
        let mount = format!("db-{name}");
        let engine = MountRequest {
            kind: "database".to_owned(),
            ..MountRequest::default()
        };
        rig.root().enable_mount(&mount, &engine).await.unwrap();
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable", postgres.address()),
            "username": ADMIN, "password": postgres.password(), "allowed_roles": "*",
            "password_authentication": "scram-sha-256",
        });
        rig.root()
            .write(&format!("{mount}/config/postgres"), &config)
            .await
            .unwrap();
        let policy = format!(
            "path \"{mount}/*\" {{ capabilities = [\"read\"] }}
            path \"kv-{name}/data/app\" {{ capabilities = [\"read\"] }}"
        );
        rig.root().write_policy(name, &policy).await.unwrap();
        Self {
            postgres,
            rig,
            mount,
            run,
        }
    }

    /// Dynamic credentials that live this long and at most that long.
    async fn role(&self, ttl: u64, max_ttl: u64) {
        let role = json!({
            "db_name": "postgres", "default_ttl": ttl, "max_ttl": max_ttl,
            "creation_statements": "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';",
        });
        let path = format!("{}/roles/app", self.mount);
        self.rig.root().write(&path, &role).await.unwrap();
    }

    /// A template with user and password of this path below the mount.
    fn template(&self, path: &str) -> String {
        format!(
            "{{{{ with secret \"{}/{path}\" }}}}{{{{ .Data.username }}}} {{{{ .Data.password }}}}{{{{ end }}}}",
            self.mount
        )
    }

    /// What is in the file, other than `before`.
    fn wait_for_other(&self, before: Option<&Login>) -> Login {
        wait::until("other credentials in the file", DEADLINE, || {
            let text = fs::read_to_string(self.rig.file())?;
            let (user, password) = text.split_once(' ').context("half a login")?;
            let login = Login(user.to_owned(), password.to_owned());
            ensure!(Some(&login) != before, "still the old ones");
            Ok(login)
        })
        .unwrap()
    }

    /// Whether PostgreSQL lets somebody in.
    fn lets_in(&self, Login(user, password): &Login) -> anyhow::Result<()> {
        let who = self.postgres.sql_as(user, password, "SELECT current_user")?;
        ensure!(who == *user, "let in as {who}");
        Ok(())
    }

    async fn leases(&self) -> Vec<String> {
        let path = format!("sys/leases/lookup/{}/creds/app", self.mount);
        self.rig.root().list(&path).await.unwrap()
    }

    fn config(&self, template: &str) -> Value {
        self.rig.config(template)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_renewed_without_rendering_and_replaced_while_the_old_ones_still_work() {
    let database = Database::new("lease", ttl(3600)).await;
    database.role(15, 40).await;
    let agent = database
        .rig
        .start(&database.config(&database.template("creds/app")), &database.run);
    let first = database.wait_for_other(None);
    database.lets_in(&first).unwrap();
    agent.wait_for("renewed the lease", 2);
    assert_eq!(
        agent.count("rendered"),
        1,
        "a renewal renders nothing:\n{}",
        agent.log()
    );
    database
        .lets_in(&first)
        .expect("renewed beyond their first 15 seconds");

    let second = database.wait_for_other(Some(&first));
    database
        .lets_in(&first)
        .expect("the old ones work until the application has changed over");
    database.lets_in(&second).unwrap();
    wait::until("the old ones to end", DEADLINE, || {
        ensure!(database.lets_in(&first).is_err(), "they are let in");
        Ok(())
    })
    .unwrap();
    let now = database.wait_for_other(None);
    database.lets_in(&now).expect("what is in the file works");
    assert_eq!(agent.count("logged in"), 1, "one login:\n{}", agent.log());
    let log = agent.log();
    for Login(_, password) in [&first, &second] {
        assert!(
            !log.contains(password.as_str()),
            "a password is in the log:\n{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_credentials_are_replaced_long_before_their_renewal_and_kept_when_the_agent_ends() {
    let database = Database::new("revoked-leases", ttl(3600)).await;
    database.role(3600, 7200).await;
    let agent = database
        .rig
        .start(&database.config(&database.template("creds/app")), &database.run);
    let first = database.wait_for_other(None);
    let leases = database.leases().await;
    let [lease] = leases.as_slice() else {
        panic!("one lease, not {leases:?}")
    };
    let lease = format!("{}/creds/app/{lease}", database.mount);
    database.rig.root().revoke_lease(&lease).await.unwrap();
    assert!(database.lets_in(&first).is_err(), "they were revoked");

    let second = database.wait_for_other(Some(&first));
    database.lets_in(&second).unwrap();
    assert_eq!(
        agent.count("the lease is gone"),
        1,
        "it was noticed by looking:\n{}",
        agent.log()
    );

    agent.process.stop(Duration::from_secs(30)).unwrap();
    database
        .lets_in(&second)
        .expect("as with the peer, what the application uses outlives the agent");
    assert_eq!(database.leases().await.len(), 1, "the lease is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_brings_new_credentials_before_the_old_token_takes_the_old_ones_along() {
    let token = TokenParams {
        max_ttl: Duration::from_secs(45),
        ..ttl(18)
    };
    let database = Database::new("successor", token).await;
    database.role(3600, 7200).await;
    let agent = database
        .rig
        .start(&database.config(&database.template("creds/app")), &database.run);
    let first = database.wait_for_other(None);
    agent.wait_for("logged in", 2);
    let second = database.wait_for_other(Some(&first));
    database
        .lets_in(&first)
        .expect("the old token lives a while, and its credentials with it");
    database.lets_in(&second).unwrap();
    assert_eq!(
        agent.count("denied"),
        0,
        "nothing was left to die:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_of_a_batch_token_outlive_its_successors_login() {
    let token = TokenParams {
        kind: TokenKind::Batch,
        ..ttl(36)
    };
    let database = Database::new("batchdb", token).await;
    database.role(12, 3600).await;
    let agent = database
        .rig
        .start(&database.config(&database.template("creds/app")), &database.run);
    let mut current = database.wait_for_other(None);
    database.lets_in(&current).unwrap();
    wait::until("two more logins", DEADLINE, || {
        let now = database.wait_for_other(None);
        if now != current {
            // Not a condition to wait for: a failure here is final.
            database
                .lets_in(&current)
                .expect("the old ones work when the new ones are there");
            current = now;
        }
        let logins = agent.count("logged in");
        ensure!(logins >= 3, "{logins} logins");
        Ok(())
    })
    .unwrap();
    database.lets_in(&database.wait_for_other(None)).unwrap();
    assert!(
        agent.count("renewed the lease") > 0,
        "they are renewed as long as the token lives:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_is_in_the_file_right_after_its_rotation() {
    let database = Database::new("static", ttl(3600)).await;
    database
        .postgres
        .sql("CREATE ROLE fixed WITH LOGIN PASSWORD 'to be rotated'")
        .unwrap();
    let role = json!({"db_name": "postgres", "username": "fixed", "rotation_period": 10});
    let path = format!("{}/static-roles/app", database.mount);
    database.rig.root().write(&path, &role).await.unwrap();
    let mut config = database.config(&database.template("static-creds/app"));
    config["template_config"]["static_secret_render_interval"] = "1h".into();
    let agent = database.rig.start(&config, &database.run);
    let mut current = database.wait_for_other(None);
    for _ in 0..2 {
        let next = database.wait_for_other(Some(&current));
        wait::until("the new password to be let in", DEADLINE, || {
            database.lets_in(&next)
        })
        .unwrap();
        assert!(
            database.lets_in(&current).is_err(),
            "the old one was rotated away"
        );
        current = next;
    }
    let renders = agent.count("rendered");
    assert_eq!(
        renders,
        3,
        "each password is rendered once, and no stale one:\n{}",
        agent.log()
    );
}
