//! Reading many things a few at a time: what was never read first, then what was read longest ago. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// What was found at each name, and when it was last read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sweep {
    turn: u64,
    read: BTreeMap<String, (u64, bool)>,
}

impl Sweep {
    /// Forgets names that are gone, and chooses at most so many to read now.
    pub(crate) fn next(&mut self, names: &[String], most: usize) -> Vec<String> {
        self.turn += 1;
        let there: BTreeSet<&String> = names.iter().collect();
        self.read.retain(|name, _| there.contains(name));
        let mut order: Vec<(u64, &String)> = there
            .into_iter()
            .map(|name| (self.read.get(name).map_or(0, |(turn, _)| *turn), name))
            .collect();
        order.sort();
        order
            .into_iter()
            .take(most)
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// Notes what was read.
    pub(crate) fn note(&mut self, name: &str, flagged: bool) {
        self.read.insert(name.to_owned(), (self.turn, flagged));
    }

    /// Those that stand out, as they were last read.
    pub(crate) fn flagged(&self) -> Vec<String> {
        let flagged = self.read.iter().filter(|(_, (_, flagged))| *flagged);
        flagged.map(|(name, _)| name.clone()).collect()
    }

    /// How many of the names were never read.
    pub(crate) fn left(&self, names: &[String]) -> usize {
        names.iter().filter(|name| !self.read.contains_key(*name)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("n{n}")).collect()
    }

    #[test]
    fn everything_is_read_in_turn_and_nothing_twice_before_all_were_read() {
        let (mut sweep, names) = (Sweep::default(), names(5));
        let mut read = Vec::new();
        for left in [3, 1, 0] {
            for name in sweep.next(&names, 2) {
                sweep.note(&name, name == "n3");
                read.push(name);
            }
            assert_eq!(sweep.left(&names), left);
        }
        assert_eq!(
            read,
            ["n0", "n1", "n2", "n3", "n4", "n0"],
            "then from the beginning"
        );
        assert_eq!(sweep.flagged(), ["n3"]);
    }

    #[test]
    fn what_is_gone_is_not_flagged_any_more() {
        let mut sweep = Sweep::default();
        for name in sweep.next(&names(2), 9) {
            sweep.note(&name, true);
        }
        sweep.next(&names(1), 9);
        assert_eq!(sweep.flagged(), ["n0"], "n1 was deleted");
    }
}
