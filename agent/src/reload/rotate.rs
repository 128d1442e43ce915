//! Which files of the audit volume are put aside, and in which steps. Pure.
//!
//! A file is renamed, and Vault told to open it anew: what it writes in between goes into the renamed one, so that no
//! line is lost. Only Vault makes a file of the plain name. While there is none it has not opened it again, and nothing
//! is moved.

use std::collections::{BTreeMap, BTreeSet};

/// Of a file that is not declared: the defaults of the spec.
const MAX_SIZE: u64 = 100 << 20;
const KEEP: u32 = 5;

/// When a file is put aside, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Size in bytes from which on it is put aside.
    pub(super) max_size: u64,
    /// How many are kept beside the one that is written.
    pub(super) keep: u32,
}

/// One file with those that were put aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Size of the one that is written. None: there is none.
    pub(super) current: Option<u64>,
    /// Sizes of those that were put aside, by number: the lowest is the newest.
    pub(super) aside: BTreeMap<u32, u64>,
}

/// One step. Whoever dies between two of them has lost nothing, and the next plan goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Remove the one of this number.
    Remove(u32),
    /// Give the one of this number the next number, which is free.
    Shift(u32),
    /// Give the one that is written the number 1, which is free.
    PutAside,
}

/// Takes a name apart: the file, and the number of one that was put aside. None: a name that is not ours to touch.
pub(super) fn split(name: &str) -> Option<(&str, Option<u32>)> {
    if name.is_empty() || name.starts_with('.') {
        return None;
    }
    match name.rsplit_once('.') {
        Some((base, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let number = digits.parse().ok().filter(|n| *n > 0)?;
            (!digits.starts_with('0')).then_some((base, Some(number)))
        }
        _ => Some((name, None)),
    }
}

/// The name of one that was put aside.
pub(super) fn aside(base: &str, number: u32) -> String {
    format!("{base}.{number}")
}

/// What is to be done with a file. `rule` is missing for one that is not declared: a device that was taken out of the
/// spec goes on in Vault. Of such a file no more are removed than come.
pub(super) fn steps(found: &Found, rule: Option<Rule>) -> Vec<Step> {
    let Found { current, aside } = found;
    let there = u32::try_from(aside.len()).unwrap_or(u32::MAX);
    let (Rule { max_size, keep }, most) = if let Some(rule) = rule {
        (rule, rule.max_size.saturating_mul(u64::from(rule.keep) + 1))
    } else {
        let (max_size, keep) = (MAX_SIZE, KEEP.max(there));
        (Rule { max_size, keep }, u64::MAX)
    };
    let Some(size) = current.filter(|size| *size >= max_size) else {
        return Vec::new();
    };
    let mut stays = BTreeSet::new();
    let (mut count, mut total) = (1, size);
    for (number, size) in aside {
        count += 1;
        // What was written between two looks makes files larger than they should be: the sum is bounded as well.
        total = total.saturating_add(*size);
        if count > keep || total > most {
            break;
        }
        stays.insert(*number);
    }
    let removed = aside.keys().rev().filter(|number| !stays.contains(number));
    let mut steps: Vec<Step> = removed.map(|number| Step::Remove(*number)).collect();
    // Up to the first free number, which may be there since somebody died half way.
    let free = (1..=u32::MAX).find(|number| !stays.contains(number)).unwrap_or(1);
    steps.extend((1..free).rev().map(Step::Shift));
    steps.push(Step::PutAside);
    steps
}

/// Files that were put aside and that Vault has not opened again, with the size of the newest when it was looked at.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<String, u64>);

impl Waiting {
    /// The files into whose renamed ones Vault goes on to write: it has to be told once more. Whoever put them aside may
    /// have died before Vault was told. A standby writes nothing, and opens nothing.
    pub(super) fn still_written(&mut self, found: &BTreeMap<String, Found>) -> Vec<String> {
        let open = |base: &String| found.get(base).is_none_or(|f| f.current.is_some());
        self.0.retain(|base, _| !open(base));
        let mut written = Vec::new();
        for (base, of) in found.iter().filter(|(_, of)| of.current.is_none()) {
            let Some(size) = of.aside.get(&1) else { continue };
            if self
                .0
                .insert(base.clone(), *size)
                .is_some_and(|before| before < *size)
            {
                written.push(base.clone());
            }
        }
        written
    }

    /// Remembers that a file of this size was put aside just now.
    pub(super) fn put_aside(&mut self, base: &str, size: u64) {
        self.0.insert(base.to_owned(), size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        max_size: 100,
        keep: 3,
    };

    fn found(current: Option<u64>, aside: &[(u32, u64)]) -> Found {
        Found {
            current,
            aside: aside.iter().copied().collect(),
        }
    }

    #[test]
    fn only_plain_names_with_a_number_of_ours_are_taken_apart() {
        assert_eq!(split("audit.log"), Some(("audit.log", None)));
        assert_eq!(split("audit"), Some(("audit", None)));
        assert_eq!(split("audit.log.12"), Some(("audit.log", Some(12))));
        for other in [
            "",
            ".hidden",
            "audit.log.0",
            "audit.log.01",
            "audit.log.99999999999",
        ] {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_is_put_aside_when_it_is_large_enough_and_the_oldest_goes() {
        assert_eq!(steps(&found(Some(99), &[]), Some(RULE)), []);
        assert_eq!(steps(&found(Some(100), &[]), Some(RULE)), [Step::PutAside]);
        let full = found(Some(100), &[(1, 100), (2, 100), (3, 100)]);
        let wanted = [Step::Remove(3), Step::Shift(2), Step::Shift(1), Step::PutAside];
        assert_eq!(steps(&full, Some(RULE)), wanted);
    }

    #[test]
    fn nothing_is_moved_before_vault_has_the_file_open_again() {
        assert_eq!(steps(&found(None, &[(1, 5000), (2, 100)]), Some(RULE)), []);
    }

    #[test]
    fn files_that_grew_beyond_their_size_are_bounded_by_their_sum() {
        let large = found(Some(150), &[(1, 150), (2, 150), (3, 10)]);
        let wanted = [Step::Remove(3), Step::Remove(2), Step::Shift(1), Step::PutAside];
        assert_eq!(steps(&large, Some(RULE)), wanted, "450 are more than 400");
        assert_eq!(
            steps(&found(Some(5000), &[]), Some(RULE)),
            [Step::PutAside],
            "the newest stays in any case"
        );
    }

    #[test]
    fn a_lower_number_to_keep_holds_from_the_next_time_on() {
        let many = found(Some(100), &[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
        let wanted = [
            Step::Remove(5),
            Step::Remove(4),
            Step::Remove(3),
            Step::Shift(2),
            Step::Shift(1),
            Step::PutAside,
        ];
        assert_eq!(steps(&many, Some(RULE)), wanted);
    }

    #[test]
    fn of_a_file_that_is_not_declared_no_more_go_than_come() {
        let many: Vec<(u32, u64)> = (1..=8).map(|n| (n, 1 << 30)).collect();
        let steps_of = |current| steps(&found(Some(current), &many), None);
        assert_eq!(steps_of(MAX_SIZE - 1), []);
        let taken = steps_of(MAX_SIZE);
        let removed = taken.iter().filter(|s| matches!(s, Step::Remove(_)));
        assert_eq!(removed.count(), 1, "{taken:?}");
    }

    /// Does a step in a folder of names, in which a name stands for what the file holds.
    fn perform(current: &mut Option<u32>, aside: &mut BTreeMap<u32, u32>, step: Step) {
        match step {
            Step::Remove(number) => {
                aside.remove(&number).expect("it is there");
            }
            Step::Shift(number) => {
                let content = aside.remove(&number).expect("it is there");
                assert!(
                    aside.insert(number + 1, content).is_none(),
                    "nothing is overwritten"
                );
            }
            Step::PutAside => {
                let content = current.take().expect("it is there");
                assert!(aside.insert(1, content).is_none(), "nothing is overwritten");
            }
        }
    }

    #[test]
    fn whoever_dies_between_two_steps_loses_only_what_was_to_go_and_the_order_stays() {
        for die_after in 0..4 {
            // Contents are numbered by age: the highest is the newest.
            let mut current = Some(4);
            let mut aside = BTreeMap::from([(1, 3), (2, 2), (3, 1)]);
            let plan = |current: &Option<u32>, aside: &BTreeMap<u32, u32>| {
                let sizes = aside.keys().map(|n| (*n, 100)).collect();
                let found = Found {
                    current: current.map(|_| 100),
                    aside: sizes,
                };
                steps(&found, Some(RULE))
            };
            for step in plan(&current, &aside).into_iter().take(die_after) {
                perform(&mut current, &mut aside, step);
            }
            for step in plan(&current, &aside) {
                perform(&mut current, &mut aside, step);
            }
            let kept: Vec<u32> = aside.values().copied().collect();
            assert_eq!(kept, [4, 3, 2], "died after {die_after} steps");
        }
    }

    #[test]
    fn vault_is_told_again_only_while_it_writes_into_a_file_that_was_put_aside() {
        let mut waiting = Waiting::default();
        let mut look = |current, aside: &[(u32, u64)]| {
            let all = BTreeMap::from([("a".to_owned(), found(current, aside))]);
            !waiting.still_written(&all).is_empty()
        };
        assert!(
            !look(None, &[(1, 100)]),
            "a standby, or nobody has asked for anything"
        );
        assert!(!look(None, &[(1, 100)]));
        assert!(look(None, &[(1, 101)]), "it writes there still");
        assert!(!look(None, &[(1, 101)]), "it was told");
        assert!(!look(Some(0), &[(1, 102)]), "it has opened it again");
        assert!(!look(None, &[(1, 300)]), "that is another one");
        waiting.put_aside("b", 50);
        let all = BTreeMap::from([("b".to_owned(), found(None, &[(1, 60)]))]);
        assert_eq!(waiting.still_written(&all), ["b"]);
    }
}
