//! Randomness for jitter, from ring: it works in a static binary even where /dev is not mounted.

use ring::rand::{SecureRandom, SystemRandom};

/// A number from 0 up to but not including 1. Without randomness the middle serves: jitter is a courtesy.
pub(crate) fn unit() -> f64 {
    let mut bytes = [0_u8; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_lie_between_zero_and_one_and_differ() {
        let numbers: Vec<f64> = (0..100).map(|_| super::unit()).collect();
        assert!(
            numbers.iter().all(|number| (0.0..1.0).contains(number)),
            "out of range: {numbers:?}"
        );
        assert!(
            numbers.windows(2).any(|pair| pair[0] < pair[1]),
            "all the same: {numbers:?}"
        );
    }
}
