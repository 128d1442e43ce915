//! Tests of who goes next.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_vault::sys::raft::{AutopilotServer, AutopilotState, RaftServer};

use super::*;
use crate::cluster::keys::{self, KeyRecord, SealRecord, State};
use crate::cluster::migration::{SealNote, Side};
use crate::cluster::plan::Blocked;
use crate::cluster::rollout::Template;
use crate::cluster::validate::{Validated, tests::cluster, validate};

type Raft = (RaftConfiguration, AutopilotState);

/// Members that are all well; main-0 leads.
struct Scene {
    cluster: Validated,
    members: Vec<Member>,
    size: Size,
    record: Option<KeyRecord>,
    blocked: Option<Blocked>,
    raft: Option<Raft>,
    rolled_out: bool,
    was_begun: bool,
    gave_up: u32,
    leads_for: Option<Duration>,
}

fn raft(members: u32) -> Raft {
    let names = || (0..members).map(|n| format!("main-{n}"));
    let servers = names().map(|node_id| RaftServer {
        node_id,
        voter: true,
        ..RaftServer::default()
    });
    let well = names().map(|id| {
        let server = AutopilotServer {
            healthy: true,
            ..AutopilotServer::default()
        };
        (id, server)
    });
    (
        RaftConfiguration {
            servers: servers.collect(),
            index: 1,
        },
        AutopilotState {
            healthy: true,
            failure_tolerance: (members - 1) / 2,
            servers: well.collect::<BTreeMap<_, _>>(),
            ..AutopilotState::default()
        },
    )
}

fn left(ordinal: u32) -> Left {
    Left {
        ordinal,
        claim: format!("data-main-{ordinal}"),
        uid: "claim".to_owned(),
        resource_version: "1".to_owned(),
        vault: "vault".to_owned(),
        deleting: false,
    }
}

impl Scene {
    /// So many run, so many are wanted.
    fn new(present: u32, wanted: u32) -> Self {
        let member = |n: u32| Member {
            name: format!("main-{n}"),
            ordinal: n,
            pod: Some(format!("uid-{n}")),
            container: Some(format!("c-{n}")),
            version: Some("1.21.1".to_owned()),
            cluster_id: Some("vault".to_owned()),
            probe: if n == 0 { Probe::Active } else { Probe::Standby },
            started: Some(Timestamp::from_second(1000).unwrap()),
            raft_index: Some(5000),
            ..Member::default()
        };
        Self {
            cluster: validate(&cluster("")).unwrap(),
            members: (0..present).map(member).collect(),
            size: Size {
                wanted,
                present,
                left: Vec::new(),
                counted: true,
            },
            record: Some(keys::tests::record(State::Initialized)),
            blocked: None,
            raft: Some(raft(present)),
            rolled_out: true,
            was_begun: true,
            gave_up: 0,
            leads_for: None,
        }
    }

    fn led_by(mut self, leader: usize) -> Self {
        for (n, member) in self.members.iter_mut().enumerate() {
            member.probe = if n == leader {
                Probe::Active
            } else {
                Probe::Standby
            };
        }
        self
    }

    fn answers(mut self, member: usize, probe: Probe) -> Self {
        self.members[member].probe = probe;
        self
    }

    /// Nobody hears from it.
    fn dead(mut self, member: usize) -> Self {
        self.members[member].probe = Probe::Pending;
        self.members[member].container = None;
        let (_, autopilot) = self.raft.as_mut().unwrap();
        autopilot.healthy = false;
        autopilot.failure_tolerance = autopilot.failure_tolerance.saturating_sub(1);
        autopilot
            .servers
            .get_mut(&format!("main-{member}"))
            .unwrap()
            .healthy = false;
        self
    }

    fn not_in_raft(mut self, name: &str) -> Self {
        let (configuration, autopilot) = self.raft.as_mut().unwrap();
        configuration.servers.retain(|server| server.node_id != name);
        autopilot.servers.remove(name);
        self
    }

