//! Shares that people hold: the hand-over, the waiting, and their unsealing.

use anyhow::{Context as _, bail, ensure};
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_crds::cluster::CustodyStatus;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::rekey::{RekeyPaths, RekeyRequest};
use vaultkeeper_vault::{Client, ExposeSecret as _, SecretString};

use super::configuration::event;
use super::gpg::Keyring;
use super::stage::{DEADLINE, Stage, condition, reason};

/// `spec.seal` with these people.
pub(crate) fn seal(ring: &Keyring, people: &[&str], threshold: usize) -> anyhow::Result<Value> {
    let custodian = |name: &&str| Ok(json!({"name": name, "pgpKey": ring.public(name)?}));
    let custodians: Vec<Value> = people.iter().map(custodian).collect::<anyhow::Result<_>>()?;
    Ok(json!({"shamir": {"shares": people.len(), "threshold": threshold, "custodians": custodians}}))
}

fn custody(cluster: &VaultCluster) -> Option<CustodyStatus> {
    cluster.status.clone()?.custody
}

/// Waits until the people hold the shares.
pub(crate) async fn until_delivered(stage: &Stage) -> anyhow::Result<VaultCluster> {
    stage
        .until("the shares to be with the custodians", |c| {
            custody(c).is_some_and(|c| c.delivered && c.held_by_operator == 0)
        })
        .await
}

/// What one of them gets by the command in the status.
async fn share_of(stage: &Stage, ring: &Keyring, name: &str) -> anyhow::Result<SecretString> {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secret = secrets.get(&names::custodian_secret("main")).await?;
    let message = secret.data.and_then(|mut data| data.remove(name));
    ring.decrypt(&message.with_context(|| format!("there is no share of {name}"))?.0)
}

pub(crate) async fn shares_of(
    stage: &Stage,
    ring: &Keyring,
    people: &[&str],
) -> anyhow::Result<Vec<SecretString>> {
    let mut shares = Vec::new();
    for name in people {
        shares.push(share_of(stage, ring, name).await?);
    }
    Ok(shares)
}

/// A new process of a member answers and is sealed.
async fn until_sealed(member: &Client) -> anyhow::Result<()> {
    wait::until_async("the restarted member to be sealed", DEADLINE, async || {
        let status = member.seal_status().await?;
        ensure!(status.sealed && status.initialized, "{status:?}");
        Ok(())
    })
    .await
}

/// Nothing in the key Secret unseals or is a root token.
async fn assert_the_operator_holds_nothing(stage: &Stage) -> anyhow::Result<()> {
    let data = stage
        .keys()
        .await?
        .context("no key Secret")?
        .data
        .unwrap_or_default();
    for key in data.keys() {
        ensure!(
            !key.starts_with("share-") && key != "root-token" && key != "hand-over",
            "the key Secret still holds {key}"
        );
    }
    Ok(())
}

/// A member of one is killed: it waits, and these shares open it.
pub(crate) async fn assert_these_unseal(stage: &Stage, shares: &[SecretString]) -> anyhow::Result<()> {
    stage.kubelet.kill("main-0").await?;
    let member = stage.member(0).await?;
    until_sealed(&member).await?;
    let mut sealed = true;
    for share in shares {
        sealed = member.unseal(share).await?.sealed;
    }
    ensure!(!sealed, "the shares of the custodians do not unseal");
    Ok(())
}

