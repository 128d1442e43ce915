//! What happens to the three members that an agent lives with. Its file stays as it was, and follows again within ten seconds
//! of Vault's return.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use crate::TESTBED;
use crate::agent_away::{through, ttl};
use crate::agent_forwarder::Forwarder;
use crate::agent_members::Members;
use crate::agent_support::{Agent, DEADLINE, Rig};
use crate::client_support::PATIENCE;

/// How long everything may take to be right again once Vault answers.
const RECOVERY: Duration = Duration::from_secs(10);

/// How long a token lives.
const LIFE: Duration = Duration::from_secs(12);

/// One agent behind a Service of three members.
struct Scene {
    members: Members,
    service: Forwarder,
    rig: Rig,
    /// What the file holds.
    password: String,
}

impl Scene {
    /// What the file holds while the password is this.
    fn content(password: &str) -> String {
        format!("app:{password}:5432")
    }

    /// The file is as it was before what happens now.
    fn stays(&self, what: &str) {
        let there = fs::read_to_string(self.rig.file()).unwrap();
        assert_eq!(there, Self::content(&self.password), "{what}: the file stays");
    }

    /// The Service leads to this member, and Vault is there again as soon as that one takes a secret. From then on the time
    /// counts.
    async fn follows_within_the_time(&mut self, what: &str, to: usize) {
        let member = &self.members.list[to];
        self.service.lead_to(member.address);
        self.rig.call_through(&member.root);
        self.rig.write_secret(what).await;
        let start = Instant::now();
        what.clone_into(&mut self.password);
        wait::until(&format!("the file to follow after: {what}"), RECOVERY, || {
            let there = fs::read_to_string(self.rig.file())?;
            ensure!(there == Self::content(what), "it holds {there:?}");
            Ok(())
        })
        .unwrap();
        say(&format!(
            "{what}: right again after {:.1} s",
            start.elapsed().as_secs_f64()
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: one election after the other"]
async fn whatever_happens_to_the_members_the_file_stays_and_follows_within_ten_seconds_of_their_return() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let members = Members::start("faults", 3, &run).await;
    members.until_complete().await;
    let service = Forwarder::start(members.list[0].address).await;
    let root = members.list[0].root.clone();
    let rig = Rig::new("faults", &root, &members.ca_pem, run.path(), ttl(LIFE.as_secs())).await;
    rig.write_secret("first").await;
    let agent = rig.start(&through(&service, &rig), &run);
    rig.wait_for(&Scene::content("first"));
    let mut scene = Scene {
        members,
        service,
        rig,
        password: "first".to_owned(),
    };

    let active = scene.members.active().await;
    scene.service.lead_to(scene.members.list[active].address);
    scene.service.cut();
    scene.members.list[active].root.step_down().await.unwrap();
    scene.stays("the active member became a standby");
    // The Service goes on leading to it: standbys pass requests on.
    scene.follows_within_the_time("step-down", active).await;
    scene.members.until_complete().await;

    let active = scene.members.active().await;
    scene.members.list[active].root.seal().await.unwrap();
    scene.stays("the active member was sealed");
    scene.follows_within_the_time("sealed", (active + 1) % 3).await;
    scene.members.unseal(active).await;
    scene.members.until_complete().await;

    let active = scene.members.active().await;
    scene.service.lead_to(scene.members.list[active].address);
    scene.service.cut();
    scene.members.list[active].server.kill().unwrap();
    scene.stays("the active member was killed");
    scene.follows_within_the_time("killed", (active + 1) % 3).await;
    scene.members.list[active].server.start_again().await.unwrap();
    scene.members.unseal(active).await;
    scene.members.until_complete().await;

    // It keeps its connections open and answers nothing, as a process whose disk hangs.
    let active = scene.members.active().await;
    scene.service.lead_to(scene.members.list[active].address);
    scene.service.cut();
    scene.rig.call_through(&scene.members.list[active].root);
    scene.rig.write_secret("before it hangs").await;
    scene.rig.wait_for(&Scene::content("before it hangs"));
    "before it hangs".clone_into(&mut scene.password);
    scene.members.list[active].server.signal(Signal::STOP).unwrap();
    scene.stays("the active member hangs");
    scene.follows_within_the_time("hung", (active + 1) % 3).await;
    scene.members.list[active].server.signal(Signal::CONT).unwrap();
    scene.members.until_complete().await;

    outlives_its_token(&mut scene, &agent).await;
    let log = agent.log();
    for hidden in ["before it hangs", "step-down", scene.rig.secret_id(), "hvs."] {
        assert!(!log.contains(hidden), "{hidden:?} must not be in the log:\n{log}");
    }
}

/// All members are away for longer than the token lives.
async fn outlives_its_token(scene: &mut Scene, agent: &Agent) {
    let logins = agent.count("logged in");
    for member in &mut scene.members.list {
        member.server.kill().unwrap();
    }
    let start = Instant::now();
    wait::until("the token's life to be over", DEADLINE, || {
        let left = LIFE.saturating_sub(start.elapsed());
        ensure!(left.is_zero(), "{left:?} are left");
        Ok(())
    })
    .unwrap();
    scene.stays("all members were away for longer than the token lives");
    for member in &mut scene.members.list {
        member.server.start_again().await.unwrap();
    }
    scene.members.give_shares_to_all().await;
    scene.follows_within_the_time("outage", 0).await;
    assert!(
        agent.count("logged in") > logins,
        "the token ended meanwhile, a new login is needed:\n{}",
        agent.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_before_its_ca_is_known_costs_nothing_but_time() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let mut members = Members::start("rotated", 1, &run).await;
    let (address, root) = (members.list[0].address, members.list[0].root.clone());
    let service = Forwarder::start(address).await;
    let mut rig = Rig::new("rotated", &root, &members.ca_pem, run.path(), ttl(3600)).await;
    rig.write_secret("first").await;
    let agent = rig.start(&through(&service, &rig), &run);
    rig.wait_for(&Scene::content("first"));

    let new = Ca::new("new-ca").unwrap();
    let pair = new
        .server("rotated", &["vault.test", &address.ip().to_string()])
        .unwrap();
    let server = &mut members.list[0].server;
    pair.write(server.certificate().cert.parent().unwrap(), "server")
        .unwrap();
    // Not by SIGHUP: it would go on resuming the sessions that it began with the old certificate.
    server.stop().unwrap();
    server.spawn().unwrap();
    let client = Client::builder(server.url())
        .ca_pem(new.cert_pem())
        .timeout(PATIENCE)
        .build()
        .unwrap();
    wait::until_async("the server to show its new certificate", DEADLINE, || async {
        client.health().await?;
        Ok(())
    })
    .await
    .unwrap();
    members.unseal_over(&client).await;
    rig.call_through(&client.with_token(&members.root_token));
    rig.write_secret("second").await;
    agent.wait_for("no answer: Vault is away", 2);
    rig.wait_for(&Scene::content("first"));

    fs::write(rig.folder().join("ca.crt"), new.cert_pem()).unwrap();
    let start = Instant::now();
    wait::until("the file to follow", RECOVERY, || {
        let there = fs::read_to_string(rig.file())?;
        ensure!(there == Scene::content("second"), "it holds {there:?}");
        Ok(())
    })
    .unwrap();
    say(&format!(
        "CA replaced: right again after {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    assert_eq!(
        agent.count("logged in"),
        1,
        "a new CA needs no new login:\n{}",
        agent.log()
    );
}
