//! Tests of which member is restarted next.

use std::collections::BTreeMap;

use vaultkeeper_vault::SecretString;
use vaultkeeper_vault::sys::raft::{AutopilotServer, RaftServer};

use super::super::keys;
use super::*;
use crate::cluster::keys::State;
use crate::cluster::validate::{tests::cluster, validate};
use crate::members::{Stopped, Unready};

const OLD: &str = "main-a";
const NEW: &str = "main-b";

/// A world in which all is well and every member is outdated; main-0 leads.
struct Scene {
    cluster: Validated,
    members: Vec<Member>,
    template: Template,
    record: Option<KeyRecord>,
    blocked: Option<Blocked>,
    problem: Option<Problem>,
    was_begun: bool,
    gave_up: u32,
    raft: Option<(RaftConfiguration, AutopilotState)>,
    leads_for: Option<Duration>,
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn seconds_ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 - seconds).unwrap()
}

fn record() -> KeyRecord {
    keys::tests::record(State::Initialized)
}

fn raft(members: usize) -> (RaftConfiguration, AutopilotState) {
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
            failure_tolerance: u32::try_from((members - 1) / 2).unwrap(),
            servers: well.collect::<BTreeMap<_, _>>(),
            ..AutopilotState::default()
        },
    )
}

impl Scene {
    fn new() -> Self {
        Self::of(3, "")
    }

    fn of(members: usize, extra: &str) -> Self {
        let member = |n: usize| Member {
            name: format!("main-{n}"),
            ordinal: u32::try_from(n).unwrap(),
            pod: Some(format!("uid-{n}")),
            container: Some(format!("c-{n}")),
            version: Some("1.21.1".to_owned()),
            probe: if n == 0 { Probe::Active } else { Probe::Standby },
            revision: Some(OLD.to_owned()),
            started: Some(seconds_ago(3600)),
            raft_index: Some(5000),
            ..Member::default()
        };
        Self {
            cluster: validate(&cluster(extra)).unwrap(),
            members: (0..members).map(member).collect(),
            template: Template::Revision(NEW.to_owned()),
            record: Some(record()),
            blocked: None,
            problem: None,
            was_begun: false,
            gave_up: 0,
            raft: Some(raft(members)),
            leads_for: None,
        }
    }

    fn stored(mut self, storage: &str) -> Self {
        let mut object = cluster("  profile: Development\n  replicas: 1");
        object.spec.storage = serde_yaml::from_str(storage).unwrap();
        self.cluster = validate(&object).unwrap();
        self.raft = None;
        self
    }

    fn single() -> Self {
        Self::of(1, "  profile: Development\n  replicas: 1")
    }

    /// These run the present template by now.
    fn current(mut self, members: &[usize]) -> Self {
        for index in members {
            self.members[*index].revision = Some(NEW.to_owned());
        }
        self
    }

    /// A member's server runs and gives this answer.
    fn answers(mut self, member: usize, probe: Probe) -> Self {
        self.members[member].probe = probe;
        self
    }

