//! Wrapped delivery: one consumer, who must never hold a secret-id that ends without an overlap.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use vaultkeeper_crds::annotations::SECRET_ID_ACCESSOR;
use vaultkeeper_tests::points::{Point, Points};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{SecretString, Token};

use super::rotation_support::{Credentials, DEADLINE, Role, SECRET, set};
use super::stage::Stage;

/// What the Secret holds.
#[derive(Debug)]
struct Wrapped {
    token: Token,
    accessor: String,
}

impl Role<'_> {
    async fn wrapped(&self) -> anyhow::Result<Wrapped> {
        let secret = self.secrets().get(SECRET).await?;
        let accessor = secret.metadata.annotations.unwrap_or_default();
        let accessor = accessor.get(SECRET_ID_ACCESSOR).cloned();
        let mut data = secret.data.unwrap_or_default();
        ensure!(
            !data.contains_key("secret-id"),
            "the secret-id itself is in the Secret"
        );
        let token = data.remove("wrapping-token").context("no wrapping token")?;
        Ok(Wrapped {
            token: Token::new(String::from_utf8(token.0)?)?,
            accessor: accessor.context("no accessor")?,
        })
    }

    /// Waits until another token is stored than this one.
    async fn until_another_than(&self, old: &Wrapped) -> Wrapped {
        wait::until_async("another wrapping token", DEADLINE, async || {
            let now = self.wrapped().await?;
            if now.accessor == old.accessor {
                bail!("it is that of before");
            }
            Ok(now)
        })
        .await
        .unwrap()
    }

    /// As the application does at its start.
    async fn unwrap(&self, wrapped: &Wrapped) -> anyhow::Result<Credentials> {
        let inside = self.root.unwrap_wrapped(&wrapped.token).await?;
        let inside: Value = inside.data.decode()?;
        let secret_id = inside["secret_id"].as_str().context("no secret-id inside")?;
        Ok(Credentials {
            role_id: self.text(SECRET, "role-id").await.context("no role-id")?,
            secret_id: SecretString::from(secret_id),
            accessor: wrapped.accessor.clone(),
        })
    }

    /// Waits until Vault knows these accessors and no others.
    async fn until_accessors(&self, wanted: &[&str]) {
        let wanted: BTreeSet<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        wait::until_async("these secret-ids alone to be there", DEADLINE, async || {
            let known = self.known().await;
            ensure!(known == wanted, "Vault knows {known:?}, not {wanted:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Accessors that the status tells as unwrapped.
    async fn unwrapped(&self) -> anyhow::Result<Vec<String>> {
        let status = self.roles().get("app").await?.status.unwrap_or_default();
        Ok(status.app_role.context("no status")?.unwrapped)
    }

    async fn until_unwrapped(&self, wanted: &[&str]) {
        wait::until_async("the status to tell who is in use", DEADLINE, async || {
            let told = self.unwrapped().await?;
            ensure!(told == wanted, "it tells {told:?}, not {wanted:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_start_another_waits_for_the_next_and_no_third_is_left_over() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    role.create(json!({ "secretName": SECRET, "wrap": { "ttl": "30s" }, "rotation": { "overlap": "2s" } }))
        .await;
    let one = role.wrapped().await.unwrap();
    let path = role.text(SECRET, "wrapping-token-creation-path").await.unwrap();
    assert_eq!(path, format!("auth/approle/role/{}/secret-id", role.name()));
    let shown = root.lookup_wrapping(&one.token).await.unwrap();
    assert_eq!(shown.creation_path, path, "what the consumer compares");
    assert_eq!(
        role.text(SECRET, "wrapping-token-ttl").await.as_deref(),
        Some("30")
    );

    // The first start.
    let first = role.unwrap(&one).await.unwrap();
    role.login(&first).await.expect("what was inside logs in");
    role.unwrap(&one)
        .await
        .expect_err("a token is good for one start");
    let two = role.until_another_than(&one).await;
    role.until_unwrapped(&[&first.accessor]).await;
    assert_eq!(
        role.known().await,
        [one.accessor.clone(), two.accessor.clone()].into()
    );

    // The second start: what the first one held ends after the overlap.
    let second = role.unwrap(&two).await.unwrap();
    let three = role.until_another_than(&two).await;
    role.until_accessors(&[&second.accessor, &three.accessor]).await;
    role.login(&second).await.expect("in use");
    role.login(&first).await.expect_err("its overlap is over");

    // Nobody starts: the token is replaced before it ends, and its secret-id is destroyed, since nobody has it.
    let four = role.until_another_than(&three).await;
    // The former token is taken back after the next one is stored, and its secret-id goes last.
    role.until_accessors(&[&second.accessor, &four.accessor]).await;
    role.unwrap(&three).await.expect_err("it was taken back");
    role.until_unwrapped(&[&second.accessor]).await;
    role.login(&second).await.expect("in use all the time");

    // A rotation ends what is in use, after the overlap.
    role.ask("now").await.unwrap();
    let five = role.until_another_than(&four).await;
    role.until_accessors(&[&five.accessor]).await;
    role.login(&second)
        .await
        .expect_err("rotated: the consumer was to take another one");
    let fifth = role.unwrap(&five).await.unwrap();
    role.login(&fifth).await.expect("the one after the rotation");

    // Plain delivery again.
    role.change(json!({ "wrap": null })).await;
    wait::until_async("plain credentials alone", DEADLINE, async || {
        let plain = role.stored().await?;
        ensure!(
            role.text(SECRET, "wrapping-token").await.is_none(),
            "the token is there"
        );
        let known = role.known().await;
        ensure!(known == set(&[&plain]), "Vault knows {known:?}");
        Ok(role.login(&plain).await?)
    })
    .await
    .unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn who_unwraps_while_a_token_is_replaced_or_before_a_long_absence_is_never_locked_out() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    role.create(json!({ "secretName": SECRET, "wrap": { "ttl": "30s" }, "rotation": { "overlap": "1s" } }))
        .await;
    operator.stop().await;

    // The token has ten seconds left when it is replaced. The operator has stored the next token, and not yet taken the former one back.
    let read_before = role.wrapped().await.unwrap();
    let points = Points::waiting_at(Point {
        call: format!("Kubernetes PUT secrets/{SECRET}"),
        occurrence: 1,
    });
    let operator = stage.start_operator(&points);
    tokio::time::timeout(DEADLINE, points.reached())
        .await
        .expect("the token is replaced");
    let Ok(held) = role.unwrap(&read_before).await else {
        panic!("the consumer was to be the faster one");
    };
    points.release();
    role.until_unwrapped(&[&held.accessor]).await;
    let next = role.until_another_than(&read_before).await;
    role.until_another_than(&next).await;
    role.login(&held)
        .await
        .expect("it was unwrapped, so it is in use, and no later token was");

    // The operator is away for longer than a token lives. What it has begun it ends: a token that it had no time to take back
    // would count as one that may be in use, too.
    operator.stop().await;
    let last = role.wrapped().await.unwrap();
    wait::until_async("the token to expire", DEADLINE, async || {
        match root.lookup_wrapping(&last.token).await {
            Ok(_) => bail!("it can be unwrapped"),
            Err(_) => Ok(()),
        }
    })
    .await
    .unwrap();
    let operator = stage.start_operator(&Points::record());
    role.until_another_than(&last).await;
    role.until_unwrapped(&[&held.accessor, &last.accessor]).await;
    role.login(&held)
        .await
        .expect("whether the expired token was used is unknown: nothing ends");
    // The next start makes it clear.
    let (fresh, now) = wait::until_async("a token to be unwrapped in time", DEADLINE, async || {
        // It may be replaced before a busy machine comes to it.
        let fresh = role.wrapped().await?;
        let now = role.unwrap(&fresh).await?;
        Ok((fresh, now))
    })
    .await
    .unwrap();
    let waiting = role.until_another_than(&fresh).await;
    wait::until_async("the former ones to end", DEADLINE, async || {
        let told = role.unwrapped().await?;
        ensure!(told == [now.accessor.clone()], "it tells {told:?}");
        let known = role.known().await;
        ensure!(
            !known.contains(&held.accessor) && !known.contains(&last.accessor),
            "Vault knows {known:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    drop(waiting);
    role.login(&now).await.expect("in use");
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
