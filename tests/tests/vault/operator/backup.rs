//! Backups of a real Vault in a real S3 server, and what disturbs them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use vaultkeeper_crds::cluster::{BackupRecord, BackupStatus, ReadinessState};
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_operator::backup::age::{Decryptor, Identity};
use vaultkeeper_operator::backup::archive;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::s3_server::{BUCKET, Fault, S3Server, Wire};
use vaultkeeper_tests::servers::{self, Server};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{ExposeSecret as _, SecretString};

use super::stage::{DEADLINE, Stage, change, reason};

/// A cluster whose backups go through a wire to an S3 server.
struct Scene {
    stage: Stage,
    s3: S3Server,
    wire: Wire,
    /// Who reads the backups, beside the operator.
    reader: Identity,
    _run: OwnedRun,
}

impl Scene {
    /// `schedule` of the backups; `replicas` members.
    async fn new(replicas: i32, schedule: &str) -> Self {
        let run = OwnedRun::create("s3", crate::TESTBED).unwrap();
        let s3 = S3Server::start(&run).await.unwrap();
        let wire = Wire::to(s3.address()).await.unwrap();
        let stage = Stage::new().await.unwrap();
        let reader = Identity::generate(&SystemRandom::new()).unwrap();
        let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let secret = json!({
            "metadata": {"name": "s3"},
            "stringData": {"id": S3Server::ACCESS_KEY, "key": s3.secret(), "ca.crt": s3.ca_pem()},
        });
        let secret = serde_json::from_value(secret).unwrap();
        secrets.create(&PostParams::default(), &secret).await.unwrap();
        let scene = Self {
            stage,
            s3,
            wire,
            reader,
            _run: run,
        };
        let backup = scene.backup(schedule);
        scene
            .stage
            .create_cluster_with(replicas, json!({ "backup": backup }))
            .await
            .unwrap();
        scene
    }

    fn backup(&self, schedule: &str) -> Value {
        json!({
            "schedule": schedule,
            "recipients": [self.reader.recipient().to_string()],
            "retention": {"keep": 1},
            "s3": {
                "endpoint": format!("https://{}", self.wire.address()),
                "bucket": BUCKET,
                "prefix": "eu/",
                "credentials": {
                    "accessKeyId": {"name": "s3", "key": "id"},
                    "secretAccessKey": {"name": "s3", "key": "key"},
                },
                "ca": {"secret": {"name": "s3", "key": "ca.crt"}},
            },
        })
    }

    async fn until(&self, what: &str, is: impl Fn(&BackupStatus) -> bool) -> BackupStatus {
        let is = |c: &VaultCluster| status(c).as_ref().is_some_and(&is);
        let cluster = self.stage.until(what, is).await.unwrap();
        status(&cluster).unwrap()
    }

    /// Asks for another backup by forgetting the place of the last one: it is made at once.
    async fn move_to(&self, prefix: &str) {
        change(&self.stage, json!({"backup": {"s3": {"prefix": prefix}}})).await;
    }

