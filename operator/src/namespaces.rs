//! The labels of all namespaces, kept by a watch of their metadata: which of them a VaultRole's selector selects is
//! decided here and not in Vault, which would take in namespaces that no VaultCluster grants anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::Event;

use k8s_openapi::api::core::v1::Namespace;
use vaultkeeper_crds::role::NamespaceSelector;

type Labels = BTreeMap<String, String>;

/// Labels by namespace.
#[derive(Debug, Default)]
pub struct Namespaces {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    labels: BTreeMap<String, Labels>,
    /// Whether the first list is complete.
    synced: bool,
    /// During a list: what it held so far.
    listed: BTreeMap<String, Labels>,
}

/// What an event changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that a selector sees.
    None,
    /// A namespace came, went, or has other labels than these.
    Of(String, Option<Labels>),
    /// All may have changed.
    All,
}

impl Namespaces {
    /// Takes an event of the watch in.
    pub fn take(&self, event: &Event<PartialObjectMeta<Namespace>>) -> Change {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                known.listed.clear();
                Change::None
            }
            Event::InitApply(namespace) => {
                known.listed.insert(namespace.name_any(), labels_of(namespace));
                Change::None
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut known.listed);
                let was_synced = std::mem::replace(&mut known.synced, true);
                if was_synced && known.labels == listed {
                    return Change::None;
                }
                known.labels = listed;
                Change::All
            }
            Event::Apply(namespace) => {
                let (name, labels) = (namespace.name_any(), labels_of(namespace));
                match known.labels.insert(name.clone(), labels.clone()) {
                    Some(before) if before == labels => Change::None,
                    before => Change::Of(name, before),
                }
            }
            Event::Delete(namespace) => {
                let name = namespace.name_any();
                let before = known.labels.remove(&name);
                Change::Of(name, before)
            }
        }
    }

    /// Those of `among` that are there and selected. None while it is not known which there are.
    pub fn selected(
        &self,
        selector: &NamespaceSelector,
        among: &BTreeSet<String>,
    ) -> Option<BTreeSet<String>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.synced.then(|| {
            let selected = |name: &&String| {
                known
                    .labels
                    .get(*name)
                    .is_some_and(|labels| selector.selects(labels))
            };
            among.iter().filter(selected).cloned().collect()
        })
    }

    /// The value of a label of a namespace, if that is known.
    pub fn label(&self, namespace: &str, key: &str) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.labels.get(namespace)?.get(key).cloned()
    }

    /// Whether a namespace is there and selected.
    pub fn selects(&self, selector: &NamespaceSelector, namespace: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .labels
            .get(namespace)
            .is_some_and(|labels| selector.selects(labels))
    }
}

fn labels_of(namespace: &PartialObjectMeta<Namespace>) -> Labels {
    namespace.labels().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, team: &str) -> PartialObjectMeta<Namespace> {
        let object = serde_json::json!({"metadata": {"name": name, "labels": {"team": team}}});
        serde_json::from_value(object).unwrap()
    }

    fn selector() -> NamespaceSelector {
        serde_json::from_value(serde_json::json!({"matchLabels": {"team": "a"}})).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn listed(namespaces: &Namespaces, list: &[(&str, &str)]) -> Change {
        namespaces.take(&Event::Init);
        for (name, team) in list {
            namespaces.take(&Event::InitApply(namespace(name, team)));
        }
        namespaces.take(&Event::InitDone)
    }

    #[test]
    fn nothing_is_selected_before_the_list_is_complete() {
        let namespaces = Namespaces::default();
        namespaces.take(&Event::Init);
        namespaces.take(&Event::InitApply(namespace("one", "a")));
        assert_eq!(
            namespaces.selected(&selector(), &set(&["one"])),
            None,
            "not none, but unknown: what was selected before must not be taken away"
        );
        namespaces.take(&Event::InitDone);
        assert_eq!(
            namespaces.selected(&selector(), &set(&["one"])),
            Some(set(&["one"]))
        );
    }

    #[test]
    fn only_what_is_granted_is_selected() {
        let namespaces = Namespaces::default();
        listed(&namespaces, &[("one", "a"), ("two", "a"), ("three", "b")]);
        let among = set(&["one", "three", "gone"]);
        assert_eq!(namespaces.selected(&selector(), &among), Some(set(&["one"])));
    }

    #[test]
    fn a_change_is_one_of_labels() {
        let namespaces = Namespaces::default();
        assert_eq!(
            listed(&namespaces, &[("one", "a")]),
            Change::All,
            "the first list"
        );
        assert_eq!(
            listed(&namespaces, &[("one", "a")]),
            Change::None,
            "the same again"
        );
        assert_eq!(
            listed(&namespaces, &[("one", "b")]),
            Change::All,
            "missed meanwhile"
        );
        let was =
            |name: &str, team: &str| Change::Of(name.to_owned(), Some(labels_of(&namespace(name, team))));
        assert_eq!(
            namespaces.take(&Event::Apply(namespace("one", "b"))),
            Change::None
        );
        assert_eq!(
            namespaces.take(&Event::Apply(namespace("one", "a"))),
            was("one", "b")
        );
        assert!(namespaces.selects(&selector(), "one"));
        assert_eq!(
            namespaces.take(&Event::Delete(namespace("one", "a"))),
            was("one", "a")
        );
        assert!(!namespaces.selects(&selector(), "one"), "it is gone");
        assert_eq!(
            namespaces.take(&Event::Apply(namespace("two", "a"))),
            Change::Of("two".to_owned(), None),
            "it had none"
        );
    }
}
