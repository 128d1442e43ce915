//! Which VaultClusters have changed in a way that their VaultRoles wait for. Pure: fed with the events of a watch.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use vaultkeeper_crds::VaultCluster;

use crate::conditions::PRODUCTION_READY;
use crate::controllers::{hash, wish};

/// Namespace and name.
pub(crate) type Name = (String, String);

/// What was last seen of each cluster. A status that changes often, such as the leader, is no news.
#[derive(Debug, Default)]
pub(crate) struct News {
    known: HashMap<Name, u64>,
    /// During a list: the clusters seen in it.
    listed: HashSet<Name>,
}

impl News {
    /// The clusters that an event says something new about.
    pub(crate) fn of(&mut self, event: &Event<DeserializeGuard<VaultCluster>>) -> Vec<Name> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(cluster) => {
                self.listed.insert(name_of(cluster));
                self.applied(cluster)
            }
            Event::Apply(cluster) => self.applied(cluster),
            // The last state in a deletion is often the one that is known: the end itself is the news.
            Event::Delete(cluster) => {
                let name = name_of(cluster);
                self.known.remove(&name);
                vec![name]
            }
            // Deleted while the watch was interrupted.
            Event::InitDone => {
                let gone: Vec<Name> = self
                    .known
                    .keys()
                    .filter(|name| !self.listed.contains(*name))
                    .cloned()
                    .collect();
                for name in &gone {
                    self.known.remove(name);
                }
                gone
            }
        }
    }

    fn applied(&mut self, cluster: &DeserializeGuard<VaultCluster>) -> Vec<Name> {
        let (name, state) = (name_of(cluster), state_of(cluster));
        if self.known.insert(name.clone(), state) == Some(state) {
            Vec::new()
        } else {
            vec![name]
        }
    }
}

fn name_of(cluster: &DeserializeGuard<VaultCluster>) -> Name {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// What VaultRoles wait for: the spec, the deletion, the CA of a Vault elsewhere, a Vault made anew, and the state of the
/// conditions.
fn state_of(cluster: &DeserializeGuard<VaultCluster>) -> u64 {
    let conditions: &[Condition] = match &cluster.0 {
        Ok(cluster) => cluster.status.as_ref().map_or(&[], |status| &status.conditions),
        Err(_) => &[],
    };
    let mut states: Vec<(&str, &str)> = conditions
        .iter()
        // The score for production: no VaultRole waits for it.
        .filter(|condition| condition.type_ != PRODUCTION_READY)
        .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
        .collect();
    states.sort_unstable();
    let status = cluster
        .0
        .as_ref()
        .ok()
        .and_then(|cluster| cluster.status.as_ref());
    let ca = status.and_then(|status| status.ca_hash.as_deref());
    let store = status.and_then(|status| status.cluster_id.as_deref());
    hash(&(wish(cluster), ca, store, states))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(generation: i64, available: &str, leader: &str) -> DeserializeGuard<VaultCluster> {
        let object = serde_json::json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
            "metadata": { "name": "main", "namespace": "vault", "generation": generation },
            "spec": { "version": "1.21.1", "storage": { "raft": {} } },
            "status": { "leader": leader, "conditions": [{
                "type": "Available", "status": available, "reason": leader, "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }] },
        });
        DeserializeGuard(Ok(serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn another_ca_of_a_vault_elsewhere_is_news() {
        let with = |hash: &str| {
            let mut cluster = cluster(1, "True", "main-0");
            let status = cluster.0.as_mut().ok().and_then(|c| c.status.as_mut());
            status.unwrap().ca_hash = Some(hash.to_owned());
            Event::Apply(cluster)
        };
        let mut news = News::default();
        news.of(&with("a"));
        assert!(news.of(&with("a")).is_empty(), "the same");
        assert_eq!(news.of(&with("b")), main(), "clients need the new one");
    }

    fn main() -> Vec<Name> {
        vec![("vault".to_owned(), "main".to_owned())]
    }

    #[test]
    fn a_condition_that_turns_is_news_and_a_new_leader_is_none() {
        let mut news = News::default();
        assert_eq!(
            news.of(&Event::InitApply(cluster(1, "False", "main-0"))),
            main(),
            "seen first"
        );
        assert!(news.of(&Event::InitDone).is_empty(), "it is there");
        assert!(
            news.of(&Event::Apply(cluster(1, "False", "main-1"))).is_empty(),
            "another leader"
        );
        assert_eq!(
            news.of(&Event::Apply(cluster(1, "True", "main-1"))),
            main(),
            "it became available"
        );
        assert_eq!(
            news.of(&Event::Apply(cluster(2, "True", "main-1"))),
            main(),
            "its spec was changed"
        );
    }

    #[test]
    fn the_end_of_a_cluster_is_news_even_if_its_last_state_is_known() {
        let mut news = News::default();
        news.of(&Event::Apply(cluster(1, "True", "main-0")));
        assert_eq!(news.of(&Event::Delete(cluster(1, "True", "main-0"))), main());
        assert_eq!(
            news.of(&Event::Apply(cluster(1, "True", "main-0"))),
            main(),
            "made anew"
        );
    }

    #[test]
    fn a_cluster_that_ended_while_the_watch_was_interrupted_is_news() {
        let mut news = News::default();
        news.of(&Event::Init);
        news.of(&Event::InitApply(cluster(1, "True", "main-0")));
        assert!(news.of(&Event::InitDone).is_empty(), "it was in the list");
        news.of(&Event::Init);
        assert_eq!(news.of(&Event::InitDone), main(), "it was not in the second list");
        news.of(&Event::Init);
        assert!(news.of(&Event::InitDone).is_empty(), "told once");
    }
}
