//! What is done after files changed: programs, signals, calls. Each thing once however many files ask for it, and again a
//! few times when it fails. Never in the way of fetching and rendering.

mod act;
pub(crate) mod hint;
pub(crate) mod plan;
mod queue;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::children::Children;
use crate::logging::Chain;
use crate::random::unit;
use crate::session::millis;
pub(crate) use act::shell_problem;
pub(crate) use plan::Action;
use queue::Queue;

/// Does what is ordered until nobody can order any more and everything is done. Returns how many things were given up.
pub(crate) async fn work(
    children: &Children,
    mut orders: mpsc::UnboundedReceiver<Vec<Action>>,
    failed: &dyn Fn(),
) -> u32 {
    let mut queue = Queue::default();
    let mut is_open = true;
    let mut given_up = 0;
    loop {
        if let Some(action) = queue.take(Instant::now()) {
            match act::perform(children, &action).await {
                Ok(()) => {
                    tracing::info!(%action, "done after a change");
                    queue.done(&action);
                }
                Err(error) => {
                    failed();
                    if let Some(delay) = queue.failed(action.clone(), Instant::now(), unit()) {
                        tracing::warn!(%action, error = %Chain(&error), retry_ms = millis(delay), "not done after a change");
                    } else {
                        given_up += 1;
                        tracing::error!(%action, error = %Chain(&error), "not done after a change; tried again at the next one");
                    }
                }
            }
        } else if !is_open && queue.is_empty() {
            return given_up;
        } else {
            tokio::select! {
                order = orders.recv(), if is_open => match order {
                    Some(actions) => queue.push(actions, Instant::now()),
                    None => is_open = false,
                },
                () = reach(queue.next()) => {}
            }
            continue;
        }
        while let Ok(actions) = orders.try_recv() {
            queue.push(actions, Instant::now());
        }
    }
}

async fn reach(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
