//! The operator dies before and after each call that changes something while a cluster comes up. Whatever the
//! point, the next operator ends with a working cluster, its keys stored and no root token left.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::stream::{self, StreamExt};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::progress::say;

use super::stage::{Stage, assert_keys_and_no_root};

/// How many clusters come up at a time.
const PARALLEL: usize = 4;
const DEADLINE: Duration = Duration::from_secs(240);

/// Calls around which keys could be lost or a root token left: these run in every `make test`.
const CRITICAL: [&str; 6] = [
    "(marker)",
    "Vault PUT sys/init",
    "share-1",
    "Vault PUT auth/kubernetes/login",
    "Vault PUT auth/token/revoke-self",
    "(root-token)",
];

#[tokio::test]
async fn an_operator_that_dies_around_init_storing_login_or_revocation_loses_no_key() {
    // Two revocations: the first is of the token that proved the login, the second of the root token. Any further one
    // is of a step that was tried again, which another run need not do.
    let times = |point: &Point| if point.call.contains("revoke-self") { 2 } else { 1 };
    run(1, |point| {
        point.occurrence <= times(point) && CRITICAL.iter().any(|c| point.call.contains(c))
    })
    .await;
}

#[tokio::test]
#[ignore = "long: one bootstrap for each side of each call"]
async fn an_operator_that_dies_at_any_call_of_the_bootstrap_loses_no_key() {
    run(3, |_| true).await;
}

async fn run(members: i32, wanted: impl Fn(&Point) -> bool) {
    let points = table(members).await.expect("a bootstrap without a death");
    let mut runs = Vec::new();
    say(&format!("{:>3}  {:8} call", "no", "tested"));
    for (number, point) in points.iter().enumerate() {
        let tested = wanted(point);
        say(&format!(
            "{:>3}  {:8} {point}",
            number + 1,
            if tested { "yes" } else { "-" }
        ));
        if tested {
            runs.extend([Side::Before, Side::After].map(|side| (point.clone(), side)));
        }
    }
    for critical in CRITICAL {
        assert!(
            runs.iter().any(|(point, _)| point.call.contains(critical)),
            "no call with {critical:?} was seen: the table has other names"
        );
    }
    let revocations = runs
        .iter()
        .filter(|(point, _)| point.call.contains("revoke-self"));
    assert!(
        revocations.count() >= 4,
        "each side of the two revocations is to be tested"
    );
    let failures: Vec<String> = stream::iter(runs)
        .map(|(point, side)| async move {
            let name = format!("{side:?} {point}");
            match tokio::spawn(die_at(members, point, side)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{name}: {error:#}")),
                Err(error) => Some(format!("{name}: {error}")),
            }
        })
        .buffer_unordered(PARALLEL)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(
        failures.is_empty(),
        "an operator that died did not recover:\n{}",
        failures.join("\n")
    );
}

/// The changing calls of a bootstrap that nothing disturbs.
async fn table(members: i32) -> anyhow::Result<Vec<Point>> {
    let stage = Stage::new().await?;
    stage.create_cluster(members).await?;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await?;
    operator.stop().await;
    stage.end().await?;
    Ok(points.seen())
}

/// Starts an operator that dies when Vault has made the keys and before anybody has stored them.
pub(crate) async fn lose_the_answer_of_init(stage: &Stage) -> anyhow::Result<()> {
    let init = Point {
        call: "Vault PUT sys/init".to_owned(),
        occurrence: 1,
    };
    let points = Points::dying_at(init, Side::After);
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    died.context("sys/init was never called")
}

async fn die_at(members: i32, point: Point, side: Side) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.create_cluster(members).await?;
    let may_be_missed = point.call.ends_with("/status") && point.occurrence > 1;
    let points = Points::dying_at(point, side);
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    if died.is_err() {
        // How often a status is written on the way depends on what is seen in which second.
        ensure!(may_be_missed, "the point was never reached");
        stage.until_available().await.context("without that write")?;
    }
    operator.kill().await;
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.context("after the death")?;
    assert_keys_and_no_root(&stage).await?;
    operator.stop().await;
    stage.end().await
}
