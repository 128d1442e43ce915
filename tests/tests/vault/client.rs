//! The client against real servers: every state of a server's life, standbys, certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::audit::AuditDevice;
use vaultkeeper_vault::{Client, Error, SecretString};

use crate::client_support::{Node, solo, split, unseal};

#[tokio::test]
async fn a_server_is_told_apart_in_every_state_of_its_life() {
    let node = Node::start("life").await;
    let client = &node.client;

    assert!(!client.is_initialized().await.unwrap(), "it holds no keys yet");
    let health = client.health().await.unwrap();
    assert_eq!(
        (health.status, health.initialized, health.is_unsealed()),
        (501, false, false),
        "{health:?}"
    );
    let status = client.seal_status().await.unwrap();
    assert!(
        !status.initialized && status.sealed && status.storage_type == "raft",
        "{status:?}"
    );
    let leader = client.leader().await.unwrap_err();
    assert!(
        leader.is_sealed(),
        "before init the server calls itself sealed: {leader:?}"
    );
    let share = SecretString::from("00".repeat(33));
    let early = client.unseal(&share).await.unwrap_err();
    assert!(
        matches!(early, Error::NotInitialized { .. }),
        "no keys to compare with: {early:?}"
    );
    let bad = client.init(&split(3, 1)).await.unwrap_err();
    assert!(
        matches!(bad, Error::BadRequest { .. }),
        "threshold 1 of 3 is refused: {bad:?}"
    );

    let keys = client.init(&split(3, 2)).await.unwrap();
    assert_eq!(
        (keys.keys.len(), keys.recovery_keys.len()),
        (3, 0),
        "three unseal shares"
    );
    let again = client.init(&split(3, 2)).await.unwrap_err();
    assert!(
        matches!(again, Error::AlreadyInitialized { .. }),
        "only once: {again:?}"
    );
    assert!(!again.may_have_taken_effect(), "a refused init made no keys");

    let root = client.with_token(&keys.root_token);
    let sealed = root.mounts().await.unwrap_err();
    assert!(
        sealed.is_sealed() && !sealed.is_denied(),
        "sealed is told apart from denied: {sealed:?}"
    );
    let health = client.health().await.unwrap();
    assert_eq!((health.status, health.sealed), (503, true), "{health:?}");

    assert_eq!(
        client.unseal(&keys.keys[0]).await.unwrap().progress,
        1,
        "one share given"
    );
    assert_eq!(client.reset_unseal().await.unwrap().progress, 0, "thrown away");
    let malformed = client.unseal(&SecretString::from("no-share")).await.unwrap_err();
    assert!(
        matches!(malformed, Error::BadRequest { .. }),
        "neither hex nor base64: {malformed:?}"
    );
    assert!(
        !malformed.to_string().contains("no-share"),
        "a share may not be repeated: {malformed}"
    );
    unseal(client, &keys.keys[1..]).await;
    assert!(client.leader().await.unwrap().is_self, "a single node leads");
    let raft = root.raft_configuration().await.unwrap();
    assert!(
        matches!(raft.servers.as_slice(), [only] if only.leader && only.voter && only.node_id == "life"),
        "one voter: {raft:?}"
    );

    audit(&root, &node.file("audit.log")).await;
    root.seal().await.unwrap();
    assert!(root.mounts().await.unwrap_err().is_sealed(), "sealed by request");
    unseal(client, &keys.keys[1..]).await;
    root.on_this_node().step_down().await.unwrap();
    wait::until_async(
        "the node to give up its role",
        Duration::from_secs(60),
        || async {
            let error = root.mounts().await.err();
            anyhow::ensure!(
                matches!(error, Some(Error::NoActive { .. })),
                "nobody is active now: {error:?}"
            );
            Ok(())
        },
    )
    .await
    .unwrap();

    node.stop();
    // The first call may still find the old connection open, which then breaks.
    wait::until_async("the server to be gone", Duration::from_secs(60), || async {
        let gone = root.mounts().await.expect_err("a stopped server answers nothing");
        let told = matches!(gone, Error::Unreachable { tls: false, .. });
        anyhow::ensure!(told, "a stopped server is told apart from a sealed one: {gone:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// On a server that no other test uses: while its only device comes or goes, Vault answers requests that are under
/// way with 500.
async fn audit(root: &Client, file: &Path) {
    let device = AuditDevice {
        kind: "file".to_owned(),
        description: "for a test".to_owned(),
        options: [("file_path".to_owned(), file.to_str().unwrap().to_owned())].into(),
        local: false,
    };
    root.enable_audit_device("file", &device).await.unwrap();
    let devices = root.audit_devices().await.unwrap();
    assert_eq!(devices["file/"], device, "listed as enabled");
    let log = std::fs::read_to_string(file).unwrap();
    assert!(log.contains("sys/audit"), "it writes: {log}");
    root.disable_audit_device("file").await.unwrap();
    assert!(root.audit_devices().await.unwrap().is_empty(), "disabled");
}

#[tokio::test]
async fn a_standby_is_told_apart_and_does_not_forward_when_told_not_to() {
    let (nodes, _run) = Node::start_cluster("member").await;
    let keys = nodes[0].client.init(&split(1, 1)).await.unwrap();
    unseal(&nodes[0].client, &keys.keys).await;
    for joiner in &nodes[1..] {
        wait::until_async("the member to join", Duration::from_secs(60), || async {
            anyhow::ensure!(joiner.client.is_initialized().await?, "not joined yet");
            Ok(())
        })
        .await
        .unwrap();
        unseal(&joiner.client, &keys.keys).await;
    }
    let (active, standby) = (&nodes[0], &nodes[1]);
    let root_at_active = active.client.with_token(&keys.root_token);
    let root_at_standby = standby.client.with_token(&keys.root_token);

    let raft = root_at_active.raft_configuration().await.unwrap();
    let mut ids: Vec<_> = raft
        .servers
        .iter()
        .map(|server| server.node_id.as_str())
        .collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        ["member-0", "member-1", "member-2"],
        "one Raft configuration with three members: {raft:?}"
    );
    wait::until_async(
        "autopilot to know all members",
        Duration::from_secs(60),
        || async {
            let state = root_at_active.autopilot_state().await?;
            anyhow::ensure!(
                state.servers.len() == 3 && state.leader == "member-0",
                "{state:?}"
            );
            Ok(())
        },
    )
    .await
    .unwrap();

    let health = standby.client.health().await.unwrap();
    assert!(
        health.status == 429 && health.is_unsealed() && !health.is_active(),
        "{health:?}"
    );
    let leader = standby.client.leader().await.unwrap();
    assert!(
        !leader.is_self && leader.leader_address == active.url(),
        "it knows who leads: {leader:?}"
    );
    assert!(
        active.client.health().await.unwrap().is_active(),
        "the first member leads"
    );

    wait::until_async("the standby to forward", Duration::from_secs(60), || async {
        Ok(root_at_standby.mounts().await?)
    })
    .await
    .unwrap();
    let error = root_at_standby.on_this_node().mounts().await.unwrap_err();
    assert!(
        matches!(&error, Error::Standby { active: Some(url), .. } if *url == active.url()),
        "without forwarding a standby names the active node: {error:?}"
    );
    let error = root_at_standby.on_this_node().step_down().await.unwrap_err();
    assert!(
        matches!(error, Error::Standby { .. }),
        "a step-down stays on its node: {error:?}"
    );
    assert!(
        active.client.leader().await.unwrap().is_self,
        "so nobody stepped down"
    );

    let unready = root_at_standby.seal().await.unwrap_err();
    assert!(
        matches!(unready, Error::Server { status: 500, .. }),
        "a standby of Vault cannot be sealed through the API: {unready:?}"
    );

    // Without a third one nobody else is elected, and by its sudden end the active one hands nothing over.
    nodes[2].kill();
    active.kill();
    let error = root_at_standby.mounts().await.expect_err("nobody can serve this");
    assert!(
        matches!(&error, Error::Standby { active: Some(url), .. } if *url == active.url()),
        "a standby that cannot forward names the active node that it last knew: {error:?}"
    );
}

#[tokio::test]
async fn only_the_given_ca_and_the_right_name_are_trusted() {
    let solo = solo().await;
    let address: SocketAddr = solo.address;
    let other_ca = vaultkeeper_tests::certs::Ca::new("another").unwrap().cert_pem();
    let wrong_ca = Client::builder(solo.client.node())
        .ca_pem(other_ca)
        .build()
        .unwrap();
    let error = wrong_ca.health().await.unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { tls: true, .. }),
        "another CA: {error:?}"
    );
    assert!(
        error.to_string().contains("UnknownIssuer"),
        "the reason is said: {error}"
    );

    let named =
        |name: &str| Client::builder(format!("https://{name}:{}", address.port())).ca_pem(&solo.ca_pem);
    let right = named("localhost").connect_to(address).build().unwrap();
    right
        .health()
        .await
        .expect("the address stands in for the name, which the certificate holds");
    let error = named("wrong.test")
        .connect_to(address)
        .build()
        .unwrap()
        .health()
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { tls: true, .. }) && error.to_string().contains("wrong.test"),
        "a name that the certificate does not hold: {error:?}"
    );

    let by_address = || Client::builder(format!("https://{address}")).ca_pem(&solo.ca_pem);
    by_address()
        .tls_server_name("localhost")
        .build()
        .unwrap()
        .health()
        .await
        .expect("checked as localhost");
    let client = by_address().tls_server_name("wrong.test").build().unwrap();
    let error = client.health().await.unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { tls: true, .. }),
        "checked as wrong.test: {error:?}"
    );
    assert!(
        error.to_string().contains(&address.to_string()),
        "the error names the real address: {error}"
    );

    let plain = Client::builder(format!("http://{address}"))
        .build()
        .unwrap()
        .mounts()
        .await
        .unwrap_err();
    assert!(
        plain.to_string().contains("HTTP request to an HTTPS server"),
        "http to an https port should say so: {plain}"
    );
}
