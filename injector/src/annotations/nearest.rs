//! Finds the key that a misspelt one most likely meant.

/// The candidate with the fewest changed, added or missing characters, if they are few enough to be a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 4).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row[1..].iter_mut().zip(&to) {
            let above = *cell;
            let best = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            diagonal = above;
            left = best;
            *cell = best;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_slips() {
        assert_eq!(distance("role", "role"), 0, "the same word");
        assert_eq!(distance("rol", "role"), 1, "one is missing");
        assert_eq!(distance("kitten", "sitting"), 3, "the textbook's example");
        assert_eq!(distance("", "abc"), 3, "all are missing");
    }

    #[test]
    fn a_slip_finds_its_key_and_noise_finds_none() {
        let keys = ["agent-inject", "role", "service"];
        assert_eq!(
            nearest("agent-injct", keys),
            Some("agent-inject"),
            "one letter is missing"
        );
        assert_eq!(nearest("rolle", keys), Some("role"), "one letter too many");
        assert_eq!(nearest("something-else", keys), None, "nothing is near");
    }
}