    /// Events are written beside the work.
    async fn until_events(&self, reasons: &[&str]) {
        let events: Api<Event> = Api::namespaced(self.stage.client.clone(), &self.stage.namespace);
        wait::until_async("events about the backups", DEADLINE, async || {
            let list = events.list(&ListParams::default()).await?;
            let missing = reasons
                .iter()
                .find(|reason| !list.items.iter().any(|e| e.reason.as_deref() == Some(**reason)));
            anyhow::ensure!(missing.is_none(), "no event {missing:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    fn stored(&self, record: &BackupRecord) -> Vec<u8> {
        let objects = self.s3.objects().unwrap();
        let (_, path) = objects.iter().find(|(name, _)| *name == record.object).unwrap();
        std::fs::read(path).unwrap()
    }
}

fn status(cluster: &VaultCluster) -> Option<BackupStatus> {
    cluster.status.as_ref()?.backup.clone()
}

fn rule(cluster: &VaultCluster) -> Option<ReadinessState> {
    let rows = &cluster.status.as_ref()?.readiness_rules;
    let row = rows.iter().find(|row| row.rule.as_str() == "Backups");
    row.map(|row| row.state)
}

fn decrypted(file: &[u8], identity: &Identity) -> Vec<u8> {
    let (mut decryptor, mut plain) = (Decryptor::new(identity.clone()), Vec::new());
    decryptor.update(file, &mut plain).unwrap();
    decryptor.finish(&mut plain).unwrap();
    plain
}

/// What the program `age` makes of standard input.
fn age(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut age = Command::new(servers::path(Server::Age).unwrap())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = age.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = age.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "age {args:?} failed");
    output.stdout
}

#[tokio::test]
async fn a_backup_is_made_rehearsed_told_and_read_by_the_age_program() {
    let scene = Scene::new(1, "0 0 1 1 *").await;
    let operator = scene.stage.start_operator(&Points::record());
    let cluster = scene
        .stage
        .until("a backup that was rehearsed and counts", |c| {
            rule(c) == Some(ReadinessState::Met) && reason(c, "BackedUp") == "BackedUp"
        })
        .await
        .unwrap();
    let status = status(&cluster).unwrap();
    let record = status.last_success.unwrap();
    assert_eq!(status.failure, None);
    assert_eq!(status.upload, None, "it was completed");
    assert_eq!(status.kept, Some(1));
    assert!(
        status
            .last_rehearsal
            .is_some_and(|done| done.object == record.object)
    );
    scene.until_events(&["BackedUp", "RestoreRehearsed"]).await;
    let file = scene.stored(&record);
    assert_eq!(i64::try_from(file.len()).unwrap(), record.size);

    // By the reader's key, with the program that people have; and by the operator's own.
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, scene.reader.to_text().expose_secret()).unwrap();
    let plain = age(&["--decrypt", "--identity", key.to_str().unwrap()], &file);
    assert!(
        archive::check(plain.as_slice()).unwrap().state > 0,
        "a whole snapshot"
    );
    let secrets: Api<Secret> = Api::namespaced(scene.stage.client.clone(), &scene.stage.operator_namespace);
    let own = secrets
        .get(&names::backup_secret(&scene.stage.namespace, "main"))
        .await
        .unwrap();
    let own = String::from_utf8(own.data.unwrap()["identity"].0.clone()).unwrap();
    let own = Identity::parse(&SecretString::from(own)).unwrap();
    assert!(decrypted(&file, &own) == plain, "both read the same");
    // The other way round.
    let theirs = age(
        &["--encrypt", "--recipient", &own.recipient().to_string()],
        &vec![7; 200_000],
    );
    assert!(
        decrypted(&theirs, &own) == vec![7; 200_000],
        "what age has encrypted"
    );

    let described = scene.s3.objects().unwrap();
    let described = described
        .iter()
        .find(|(name, _)| *name == format!("{}.json", record.object));
    let manifest = std::fs::read_to_string(&described.unwrap().1).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["sha256"], record.sha256.as_str(), "{manifest}");
    operator.stop().await;
    scene.stage.end().await.unwrap();
}