    fn left(mut self, ordinals: &[u32]) -> Self {
        self.size.left = ordinals.iter().map(|ordinal| left(*ordinal)).collect();
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn verdict(&self) -> Option<Verdict> {
        decide(&World {
            roll: rollout::World {
                cluster: &self.cluster,
                members: &self.members,
                template: &Template::Unsettled,
                record: self.record.as_ref(),
                blocked: self.blocked.as_ref(),
                problem: None,
                was_begun: self.was_begun,
                gave_up: self.gave_up,
                raft: self.raft.as_ref(),
                leads_for: self.leads_for,
                now: Timestamp::from_second(1_000_000).unwrap(),
            },
            size: &self.size,
            rolled_out: self.rolled_out,
        })
    }

    fn act(&self) -> Option<Act> {
        self.verdict().and_then(|verdict| verdict.act)
    }

    /// Nothing is done, for this reason.
    fn waits(&self) -> (&'static str, String) {
        let verdict = self.verdict().expect("the members are not as many as wanted");
        assert_eq!(verdict.act, None, "{verdict:?}");
        (verdict.reason, verdict.message)
    }
}

fn remove(ordinal: u32) -> Act {
    Act::Remove {
        member: format!("main-{ordinal}"),
        ordinal,
    }
}

#[test]
fn as_many_as_are_wanted_are_left_alone() {
    assert_eq!(Scene::new(3, 3).verdict(), None);
    assert_eq!(Scene::new(1, 1).verdict(), None);
}

#[test]
fn the_highest_is_taken_out_of_raft_and_its_pod_goes_only_then() {
    assert_eq!(Scene::new(5, 3).act(), Some(remove(4)));
    let out = Scene::new(5, 3).answers(4, Probe::Removed).not_in_raft("main-4");
    assert_eq!(out.act(), Some(Act::Shrink { to: 4 }));
    assert_eq!(Scene::new(4, 3).act(), Some(remove(3)), "then the next one");
    assert_eq!(Scene::new(3, 1).act(), Some(remove(2)));
    assert_eq!(Scene::new(2, 1).act(), Some(remove(1)));
}

#[test]
fn a_leader_that_goes_gives_up_its_leadership_first_and_not_for_ever() {
    let leads = || Scene::new(5, 3).led_by(4);
    assert_eq!(leads().act(), Some(Act::StepDown { member: 4 }));
    let lately = leads().with(|scene| scene.leads_for = Some(Duration::from_secs(3)));
    assert_eq!(lately.waits().0, "WaitingForLeader");
    let (reason, words) = leads().with(|scene| scene.gave_up = 2).waits();
    assert_eq!(reason, "Stuck");
    assert!(
        words.contains("main-4 has given up its leadership 2 times"),
        "{words}"
    );
    assert_eq!(
        Scene::new(5, 3).led_by(3).act(),
        Some(remove(4)),
        "who goes later may lead until then"
    );
}

#[test]
fn one_that_serves_goes_only_while_all_are_healthy_voters() {
    let (reason, words) = Scene::new(5, 3).dead(1).waits();
    assert_eq!(reason, "WaitingForMember", "{words}");
    assert!(words.contains("main-1"), "{words}");
    let (reason, _) = Scene::new(5, 3).dead(3).waits();
    assert_eq!(
        reason, "WaitingForMember",
        "also where the other one is to go later"
    );
    let new = Scene::new(5, 3).not_in_raft("main-2");
    assert_eq!(new.waits().0, "WaitingForRaft", "it has no vote yet");
    let unsettled = Scene::new(4, 3).with(|scene| {
        scene.raft.as_mut().unwrap().1.failure_tolerance = 0;
    });
    assert_eq!(unsettled.waits().0, "WaitingForRaft");
    let of_two = Scene::new(2, 1).with(|scene| {
        let (_, autopilot) = scene.raft.as_mut().unwrap();
        autopilot.servers.get_mut("main-1").unwrap().healthy = false;
    });
    assert_eq!(of_two.waits().0, "WaitingForRaft", "the vote of both is needed");
    let unknown = Scene::new(5, 3).with(|scene| scene.raft = None);
    assert_eq!(unknown.waits().0, "WaitingForRaft");
}

#[test]
fn a_dead_one_goes_as_soon_as_those_that_stay_are_well() {
    assert_eq!(Scene::new(5, 3).dead(4).act(), Some(remove(4)));
    assert_eq!(
        Scene::new(5, 3).dead(3).dead(4).act(),
        Some(remove(4)),
        "both that go are dead"
    );
    let (reason, words) = Scene::new(5, 3).dead(4).dead(2).waits();
    assert_eq!(reason, "WaitingForMember");
    assert!(words.contains("main-2"), "{words}");
    let never_came = Scene::new(5, 3).dead(4).not_in_raft("main-4");
    assert_eq!(
        never_came.act(),
        Some(Act::Shrink { to: 4 }),
        "no node took it, and it never joined"
    );
    let old_template = Scene::new(5, 3).dead(4).with(|scene| scene.rolled_out = false);
    assert_eq!(
        old_template.act(),
        Some(remove(4)),
        "the roll-out may wait for this very one"
    );
}

#[test]
fn nothing_goes_without_quorum() {
    let alone = Scene::new(3, 1)
        .answers(0, Probe::Standby)
        .answers(1, Probe::Pending)
        .answers(2, Probe::Pending)
        .with(|scene| scene.raft = None);
    assert_eq!(alone.waits().0, "WaitingForLeader");
}

#[test]
fn what_holds_a_roll_out_holds_this_too() {
    let blocked = Scene::new(5, 3).with(|scene| {
        scene.blocked = Some(Blocked {
            reason: "SplitCluster",
            message: "two clusters".to_owned(),
        });
    });
    assert_eq!(blocked.waits().0, "Held");
    let latched = Scene::new(5, 3).with(|scene| {
        scene.record.as_mut().unwrap().seals = SealRecord {
            latched: ["main-4".to_owned()].into(),
            ..SealRecord::default()
        };
    });
    assert_eq!(
        latched.waits().0,
        "Held",
        "a seal on purpose is kept, also on one that goes"
    );
    let begun = Scene::new(5, 3).with(|scene| scene.record = None);
    assert_eq!(begun.waits().0, "Held", "the key Secret is not there");
    let rolling = Scene::new(5, 3).with(|scene| scene.rolled_out = false);
    assert_eq!(rolling.waits().0, "Rolling");
    let migrating = Scene::new(5, 3).with(|scene| {
        scene.record.as_mut().unwrap().seal = Some(SealNote {
            in_force: Side::Shamir,
            target: Some(Side::Auto),
            auto: None,
            migrations: 0,
        });
    });
    assert_eq!(migrating.waits().0, "Rolling");
    let new = Scene::new(5, 3).with(|scene| {
        (scene.record, scene.was_begun, scene.raft) = (None, false, None);
        for member in &mut scene.members {
            member.probe = Probe::Uninitialized;
        }
    });
    assert_eq!(
        new.act(),
        Some(Act::Shrink { to: 4 }),
        "nothing was ever stored: perhaps no node takes so many"
    );
}

#[test]
fn one_that_was_taken_out_goes_also_when_it_is_wanted_again() {
    let out = || Scene::new(5, 5).answers(4, Probe::Removed).not_in_raft("main-4");
    assert_eq!(out().left(&[4]).act(), Some(Act::Shrink { to: 4 }));
    assert_eq!(
        out().verdict(),
        None,
        "somebody else removed it: a person decides"
    );
    let alive = Scene::new(5, 5).left(&[4]);
    assert_eq!(alive.verdict(), None, "it was marked and never removed");
}

#[test]
fn the_volume_of_one_that_was_taken_out_is_cleared_before_it_comes_again_and_no_other() {
    let grows = || Scene::new(3, 5).left(&[3, 4]);
    assert_eq!(grows().act(), Some(Act::Clear(left(3))), "the lowest first");
    let (reason, words) = grows().with(|scene| scene.size.left[0].deleting = true).waits();
    assert_eq!(reason, "WaitingForMember");
    assert!(words.contains("data-main-3"), "{words}");
    let is_member = grows().with(|scene| scene.raft = Some(raft(4)));
    assert_eq!(is_member.act(), Some(Act::Unmark(left(3))), "its data is in use");
    let another = grows().with(|scene| scene.members[0].cluster_id = Some("other".to_owned()));
    assert_eq!(another.act(), Some(Act::Unmark(left(3))), "of another Vault");
    let unknown = grows().with(|scene| scene.raft = None);
    assert_eq!(unknown.waits().0, "WaitingForRaft", "nothing is deleted unseen");
    let no_leader = grows().answers(0, Probe::Standby);
    assert_eq!(no_leader.waits().0, "WaitingForLeader");
}

#[test]
fn a_peer_without_a_pod_is_taken_out() {
    let by_hand = || Scene::new(3, 3).with(|scene| scene.raft = Some(raft(5)));
    assert_eq!(by_hand().act(), Some(remove(4)));
    let uncounted = by_hand().with(|scene| scene.size.counted = false);
    assert_eq!(
        uncounted.verdict(),
        None,
        "perhaps they run: the pods are counted first"
    );
}

#[test]
fn with_consul_a_member_goes_without_raft() {
    let consul = |present, wanted| {
        Scene::new(present, wanted).with(|scene| {
            let mut object = cluster("");
            object.spec.storage = serde_yaml::from_str("{consul: {address: 'https://c:8501'}}").unwrap();
            scene.cluster = validate(&object).unwrap();
            scene.raft = None;
        })
    };
    assert_eq!(consul(4, 3).act(), Some(Act::Shrink { to: 3 }));
    assert_eq!(consul(4, 3).led_by(3).act(), Some(Act::StepDown { member: 3 }));
}
