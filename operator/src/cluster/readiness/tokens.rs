//! Which tokens are still to be looked at. Pure: a token's policies never change, so one look at each is enough.

use std::collections::HashSet;

use super::{RootToken, Tokens};
use crate::controllers::hash;

/// What is known of the tokens of one Vault. Accessors are kept as hashes, but for those of root tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    harmless: HashSet<u64>,
    roots: Vec<RootToken>,
}

impl Known {
    /// Forgets tokens that are gone, and names those that are new.
    pub(crate) fn sort_out<'a>(&mut self, alive: &'a [String]) -> Vec<&'a str> {
        let all: HashSet<u64> = alive.iter().map(hash).collect();
        self.harmless.retain(|known| all.contains(known));
        self.roots.retain(|root| alive.contains(&root.accessor));
        let is_new = |accessor: &&String| {
            !self.harmless.contains(&hash(accessor)) && !self.roots.iter().any(|r| r.accessor == **accessor)
        };
        alive.iter().filter(is_new).map(String::as_str).collect()
    }

    /// It is none.
    pub(crate) fn harmless(&mut self, accessor: &str) {
        self.harmless.insert(hash(&accessor));
    }

    /// It is one.
    pub(crate) fn root(&mut self, token: RootToken) {
        self.roots.push(token);
    }

    /// What is known, with so many tokens left.
    pub(crate) fn told(&self, left: usize) -> Tokens {
        Tokens {
            roots: self.roots.clone(),
            left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn each_token_is_looked_at_once_and_forgotten_when_it_is_gone() {
        let mut known = Known::default();
        assert_eq!(known.sort_out(&alive(&["a", "b"])), ["a", "b"]);
        known.harmless("a");
        known.root(RootToken {
            accessor: "b".to_owned(),
            path: "auth/token/root".to_owned(),
        });
        let three = alive(&["a", "b", "c"]);
        assert_eq!(known.sort_out(&three), ["c"], "only the new one");
        assert_eq!(known.told(1).roots.len(), 1, "b is a root token");
        assert!(known.sort_out(&alive(&["a"])).is_empty());
        assert_eq!(known.told(0), Tokens::default(), "b was revoked");
        assert_eq!(
            known.sort_out(&three),
            ["b", "c"],
            "accessors are never used again"
        );
    }
}