#[tokio::test]
async fn people_get_the_shares_of_three_members_and_unseal_the_one_that_restarts() {
    let people = ["alice", "bob", "carol"];
    let ring = Keyring::of(&people).unwrap();
    let stage = Stage::new().await.unwrap();
    let seal = seal(&ring, &people, 2).unwrap();
    stage
        .create_cluster_with(3, json!({ "seal": seal }))
        .await
        .unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    let old = wait::until_async("the single share of the initialisation", DEADLINE, async || {
        let data = stage
            .keys()
            .await?
            .context("no key Secret")?
            .data
            .unwrap_or_default();
        ensure!(
            !data.contains_key("share-2"),
            "one share was to be made, not several"
        );
        let share = data.get("share-1").context("no share")?;
        Ok(SecretString::from(String::from_utf8(share.0.clone())?))
    })
    .await
    .unwrap();
    let cluster = until_delivered(&stage).await.unwrap();
    event(
        &stage,
        "SharesHandedOver",
        &["held by", "the operator keeps none"],
    )
    .await;
    stage.until_available().await.unwrap();
    assert_the_operator_holds_nothing(&stage).await.unwrap();
    let told = custody(&cluster).unwrap();
    assert_eq!((told.shares, told.threshold), (3, 2));
    let fingerprint = &told.custodians[0].fingerprint;
    assert_eq!(
        (fingerprint.len(), told.custodians[0].name.as_str()),
        (40, "alice")
    );

    // A standby has its share of the old key in memory only: the storage knows the new one.
    let before = unsealings(&points);
    stage.kubelet.kill("main-2").await.unwrap();
    let member = stage.member(2).await.unwrap();
    until_sealed(&member).await.unwrap();
    let waits = |progress: &'static str| {
        move |c: &VaultCluster| {
            let waiting = custody(c).map(|c| c.waiting).unwrap_or_default();
            waiting.len() == 1 && waiting[0].name == "main-2" && waiting[0].progress == progress
        }
    };
    let cluster = stage
        .until(
            "main-2 to wait for its people while the other two serve on",
            |c| waits("0/2")(c) && reason(c, "Available") == "Degraded",
        )
        .await
        .unwrap();
    assert_eq!(
        reason(&cluster, "SealLatched"),
        "",
        "it was not sealed on purpose"
    );
    operator.until_passes(3).await.unwrap();
    assert_eq!(
        unsealings(&points),
        before,
        "the operator has nothing to unseal it with"
    );

    let status = member.unseal(&old).await.unwrap();
    assert!(
        status.sealed,
        "the share of the initialisation is worth nothing now"
    );
    member.reset_unseal().await.unwrap();
    let shares = shares_of(&stage, &ring, &people).await.unwrap();
    member.unseal(&shares[0]).await.unwrap();
    stage
        .until("the first share to be seen", waits("1/2"))
        .await
        .unwrap();
    member.unseal(&shares[2]).await.unwrap();
    let cluster = stage.until_available().await.unwrap();
    assert_eq!(
        reason(&cluster, "AwaitingCustodians"),
        "",
        "nobody waits any more"
    );
    stage
        .until("the list of waiting members to be empty", |c| {
            custody(c).is_some_and(|c| c.waiting.is_empty())
        })
        .await
        .unwrap();
    one_event_tells_how_to_unseal_it(&stage).await;
    the_right_to_rekey_is_gone_and_no_root_token_is_alive(&stage, &shares[1..]).await;
    operator.stop().await;
    stage.end().await.unwrap();
}

fn unsealings(points: &Points) -> usize {
    let seen = points.seen();
    seen.iter().filter(|p| p.call.contains("sys/unseal")).count()
}

async fn one_event_tells_how_to_unseal_it(stage: &Stage) {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = wait::until_async("the event", DEADLINE, async || {
        let all = events.list(&ListParams::default()).await?.items;
        let is_it = |e: &Event| e.reason.as_deref() == Some("AwaitingCustodians");
        let found: Vec<Event> = all.into_iter().filter(is_it).collect();
        ensure!(!found.is_empty(), "no event");
        Ok(found)
    })
    .await
    .unwrap();
    assert_eq!(events.len(), 1, "one event for one restart: {events:?}");
    assert!(events[0].series.is_none(), "which was not repeated: {events:?}");
    let note = events[0].note.clone().unwrap_or_default();
    assert!(
        note.contains("main-2")
            && note.contains("2 of alice, bob, carol")
            && note.contains("operator unseal"),
        "{note}"
    );
}

