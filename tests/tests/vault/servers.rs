//! The servers themselves: what the other tests of this tier rely on.

use serde_json::{Value, json};
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::vault_server::{Config, VaultServer};

use crate::TESTBED;

async fn seal_status(server: &VaultServer) -> Value {
    let url = format!("{}/v1/sys/seal-status", server.url());
    server
        .http_client()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_killed_server_comes_back_sealed_with_its_data() {
    let run = OwnedRun::create("vault", TESTBED).unwrap();
    let ca = Ca::new("vault-ca").unwrap();
    let mut server = VaultServer::start(Config::single("alone").unwrap(), &ca, &run)
        .await
        .unwrap();
    assert_eq!(
        seal_status(&server).await["initialized"],
        json!(false),
        "a new server is not initialised"
    );

    let init = server
        .http_client()
        .unwrap()
        .put(format!("{}/v1/sys/init", server.url()))
        .json(&json!({"secret_shares": 1, "secret_threshold": 1}))
        .send()
        .await
        .unwrap();
    assert_eq!(init.status(), 200, "initialising a new server");
    server.kill().unwrap();
    assert!(!server.port_is_open(), "nobody should listen after a kill");

    server.start_again().await.unwrap();
    let status = seal_status(&server).await;
    assert_eq!(
        (&status["initialized"], &status["sealed"], &status["version"]),
        (&json!(true), &json!(true), &json!("1.21.1")),
        "a restarted server is initialised and sealed, and of the pinned version; it said {status}"
    );
}

#[tokio::test]
async fn members_of_a_cluster_listen_at_the_same_time() {
    let run = OwnedRun::create("vault", TESTBED).unwrap();
    let ca = Ca::new("vault-ca").unwrap();
    let mut servers = Vec::new();
    for config in Config::cluster("member", 3).unwrap() {
        servers.push(VaultServer::start(config, &ca, &run).await.unwrap());
    }
    for server in &servers {
        assert_eq!(
            seal_status(server).await["type"],
            json!("shamir"),
            "{} answers",
            server.node_id()
        );
    }
    assert_eq!(run.processes().unwrap().len(), 3, "three processes are recorded");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let run = OwnedRun::create("vault", TESTBED).unwrap();
    let ca = Ca::new("vault-ca").unwrap();
    let mut config = Config::single("broken").unwrap();
    config.text = Some("storage \"telepathy\" {}\n".to_owned());
    let error = VaultServer::start(config, &ca, &run).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("broken has ended") && text.contains("telepathy"),
        "the error should carry the end of the server's log, got: {text}"
    );
}