#[tokio::test]
async fn what_the_bucket_does_is_told_and_made_good_when_it_works_again() {
    let scene = Scene::new(1, "0 0 1 1 *").await;
    scene.wire.set(Fault::Cut);
    let operator = scene.stage.start_operator(&Points::record());
    let status = scene
        .until("a failure to reach the bucket", |s| s.failure.is_some())
        .await;
    assert_eq!(status.failure.unwrap().reason, "StorageUnreachable");
    assert_eq!(status.last_success, None);
    scene.wire.set(Fault::None);
    let status = scene
        .until("a backup after all, and its rehearsal", |s| {
            s.last_success.is_some() && s.last_rehearsal.is_some()
        })
        .await;
    assert_eq!(status.failure, None, "it is over");

    // Somebody changes a byte of what is stored: the size is the same, and only a rehearsal can tell.
    let record = status.last_success.unwrap();
    let (_, path) = scene
        .s3
        .objects()
        .unwrap()
        .into_iter()
        .find(|(name, _)| *name == record.object)
        .unwrap();
    let mut file = std::fs::read(&path).unwrap();
    let middle = file.len() / 2;
    file[middle] ^= 1;
    std::fs::write(&path, &file).unwrap();
    change(
        &scene.stage,
        json!({"backup": {"rehearsalSchedule": "* * * * *"}}),
    )
    .await;
    let status = scene
        .until("the rehearsal to find the changed byte", |s| {
            s.rehearsal_failure.is_some()
        })
        .await;
    assert_eq!(status.rehearsal_failure.unwrap().reason, "BackupDiffers");
    scene.until_events(&["BackupFailed", "RehearsalFailed"]).await;
    scene
        .stage
        .until("the condition to say so", |c| {
            reason(c, "BackedUp") == "RehearsalFailed"
        })
        .await
        .unwrap();
    operator.stop().await;
    scene.stage.end().await.unwrap();
}

#[tokio::test]
async fn an_operator_that_dies_in_the_middle_leaves_nothing_behind() {
    let scene = Scene::new(1, "0 0 1 1 *").await;
    let first = scene.stage.start_operator(&Points::record());
    scene
        .until("a first backup", |s| s.last_rehearsal.is_some())
        .await;
    // The next one stands still in its first part.
    scene.wire.set(Fault::HoldAfter(12_000));
    scene.move_to("other/").await;
    scene.until("an upload under way", |s| s.upload.is_some()).await;
    wait::until_async("its part to be on its way", DEADLINE, async || {
        anyhow::ensure!(scene.wire.sent() >= 12_000, "{} bytes", scene.wire.sent());
        Ok(())
    })
    .await
    .unwrap();
    first.kill().await;
    scene.wire.set(Fault::None);
    assert!(
        scene
            .s3
            .objects()
            .unwrap()
            .iter()
            .all(|(name, _)| !name.starts_with("other/")),
        "nothing is there yet"
    );

    let second = scene.stage.start_operator(&Points::record());
    scene
        .until("a backup in the other place", |s| {
            s.upload.is_none()
                && s.last_success
                    .as_ref()
                    .is_some_and(|r| r.object.starts_with("other/"))
        })
        .await;
    assert_eq!(
        scene.s3.unfinished().unwrap(),
        [""; 0].map(std::path::PathBuf::from),
        "parts were left"
    );
    second.stop().await;
    scene.stage.end().await.unwrap();
}

#[tokio::test]
async fn old_backups_go_and_what_is_not_ours_stays() {
    let scene = Scene::new(1, "* * * * *").await;
    let operator = scene.stage.start_operator(&Points::record());
    let first = scene.until("a first backup", |s| s.last_success.is_some()).await;
    let first = first.last_success.unwrap().object;
    let folder = first.rsplit_once('/').unwrap().0;
    let root = scene.s3.objects().unwrap();
    let root = root.iter().find(|(name, _)| *name == first).unwrap().1.clone();
    // Of a cluster of this name that was there before, and a person's.
    for foreign in ["00000000-20200101T000000Z.snap.age", "notes.txt"] {
        std::fs::write(root.with_file_name(foreign), "x").unwrap();
    }
    scene
        .until("the first to go when a newer one is there", |s| {
            s.last_success.as_ref().is_some_and(|r| r.object != first) && s.kept == Some(1) && !root.exists()
        })
        .await;
    let left: Vec<String> = scene
        .s3
        .objects()
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for foreign in ["00000000-20200101T000000Z.snap.age", "notes.txt"] {
        assert!(
            left.contains(&format!("{folder}/{foreign}")),
            "{foreign} was deleted: {left:?}"
        );
    }
    operator.stop().await;
    scene.stage.end().await.unwrap();
}
