//! Waiting for a condition with a deadline: the only place of the testbed that sleeps.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// Lets a moment pass between two looks at a condition.
pub(crate) fn pause() {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place: callers look at a condition again"
    )]
    std::thread::sleep(POLL);
}

/// Looks at `condition` until it gives a value. What it saw last ends up in the error when `deadline` has passed.
///
/// `what` completes the sentence "waited in vain for …". An `Err` of the condition means "not yet, because".
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= deadline => {
                return Err(last).with_context(|| in_vain(what, deadline));
            }
            Err(_) => pause(),
        }
    }
}

/// [`until`] for asynchronous conditions. A single look that hangs is cut off at the deadline, too.
pub async fn until_async<T, F>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let start = Instant::now();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left.max(POLL), condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(last)) if start.elapsed() >= deadline => {
                return Err(last).with_context(|| in_vain(what, deadline));
            }
            Ok(Err(_)) => tokio::time::sleep(POLL).await,
            Err(_) => bail!("{}: the last look got no answer", in_vain(what, deadline)),
        }
    }
}

fn in_vain(what: &str, deadline: Duration) -> String {
    format!("waited {} s in vain for {what}", deadline.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_tells_what_was_seen_last() {
        let error = until("rain", Duration::from_millis(1), || -> anyhow::Result<()> {
            bail!("the sky is blue")
        })
        .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("in vain for rain") && text.contains("the sky is blue"),
            "the error should name the wish and the last state, got: {text}"
        );
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_cut_off_at_the_deadline() {
        let error = until_async("an answer", Duration::from_millis(1), || {
            std::future::pending::<anyhow::Result<()>>()
        })
        .await
        .unwrap_err();
        assert!(
            error.to_string().contains("got no answer"),
            "a hanging look should end in an error that says so, got: {error:#}"
        );
    }
}
