//! The agent behind a Service whose members fail it: one is sealed while others serve, one answers late or not at all.

use std::time::Duration;

use anyhow::ensure;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;

use crate::TESTBED;
use crate::agent_forwarder::{Forwarder, Pace};
use crate::agent_members::Members;
use crate::agent_support::{DEADLINE, Rig};

/// The agent's configuration, with the Service in the place of the server.
pub(crate) fn through(service: &Forwarder, rig: &Rig) -> serde_json::Value {
    let mut config = rig.config(&rig.template());
    config["vault"]["address"] = service.url().into();
    config["vault"]["tls_server_name"] = "vault.test".into();
    config
}

pub(crate) fn ttl(seconds: u64) -> TokenParams {
    TokenParams {
        ttl: Duration::from_secs(seconds),
        ..TokenParams::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_member_is_left_for_another_although_its_connection_stays_open() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let members = Members::start("sealed", 3, &run).await;
    let [first, second, third] = &members.list[..] else {
        panic!("three members were asked for")
    };
    // Only a voter can lead once the first one is sealed.
    wait::until_async("all members to vote", DEADLINE, || async {
        let voters = first.root.raft_configuration().await?.voters();
        ensure!(voters == 3, "{voters} of 3 vote");
        Ok(())
    })
    .await
    .unwrap();
    let service = Forwarder::start(first.address).await;
    let mut rig = Rig::new("members", &first.root, &members.ca_pem, run.path(), ttl(12)).await;
    rig.write_secret("before").await;
    let agent = rig.start(&through(&service, &rig), &run);
    rig.wait_for("app:before:5432");
    let connections = service.accepted();

    // As when readiness takes a sealed member out of its Service: no connection that exists is cut.
    service.lead_to(second.address);
    first.root.seal().await.unwrap();
    wait::until_async("another member to lead", DEADLINE, || async {
        let led = second.root.leader().await?.is_self || third.root.leader().await?.is_self;
        ensure!(led, "nobody leads");
        Ok(())
    })
    .await
    .unwrap();
    rig.call_through(&second.root);
    rig.write_secret("after").await;
    rig.wait_for("app:after:5432");

    assert!(
        agent.count("the server is sealed") > 0,
        "it must have met the sealed member, else nothing was shown:\n{}",
        agent.log()
    );
    assert!(
        service.accepted() > connections,
        "another member is reached only over a new connection"
    );
    assert!(
        !first.root.health().await.unwrap().is_unsealed(),
        "the first member is still sealed"
    );
    let renewals = agent.count("renewed the token");
    agent.wait_for("renewed the token", renewals + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_answers_late_or_never_empties_no_file() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let members = Members::start("slow", 1, &run).await;
    let [member] = &members.list[..] else {
        panic!("one member was asked for")
    };
    let service = Forwarder::start(member.address).await;
    let rig = Rig::new("slow", &member.root, &members.ca_pem, run.path(), ttl(3600)).await;
    rig.write_secret("first").await;
    let agent = rig.start(&through(&service, &rig), &run);
    rig.wait_for("app:first:5432");

    service.answer(Pace::After(Duration::from_secs(2)));
    rig.write_secret("late").await;
    rig.wait_for("app:late:5432");
    assert_eq!(
        agent.count("no answer"),
        0,
        "late is no failure:\n{}",
        agent.log()
    );

    service.answer(Pace::Never);
    rig.write_secret("unheard").await;
    agent.wait_for("no answer", 2);
    rig.wait_for("app:late:5432");

    service.answer(Pace::AtOnce);
    rig.wait_for("app:unheard:5432");
    assert_eq!(
        agent.count("logged in"),
        1,
        "the token outlived the silence:\n{}",
        agent.log()
    );
}