async fn the_right_to_rekey_is_gone_and_no_root_token_is_alive(stage: &Stage, shares: &[SecretString]) {
    let cluster = stage.clusters().get("main").await.unwrap();
    let leader = cluster.status.and_then(|s| s.leader).unwrap();
    let ordinal: u32 = leader.trim_start_matches("main-").parse().unwrap();
    let token = stage.root_token_of(ordinal, shares).await.unwrap();
    let root = stage.member(ordinal).await.unwrap().with_token(&token);
    // Taken back with the hand-over, or with the next look at the configuration.
    wait::until_async("the right to rekey to be gone", DEADLINE, async || {
        let policy = root.read_policy("vaultkeeper-operator").await?;
        ensure!(!policy.contains("rekey"), "needed no longer: {policy}");
        Ok(())
    })
    .await
    .unwrap();
    let backup = root.rekey(RekeyPaths::Rekey).backup().await.unwrap();
    assert_eq!(backup, None, "Vault's backup was deleted");
    let own = root.lookup_self().await.unwrap().accessor;
    for accessor in root.list_accessors().await.unwrap() {
        let alive = root.lookup_accessor(&accessor).await;
        assert!(
            accessor == own || !alive.is_ok_and(|info| info.is_root()),
            "another root token is alive: {accessor}"
        );
    }
    root.revoke_self().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_only_people_can_open_waits_without_an_error_and_keeps_seals_on_purpose_apart() {
    let people = ["alice", "bob"];
    let ring = Keyring::of(&people).unwrap();
    let stage = Stage::new().await.unwrap();
    let seal = seal(&ring, &people, 2).unwrap();
    stage
        .create_cluster_with(1, json!({ "seal": seal }))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    until_delivered(&stage).await.unwrap();
    let shares = shares_of(&stage, &ring, &people).await.unwrap();
    a_share_that_is_taken_out_of_the_key_secret_stays_in_the_copy(&stage).await;

    stage.kubelet.kill("main-0").await.unwrap();
    let cluster = stage
        .until("the cluster to wait for its people", |c| {
            reason(c, "Available") == "AwaitingCustodians"
        })
        .await
        .unwrap();
    assert_eq!(reason(&cluster, "AwaitingCustodians"), "MembersSealed");
    // Passes that end well: waiting is no failure.
    operator.until_passes(3).await.unwrap();
    let member = stage.member(0).await.unwrap();
    for share in &shares {
        member.unseal(share).await.unwrap();
    }
    stage.until_available().await.unwrap();

    let token = stage.root_token_of(0, &shares).await.unwrap();
    member.with_token(&token).seal().await.unwrap();
    let cluster = stage
        .until("the seal to be latched", |c| {
            reason(c, "SealLatched") == "SealedOnPurpose"
        })
        .await
        .unwrap();
    assert_eq!(
        reason(&cluster, "AwaitingCustodians"),
        "",
        "nobody is asked to undo what somebody meant"
    );
    for share in &shares {
        member.unseal(share).await.unwrap();
    }
    // Serving is seen one pass before it is written down.
    stage
        .until(
            "the latch to be gone, since they undid the seal themselves",
            |c| reason(c, "Available") == "AllMembersServe" && reason(c, "SealLatched").is_empty(),
        )
        .await
        .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Somebody edits the key Secret, or restores a part of it.
async fn a_share_that_is_taken_out_of_the_key_secret_stays_in_the_copy(stage: &Stage) {
    let keys: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    let copies: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let name = names::key_secret(&stage.namespace, "main");
    let before = copies.get("main-custodians").await.unwrap().data.unwrap();
    let put = async |share: Value| {
        let body = json!({"data": {"encrypted-share-bob": share}});
        let patched = keys
            .patch(&name, &PatchParams::default(), &Patch::Merge(&body))
            .await;
        patched.unwrap();
    };
    put(Value::Null).await;
    let cluster = stage
        .until("the missing share to be told", |c| {
            reason(c, "Configured") == "KeySecretUnreadable" && custody(c).is_some_and(|c| !c.delivered)
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Configured").unwrap().message;
    for part in ["bob", name.as_str(), "main-custodians"] {
        assert!(said.contains(part), "{part} should be named: {said}");
    }
    let now = copies.get("main-custodians").await.unwrap().data.unwrap();
    assert_eq!(now, before, "the last copy of that share must stay");
    put(serde_json::to_value(&before["bob"]).unwrap()).await;
    until_delivered(stage).await.unwrap();
}

/// How many clusters come up at a time.
const PARALLEL: usize = 4;

/// Calls around which shares could be lost, and those after them. The first four run in every `make test`.
const HAND_OVER: [&str; 6] = [
    "Vault PUT sys/rekey/init",
    "(hand-over)",
    "Vault PUT sys/rekey/update",
    "(custody,",
    "Vault DELETE sys/rekey/backup",
    "secrets/main-custodians",
];

#[tokio::test]
async fn an_operator_that_dies_around_the_hand_over_loses_no_share() {
    die_at_each(&[
        (0, Side::After),
        (1, Side::After),
        (2, Side::After),
        (3, Side::Before),
    ])
    .await;
}

#[tokio::test]
#[ignore = "long: one cluster for each side of each call"]
async fn an_operator_that_dies_at_any_call_of_the_hand_over_loses_no_share() {
    let sides = [Side::Before, Side::After];
    let all: Vec<_> = (0..HAND_OVER.len())
        .flat_map(|call| sides.map(|side| (call, side)))
        .collect();
    die_at_each(&all).await;
}

async fn die_at_each(cases: &[(usize, Side)]) {
    let people = ["alice", "bob"];
    let ring = Keyring::of(&people).unwrap();
    let seal = seal(&ring, &people, 2).unwrap();
    let seen = {
        let stage = Stage::new().await.unwrap();
        stage
            .create_cluster_with(1, json!({ "seal": seal }))
            .await
            .unwrap();
        let points = Points::record();
        let operator = stage.start_operator(&points);
        until_delivered(&stage).await.unwrap();
        operator.stop().await;
        stage.end().await.unwrap();
        points.seen()
    };
    let runs = cases.iter().map(|(call, side)| {
        let point = seen.iter().find(|p| p.call.contains(HAND_OVER[*call]));
        let point = point.unwrap_or_else(|| panic!("no call with {:?} in {seen:?}", HAND_OVER[*call]));
        let (point, side, ring, seal) = (point.clone(), *side, &ring, &seal);
        async move {
            let name = format!("{side:?} {point}");
            let run = die_at(point, side, ring, seal, &people);
            run.await.err().map(|error| format!("{name}: {error:#}"))
        }
    });
    let failures: Vec<String> = stream::iter(runs)
        .buffer_unordered(PARALLEL)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(failures.is_empty(), "shares were lost:\n{}", failures.join("\n"));
}

async fn die_at(
    point: Point,
    side: Side,
    ring: &Keyring,
    seal: &Value,
    people: &[&str],
) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.create_cluster_with(1, json!({ "seal": seal })).await?;
    let points = Points::dying_at(point, side);
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    if died.is_err() {
        bail!("the point was never reached");
    }
    let operator = stage.start_operator(&Points::record());
    until_delivered(&stage).await.context("after the death")?;
    assert_the_operator_holds_nothing(&stage).await?;
    let shares = shares_of(&stage, ring, people).await?;
    assert_these_unseal(&stage, &shares).await?;
    stage.until_available().await?;
    operator.stop().await;
    stage.end().await
}

#[tokio::test]
async fn people_take_over_the_shares_of_a_running_cluster_even_if_the_answer_is_lost() {
    let people = ["alice", "bob", "carol"];
    let ring = Keyring::of(&people).unwrap();
    let stage = Stage::new().await.unwrap();
    // As many shares, and as many needed, before and after: numbers do not tell which are in force.
    stage.create_cluster(1).await.unwrap();
    let update = Point {
        call: "Vault PUT sys/rekey/update".to_owned(),
        occurrence: 2,
    };
    let points = Points::dying_at(update, Side::After);
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    let seal = seal(&ring, &people, 2).unwrap();
    change_seal(&stage, &seal).await;
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    died.expect("two old shares are needed");
    assert_eq!(
        stage.shares().await.unwrap().len(),
        3,
        "the old shares are there still, and dead"
    );

    let operator = stage.start_operator(&Points::record());
    until_delivered(&stage).await.unwrap();
    assert_the_operator_holds_nothing(&stage).await.unwrap();
    let shares = shares_of(&stage, &ring, &people).await.unwrap();
    assert_these_unseal(&stage, &shares[1..]).await.unwrap();
    stage.until_available().await.unwrap();

    let others = Keyring::of(&["dave", "erin"]).unwrap();
    let theirs = self::seal(&others, &["dave", "erin"], 2).unwrap();
    change_seal(&stage, &theirs).await;
    stage
        .until(
            "the people in the spec to be refused by a cluster that serves all the same",
            |c| {
                reason(c, "CustodiansDiffer") == "HeldByOthers" && reason(c, "Available") == "AllMembersServe"
            },
        )
        .await
        .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn shares_that_only_a_closed_vault_knows_are_found_in_its_storage() {
    let people = ["alice", "bob"];
    let ring = Keyring::of(&people).unwrap();
    let seal = seal(&ring, &people, 2).unwrap();
    let stage = Stage::new().await.unwrap();
    stage
        .create_cluster_with(1, json!({ "seal": seal }))
        .await
        .unwrap();
    let update = Point {
        call: "Vault PUT sys/rekey/update".to_owned(),
        occurrence: 1,
    };
    let points = Points::dying_at(update, Side::After);
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    died.expect("the shares are handed over");
    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    until_sealed(&member).await.unwrap();

    let operator = stage.start_operator(&Points::record());
    stage
        .until("the operator to say where the shares are", |c| {
            reason(c, "Available") == "HandOverInterrupted"
        })
        .await
        .unwrap();
    for message in backup_in_storage(&stage).await.unwrap() {
        member.unseal(&ring.decrypt(&message).unwrap()).await.unwrap();
    }
    until_delivered(&stage).await.unwrap();
    assert_the_operator_holds_nothing(&stage).await.unwrap();
    let shares = shares_of(&stage, &ring, &people).await.unwrap();
    assert_these_unseal(&stage, &shares).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// What docs/custody.md takes out of the data of a member: `grep -a -o '"Keys":{[^}]*}'`.
async fn backup_in_storage(stage: &Stage) -> anyhow::Result<Vec<Vec<u8>>> {
    let file = stage.kubelet.data_of("main-0").await?.join("vault.db");
    let output = std::process::Command::new("grep")
        .args(["-a", "-o", r#""Keys":{[^}]*}"#])
        .arg(&file)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let found = text.lines().next().context("no backup in the storage")?;
    let backup: Value = serde_json::from_str(&format!("{{{found}}}"))?;
    let keys = backup["Keys"].as_object().context("no keys")?;
    let message = |hex: &Value| {
        let hex = hex[0].as_str()?;
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
            .collect::<Option<Vec<u8>>>()
    };
    keys.values().map(|v| message(v).context("not hex")).collect()
}

async fn change_seal(stage: &Stage, seal: &Value) {
    let change = json!({"spec": {"seal": seal}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_that_vault_refuses_and_a_rekey_of_somebody_else_leave_the_cluster_as_it_is() {
    let people = ["alice", "bob"];
    let ring = Keyring::of(&people).unwrap();
    let good = seal(&ring, &people, 2).unwrap();
    let mut forged = good.clone();
    let key = good["shamir"]["custodians"][1]["pgpKey"].as_str().unwrap();
    forged["shamir"]["custodians"][1]["pgpKey"] = json!(with_a_broken_signature(key));
    let stage = Stage::new().await.unwrap();
    stage
        .create_cluster_with(1, json!({ "seal": forged }))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the refusal of the key", |c| {
            reason(c, "Configured") == "CustodianKeysRefused"
        })
        .await
        .unwrap();
    let told = custody(&cluster).unwrap();
    assert_eq!((told.held_by_operator, told.delivered), (1, false));
    // With its one share, as if nobody had asked for custodians.
    stage.kubelet.kill("main-0").await.unwrap();
    stage
        .until("the killed member to be missed", |c| {
            reason(c, "Available") != "AllMembersServe"
        })
        .await
        .unwrap();
    stage.until_available().await.unwrap();
    operator.stop().await;

    let member = stage.member(0).await.unwrap();
    let rekey = member.rekey(RekeyPaths::Rekey);
    let request = RekeyRequest {
        shares: 1,
        threshold: 1,
        ..RekeyRequest::default()
    };
    let nonce = rekey.status().await.unwrap().nonce;
    assert_eq!(nonce, "", "a refused key leaves no attempt open");
    let theirs = rekey.start(&request).await.unwrap();
    change_seal(&stage, &good).await;
    let operator = stage.start_operator(&Points::record());
    stage
        .until("the foreign rekey to be told", |c| {
            reason(c, "Configured") == "RekeyElsewhere"
        })
        .await
        .unwrap();
    let progress = rekey.status().await.unwrap();
    assert_eq!(
        (progress.nonce, progress.progress),
        (theirs.nonce.clone(), 0),
        "no share was given to it"
    );
    rekey.cancel(&theirs.nonce).await.unwrap();
    until_delivered(&stage).await.unwrap();
    let shares = shares_of(&stage, &ring, &people).await.unwrap();
    assert!(
        shares.iter().all(|share| share.expose_secret().len() == 66),
        "hex of 33 bytes"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

/// A key that can be read and whose last signature is not genuine.
fn with_a_broken_signature(armored: &str) -> String {
    use base64::Engine as _;
    let body: String = armored
        .lines()
        .filter(|l| !l.starts_with("-----") && !l.starts_with('=') && !l.is_empty())
        .collect();
    let engine = base64::engine::general_purpose::STANDARD;
    let mut bytes = engine.decode(body).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    engine.encode(bytes)
}
