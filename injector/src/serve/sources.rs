//! How many connections each address has open, so that one alone cannot take all there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses with open connections.
#[derive(Debug, Default, Clone)]
pub(super) struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    sources: Sources,
    address: IpAddr,
}

impl Sources {
    /// A place for one more connection of `address`, unless it has `most` already.
    pub(super) fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let address = address.to_canonical();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            sources: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_no_more_than_its_share_and_takes_nothing_from_others() {
        let sources = Sources::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = sources.enter(one, 2).expect("the first place");
        let second = sources.enter(one, 2).expect("the second place");
        assert!(sources.enter(one, 2).is_none(), "two are the most");
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
        assert!(
            sources.enter(mapped, 2).is_none(),
            "the same address in IPv6's form"
        );
        drop(sources.enter(other, 2).expect("others have places of their own"));
        drop(first);
        drop(sources.enter(one, 2).expect("a place was given back"));
        drop(second);
        assert!(
            sources.0.lock().expect("no panic").is_empty(),
            "nothing is kept of those who left"
        );
    }
}