    /// A member's container does not run.
    fn waits(mut self, member: usize, reason: &str, exit_code: Option<i32>) -> Self {
        let found = &mut self.members[member];
        (found.probe, found.container) = (Probe::Pending, None);
        found.obstacle = Some(reason.to_owned());
        found.stopped = Some(Stopped {
            waiting: Some(reason.to_owned()),
            exit_code,
            ..Stopped::default()
        });
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn decide(&self) -> Verdict {
        let Self {
            cluster,
            members,
            template,
            record,
            blocked,
            problem,
            was_begun,
            gave_up,
            raft,
            leads_for,
        } = self;
        decide(&World {
            cluster,
            members,
            template,
            record: record.as_ref(),
            blocked: blocked.as_ref(),
            problem: problem.as_ref(),
            was_begun: *was_begun,
            gave_up: *gave_up,
            raft: raft.as_ref(),
            leads_for: *leads_for,
            now: now(),
        })
    }
}

fn sealed() -> Probe {
    Probe::Sealed { progress: 0 }
}

fn away() -> Probe {
    Probe::Unreachable("connection refused".to_owned())
}

fn restarts(member: usize) -> Act {
    Act::Restart { member }
}

fn steps_down(member: usize) -> Act {
    Act::StepDown { member }
}

#[track_caller]
fn acts(why: &str, scene: &Scene, act: Act) {
    let verdict = scene.decide();
    assert_eq!(verdict.act, Some(act), "{why}: {verdict:?}");
    assert_eq!(verdict.reason, Reason::Rolling, "{why}: {verdict:?}");
}

#[track_caller]
fn waits(why: &str, scene: &Scene, reason: Reason, words: &str) {
    let verdict = scene.decide();
    assert_eq!(
        (verdict.act, verdict.reason),
        (None, reason),
        "{why}: {verdict:?}"
    );
    assert!(
        verdict.message.contains(words),
        "{why}: the message should hold `{words}`: {}",
        verdict.message
    );
}

#[test]
fn standbys_go_first_the_highest_first_and_the_leader_last_after_it_has_stepped_down() {
    acts("at the beginning", &Scene::new(), restarts(2));
    acts("after main-2", &Scene::new().current(&[2]), restarts(1));
    acts(
        "after both standbys",
        &Scene::new().current(&[1, 2]),
        steps_down(0),
    );
    let led_by_one = Scene::new()
        .current(&[1, 2])
        .answers(0, Probe::Standby)
        .answers(1, Probe::Active);
    acts("once another one leads", &led_by_one, restarts(0));
    let done = Scene::new().current(&[0, 1, 2]);
    waits("in the end", &done, Reason::UpToDate, "every member");
}

#[test]
fn a_leader_with_the_highest_number_is_still_the_last() {
    let scene = || Scene::new().answers(0, Probe::Standby).answers(2, Probe::Active);
    acts("at the beginning", &scene(), restarts(1));
    acts("then", &scene().current(&[1]), restarts(0));
    acts("in the end", &scene().current(&[0, 1]), steps_down(2));
}

#[test]
fn an_updated_member_that_took_over_meanwhile_never_hands_leadership_back() {
    let scene = Scene::new()
        .current(&[2])
        .answers(0, Probe::Standby)
        .answers(2, Probe::Active);
    acts("the old ones are standbys now", &scene, restarts(1));
    acts("both", &scene.current(&[1]), restarts(0));
}

#[test]
fn nobody_is_restarted_while_a_restarted_member_is_on_its_way_back() {
    let scene = || Scene::new().current(&[2]);
    let gone = scene().with(|s| {
        let member = &mut s.members[2];
        (member.pod, member.container, member.revision) = (None, None, None);
        member.probe = Probe::Pending;
        member.obstacle = Some("there is no pod".to_owned());
    });
    waits(
        "its pod is not there yet",
        &gone,
        Reason::WaitingForMember,
        "main-2",
    );
    let going = scene().with(|s| s.members[2].deleting = true);
    waits("its old pod goes", &going, Reason::WaitingForMember, "main-2");
    let starting = scene().waits(2, "ContainerCreating", None);
    waits(
        "it starts",
        &starting,
        Reason::WaitingForMember,
        "kubectl describe pod main-2 -n vault",
    );
    for probe in [sealed(), away(), Probe::Uninitialized] {
        let why = format!("{probe:?}");
        waits(
            &why,
            &scene().answers(2, probe),
            Reason::WaitingForMember,
            "main-2 is",
        );
    }
    let removed = scene().answers(2, Probe::Removed);
    waits(
        "it was removed",
        &removed,
        Reason::WaitingForMember,
        "main-2 is Removed",
    );
}

#[test]
fn a_restarted_member_that_does_not_come_back_stops_the_rest_and_says_why() {
    let scene = || Scene::new().current(&[2]);
    let pulls = scene().waits(2, "ImagePullBackOff", None);
    waits(
        "no image",
        &pulls,
        Reason::Stuck,
        "main-2 is Pending (ImagePullBackOff)",
    );
    waits("no image", &pulls, Reason::Stuck, "1 of 3 members run");
    let crashes = scene().waits(2, "CrashLoopBackOff", Some(1));
    waits("it exits", &crashes, Reason::Stuck, "exits with code 1");
    let between = scene().answers(2, away()).with(|s| {
        s.members[2].stopped = Some(Stopped {
            exit_code: Some(1),
            ..Stopped::default()
        });
    });
    waits(
        "it exits, and runs for a moment",
        &between,
        Reason::Stuck,
        "main-2",
    );
    let unscheduled = scene().with(|s| {
        let member = &mut s.members[2];
        (member.probe, member.container) = (Probe::Pending, None);
        member.obstacle = Some("Unschedulable: 0/3 nodes".to_owned());
    });
    waits("no node", &unscheduled, Reason::Stuck, "Unschedulable");
    let cramped = unscheduled.with(|s| {
        s.members[2].obstacle =
            Some("Unschedulable: 1 node(s) didn't match pod topology spread constraints".to_owned());
    });
    waits(
        "the spread became stricter",
        &cramped,
        Reason::Stuck,
        "spec.pod.spread.hosts",
    );
}

#[test]
fn a_corrected_template_reaches_the_member_that_could_not_start_with_the_one_before() {
    // main-2 runs a third template, the others the one before that.
    let broken = |scene: Scene| scene.with(|s| s.members[2].revision = Some("main-broken".to_owned()));
    for reason in [
        "ImagePullBackOff",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "ContainerCreating",
    ] {
        acts(
            reason,
            &broken(Scene::new().waits(2, reason, Some(1))),
            restarts(2),
        );
    }
    let unplaced = broken(Scene::new()).with(|s| {
        let member = &mut s.members[2];
        (member.probe, member.container) = (Probe::Pending, None);
        member.obstacle = Some("Unschedulable".to_owned());
    });
    acts("no node took it", &unplaced, restarts(2));
    let lower = broken(Scene::new()).with(|s| s.members[1].revision = Some("main-broken".to_owned()));
    acts(
        "a broken one comes before one that serves",
        &lower.waits(1, "CrashLoopBackOff", Some(1)),
        restarts(1),
    );
    let back = broken(Scene::new().current(&[0, 1])).waits(2, "ImagePullBackOff", None);
    acts("the change was taken back", &back, restarts(2));
    for probe in [away(), sealed(), Probe::Uninitialized] {
        let why = format!("it runs and is {probe:?}");
        acts(&why, &broken(Scene::new().answers(2, probe)), restarts(2));
    }
}

#[test]
fn a_pod_that_runs_nothing_is_replaced_also_without_quorum_or_keys() {
    let scene = Scene::new()
        .waits(0, "ImagePullBackOff", None)
        .waits(1, "ImagePullBackOff", None)
        .waits(2, "ImagePullBackOff", None)
        .with(|s| (s.record, s.raft) = (None, None));
    acts("never initialised", &scene, restarts(2));
    acts("the next one", &scene.current(&[2]), restarts(1));
    let lost = Scene::new()
        .answers(0, Probe::Standby)
        .waits(1, "CrashLoopBackOff", Some(1))
        .waits(2, "CrashLoopBackOff", Some(1))
        .with(|s| s.raft = None);
    acts("quorum is lost", &lost, restarts(2));
    let unborn = Scene::new()
        .answers(0, away())
        .answers(1, away())
        .answers(2, away())
        .with(|s| (s.record, s.raft) = (None, None));
    acts("they run, answer nobody, and hold nothing", &unborn, restarts(2));
}

#[test]
fn a_broken_member_that_runs_is_not_touched_unless_all_the_others_serve() {
    let two_away = Scene::new().answers(1, away()).answers(2, away());
    waits("quorum is lost", &two_away, Reason::WaitingForMember, "main-1");
    let no_leader = Scene::new().answers(0, away());
    waits(
        "it may be the leader",
        &no_leader,
        Reason::WaitingForLeader,
        "active",
    );
    let unknown = Scene::new().answers(2, away()).with(|s| s.raft = None);
    waits("nobody knows the votes", &unknown, Reason::WaitingForRaft, "Raft");
    let no_vote = Scene::new().answers(2, away()).with(|s| {
        if let Some((configuration, _)) = &mut s.raft {
            configuration.servers[1].voter = false;
        }
    });
    waits("another has no vote", &no_vote, Reason::WaitingForRaft, "main-1");
    let unwell = Scene::new().answers(2, away()).with(|s| {
        if let Some((_, autopilot)) = &mut s.raft {
            autopilot.servers.get_mut("main-1").unwrap().healthy = false;
        }
    });
    waits("another is unwell", &unwell, Reason::WaitingForRaft, "main-1");
    let removed = Scene::new().answers(2, Probe::Removed);
    waits(
        "a restart heals no removal",
        &removed,
        Reason::WaitingForMember,
        "main-2",
    );
}

#[test]
fn raft_must_bear_the_loss_of_one_more() {
    let scene = || Scene::new().current(&[2]);
    waits(
        "its members cannot be read",
        &scene().with(|s| s.raft = None),
        Reason::WaitingForRaft,
        "read",
    );
    let autopilot =
        |change: fn(&mut AutopilotState)| scene().with(|s| change(&mut s.raft.as_mut().unwrap().1));
    waits(
        "nobody may fail",
        &autopilot(|a| a.failure_tolerance = 0),
        Reason::WaitingForRaft,
        "failure tolerance 0",
    );
    waits(
        "a member is unwell",
        &autopilot(|a| a.healthy = false),
        Reason::WaitingForRaft,
        "not healthy",
    );
    let configuration =
        |change: fn(&mut RaftConfiguration)| scene().with(|s| change(&mut s.raft.as_mut().unwrap().0));
    waits(
        "a new member has no vote yet",
        &configuration(|c| c.servers[2].voter = false),
        Reason::WaitingForRaft,
        "main-2 has a vote",
    );
    waits(
        "a member was removed",
        &configuration(|c| drop(c.servers.remove(1))),
        Reason::WaitingForRaft,
        "main-1 has a vote",
    );
    waits(
        "a member is behind",
        &scene().with(|s| s.members[2].raft_index = Some(4000)),
        Reason::WaitingForRaft,
        "main-2 has caught up: it lacks 1000",
    );
    acts(
        "a member is a moment behind",
        &scene().with(|s| s.members[2].raft_index = Some(4990)),
        restarts(1),
    );
    waits(
        "autopilot may speak of the process before",
        &scene().with(|s| s.members[2].started = Some(seconds_ago(9))),
        Reason::WaitingForRaft,
        "main-2 has run for 10 s",
    );
    acts(
        "it has run for long enough",
        &scene().with(|s| s.members[2].started = Some(seconds_ago(10))),
        restarts(1),
    );
}

#[test]
fn there_must_be_exactly_one_leader_and_not_since_a_moment_ago() {
    let none = Scene::new().answers(0, Probe::Standby);
    waits("none", &none, Reason::WaitingForLeader, "exactly one");
    let two = Scene::new().answers(1, Probe::Active);
    waits("two", &two, Reason::WaitingForLeader, "exactly one");
    let last = |seconds| {
        Scene::new()
            .current(&[1, 2])
            .with(|s| s.leads_for = Some(Duration::from_secs(seconds)))
    };
    waits(
        "9 s after an election",
        &last(9),
        Reason::WaitingForLeader,
        "10 s",
    );
    acts("after 10 s", &last(10), steps_down(0));
    let standby = Scene::new().with(|s| s.leads_for = Some(Duration::ZERO));
    acts("a standby need not wait for that", &standby, restarts(2));
}

#[test]
fn nothing_is_restarted_while_a_person_has_to_decide_first() {
    let latched = |scene: Scene| {
        scene.with(|s| {
            let seals = &mut s.record.as_mut().unwrap().seals;
            seals.latched.insert("main-1".to_owned());
        })
    };
    waits(
        "a seal is latched",
        &latched(Scene::new()),
        Reason::Held,
        "main-1 sealed on purpose",
    );
    waits(
        "also not what cannot start: it might unseal itself",
        &latched(Scene::new().waits(2, "ImagePullBackOff", None)),
        Reason::Held,
        "main-1",
    );
    let suspected = Scene::new().answers(1, sealed()).with(|s| {
        let seals = &mut s.record.as_mut().unwrap().seals;
        seals.unsealed.insert("main-1".to_owned(), "c-1".to_owned());
    });
    waits("a seal may have been meant", &suspected, Reason::Held, "main-1");
    let damaged = Scene::new().with(|s| s.record.as_mut().unwrap().seals.damaged = true);
    waits("the record is damaged", &damaged, Reason::Held, "nobody knows");
    let blocked = Scene::new().with(|s| {
        s.blocked = Some(Blocked {
            reason: "SplitCluster",
            message: "two clusters".to_owned(),
        });
    });
    waits("two clusters", &blocked, Reason::Held, "two clusters");
}

#[test]
fn a_spec_that_is_not_applied_is_said_also_where_every_member_runs_the_template_before_it() {
    let taken = Error::NotOurs {
        kind: "Service",
        name: "main".to_owned(),
    };
    let older = Error::Downgrade("spec.version 1.20.4 is older".to_owned());
    for (error, reason, words) in [
        (taken, Reason::NotApplied, "Service main exists"),
        (older, Reason::DowngradeRefused, "1.20.4 is older"),
    ] {
        let refused = |scene: Scene| scene.with(|s| s.problem = Some(Problem::from(&error)));
        waits("members are outdated", &refused(Scene::new()), reason, words);
        let current = refused(Scene::new().current(&[0, 1, 2]));
        waits("none is", &current, reason, words);
        let unseen = refused(Scene::new().with(|s| s.template = Template::Unsettled));
        waits("there is no StatefulSet", &unseen, reason, words);
    }
}

#[test]
fn the_next_member_goes_only_when_services_lead_to_the_one_before_it_again() {
    let unready = |scene: Scene, member: usize, stuck: bool| {
        scene.with(|s| {
            s.members[member].unready = Some(Unready {
                words: "its container reload waits (ImagePullBackOff)".to_owned(),
                stuck,
            });
        })
    };
    let pulls = unready(Scene::new().current(&[2]), 2, true);
    waits(
        "no image for the helper",
        &pulls,
        Reason::Stuck,
        "main-2 is Standby, but its pod is not ready",
    );
    let starts = unready(Scene::new().current(&[2]), 2, false);
    waits(
        "it was unsealed a moment ago",
        &starts,
        Reason::WaitingForMember,
        "main-2",
    );
    let last = unready(Scene::new().current(&[0, 1, 2]), 0, false);
    waits("the last one", &last, Reason::WaitingForMember, "main-0");
    let mut broken = Scene::new();
    for member in 0..3 {
        broken = unready(broken, member, true);
    }
    acts("the present template mends it", &broken, restarts(2));
}

#[test]
fn a_leader_that_nobody_relieves_is_left_alone_after_two_tries() {
    let tried = |times| Scene::new().current(&[1, 2]).with(|s| s.gave_up = times);
    acts("the second try", &tried(1), steps_down(0));
    waits(
        "no third one",
        &tried(2),
        Reason::Stuck,
        "main-0 has given up its leadership 2 times",
    );
    waits("and what to do", &tried(2), Reason::Stuck, "correct the spec");
    let standby = Scene::new().current(&[1]).with(|s| s.gave_up = 2);
    acts(
        "a corrected template reaches the standbys first",
        &standby,
        restarts(2),
    );
}

#[test]
fn a_member_that_does_not_answer_is_not_restarted_when_its_keys_are_gone() {
    let lost = |was_begun| {
        Scene::new()
            .answers(0, away())
            .answers(1, away())
            .answers(2, away())
            .with(|s| (s.record, s.raft, s.was_begun) = (None, None, was_begun))
    };
    acts("it was never initialised", &lost(false), restarts(2));
    waits(
        "it may be unsealed still, and could never be again",
        &lost(true),
        Reason::Held,
        "the key Secret is not there",
    );
    let nothing = lost(true).waits(2, "ImagePullBackOff", None);
    acts("nothing runs there that could be lost", &nothing, restarts(2));
}

#[test]
fn nothing_that_runs_is_restarted_before_the_cluster_is_set_up() {
    let root = Scene::new().with(|s| s.record.as_mut().unwrap().root_token = Some(SecretString::from("r")));
    waits("the root token is there", &root, Reason::NotSetUp, "set up");
    for state in [State::Initializing, State::Wiping] {
        let scene = Scene::new()
            .answers(0, away())
            .with(|s| s.record.as_mut().unwrap().state = state);
        waits(
            "sys/init may be running there",
            &scene,
            Reason::NotSetUp,
            "set up",
        );
    }
    let empty = Scene::new()
        .answers(2, Probe::Uninitialized)
        .with(|s| s.record = None);
    waits("its turn comes", &empty, Reason::NotSetUp, "set up");
    let attempt = crate::cluster::custody::Attempt {
        nonce: "n".to_owned(),
        custody: crate::cluster::custody::Custody {
            threshold: 2,
            custodians: Vec::new(),
        },
    };
    let handing_over = Scene::new().with(|s| s.record.as_mut().unwrap().hand_over = vec![attempt]);
    waits(
        "which shares would open it is not known",
        &handing_over,
        Reason::NotSetUp,
        "the shares are with the custodians",
    );
}

#[test]
fn an_older_version_than_what_serves_is_refused() {
    let runs = |version: &str| Scene::new().with(|s| s.members[1].version = Some(version.to_owned()));
    waits(
        "one member was upgraded",
        &runs("1.22.0"),
        Reason::DowngradeRefused,
        "spec.version 1.21.1 is older than 1.22.0, which main-1 runs",
    );
    acts("an upgrade", &runs("1.20.4"), restarts(2));
    let never_served = runs("1.22.0").with(|s| s.members[1].probe = sealed());
    acts("what never served can be taken back", &never_served, restarts(1));
}

#[test]
fn until_the_controller_has_seen_the_template_nothing_is_known() {
    let scene = Scene::new().with(|s| s.template = Template::Unsettled);
    waits("unsettled", &scene, Reason::TemplatePending, "not seen");
    assert_eq!(scene.decide().outdated, None);
    let foreign = Scene::new()
        .current(&[0, 1])
        .with(|s| s.members[2].revision = None);
    waits(
        "a pod without a revision is not judged",
        &foreign,
        Reason::UpToDate,
        "",
    );
}

#[test]
fn a_single_member_is_restarted_and_the_message_says_what_that_means() {
    acts("one member", &Scene::single(), restarts(0));
    assert!(
        Scene::single()
            .decide()
            .message
            .contains("nobody serves until it is back"),
        "{:?}",
        Scene::single().decide()
    );
    acts("it hangs", &Scene::single().answers(0, away()), restarts(0));
    let unset =
        Scene::single().with(|s| s.record.as_mut().unwrap().root_token = Some(SecretString::from("r")));
    waits("it is being set up", &unset, Reason::NotSetUp, "set up");
}

#[test]
fn a_vault_in_memory_is_never_restarted_and_the_message_says_how_to() {
    let scene = || Scene::single().stored("{ephemeral: {}}");
    waits(
        "it serves",
        &scene(),
        Reason::DataInMemory,
        "kubectl delete pod main-0 -n vault",
    );
    let pulls = scene().waits(0, "ImagePullBackOff", None);
    acts("it never ran", &pulls, restarts(0));
}

#[test]
fn with_consul_another_member_that_serves_is_enough() {
    let consul = |scene: Scene| scene.stored("{consul: {address: 'https://c:8501'}}");
    acts("a standby", &consul(Scene::of(2, "")), restarts(1));
    acts(
        "the leader",
        &consul(Scene::of(2, "")).current(&[1]),
        steps_down(0),
    );
    let alone = consul(Scene::of(2, "")).current(&[1]).answers(1, sealed());
    waits(
        "nobody to take over",
        &alone,
        Reason::WaitingForMember,
        "main-1 is Sealed",
    );
}

#[test]
fn five_members_go_one_by_one_as_well() {
    let mut scene = Scene::of(5, "  replicas: 5");
    let mut order = Vec::new();
    loop {
        match scene.decide().act {
            Some(Act::Restart { member }) => {
                order.push(format!("restart {member}"));
                scene = scene.current(&[member]);
            }
            Some(Act::StepDown { member }) => {
                order.push(format!("step down {member}"));
                scene = scene.answers(member, Probe::Standby).answers(4, Probe::Active);
            }
            None => break,
        }
        assert!(order.len() < 10, "it must end: {order:?}");
    }
    assert_eq!(
        order,
        [
            "restart 4",
            "restart 3",
            "restart 2",
            "restart 1",
            "step down 0",
            "restart 0"
        ]
    );
}

#[test]
fn the_message_counts_and_the_rows_say_who_is_outdated() {
    let verdict = Scene::new().current(&[2]).decide();
    assert_eq!(
        verdict.message,
        "1 of 3 members run the present pod template; restarts main-1"
    );
    assert_eq!(
        verdict.outdated.as_deref(),
        Some(["main-0".to_owned(), "main-1".to_owned()].as_slice())
    );
}
