//! Who looks on and who writes while members are restarted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vaultkeeper_vault::{Client, Token};

use super::stage::Stage;

const MEMBERS: u32 = 3;
const PERIOD: Duration = Duration::from_millis(50);
/// Long enough for a busy machine, so that only members that are away do not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) looks: usize,
    /// The smallest number of members that served at a time.
    pub(crate) fewest_serve: usize,
    /// How many times there was no leader, each from its begin to its end.
    pub(crate) times_without_leader: usize,
}

/// Asks all members again and again.
pub(crate) struct Watch {
    stop: CancellationToken,
    task: JoinHandle<Seen>,
}

async fn clients(stage: &Stage) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for ordinal in 0..MEMBERS {
        clients.push(stage.member(ordinal).await?.with_timeout(PATIENCE));
    }
    Ok(clients)
}

/// Whether a member serves, and whether it leads.
async fn look(client: &Client) -> (bool, bool) {
    let client = client.on_this_node();
    let (status, leader) = tokio::join!(client.seal_status(), client.leader());
    let serves = status.is_ok_and(|s| s.initialized && !s.sealed);
    (serves, serves && leader.is_ok_and(|l| l.is_self))
}

impl Watch {
    pub(crate) async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let clients = clients(stage).await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut seen = Seen {
                looks: 0,
                fewest_serve: clients.len(),
                times_without_leader: 0,
            };
            let mut led = true;
            let mut ticks = tokio::time::interval(PERIOD);
            while !stopped.is_cancelled() {
                ticks.tick().await;
                let all = join_all(clients.iter().map(look)).await;
                let leads = all.iter().any(|(_, leads)| *leads);
                seen.looks += 1;
                seen.fewest_serve = seen
                    .fewest_serve
                    .min(all.iter().filter(|(serves, _)| *serves).count());
                seen.times_without_leader += usize::from(led && !leads);
                led = leads;
            }
            seen
        });
        Ok(Self { stop, task })
    }

    pub(crate) async fn end(self) -> Seen {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// Writes one secret after the other, at whichever member takes it.
pub(crate) struct Writer {
    stop: CancellationToken,
    task: JoinHandle<()>,
    acknowledged: Arc<Mutex<Vec<u64>>>,
}

impl Writer {
    pub(crate) async fn start(stage: &Stage, token: &Token) -> anyhow::Result<Self> {
        let clients: Vec<Client> = clients(stage)
            .await?
            .iter()
            .map(|client| client.with_token(token))
            .collect();
        let stop = CancellationToken::new();
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let (stopped, noted) = (stop.clone(), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            let mut turns = clients.iter().cycle();
            let mut number = 0_u64;
            while !stopped.is_cancelled() {
                ticks.tick().await;
                let Some(client) = turns.next() else { return };
                let body = json!({"data": {"number": number}});
                let path = format!("secret/data/written/{number}");
                if client.write(&path, &body).await.is_ok() {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                    number += 1;
                }
            }
        });
        Ok(Self {
            stop,
            task,
            acknowledged,
        })
    }

    /// The numbers that were acknowledged.
    pub(crate) async fn end(self) -> Vec<u64> {
        self.stop.cancel();
        self.task.await.unwrap();
        let mut noted = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *noted)
    }
}
