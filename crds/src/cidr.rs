//! Address ranges as they are written in specs: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`.
//!
//! Vault stores text that is no range without a word in some places, so that we read it ourselves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses in CIDR form. Its text is Vault's: a range of one address is written without its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a range could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCidrError {
    /// It is no address with a length behind a slash.
    #[error("`{0}` is no range of addresses: write one such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32")]
    Malformed(String),
    /// The address has bits behind the prefix.
    #[error("`{text}` names an address inside of a range: write {range}, or the address alone")]
    HostBits {
        /// The text.
        text: String,
        /// The range around it.
        range: Cidr,
    },
}

/// Reads an address or a range.
///
/// # Errors
/// The text is no address with an optional prefix in decimal, or the address has bits behind its prefix. An IPv4
/// address in IPv6 form is refused too: Vault compares it with no IPv4 address.
pub fn parse(text: &str) -> Result<Cidr, ParseCidrError> {
    let malformed = || ParseCidrError::Malformed(text.to_owned());
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| malformed())?;
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err(malformed());
    }
    let full = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => full,
        // As Go reads it: digits alone, without a sign or further zeros.
        Some(digits) if digits.len() > 1 && digits.starts_with('0') => return Err(malformed()),
        Some(digits) if !digits.bytes().all(|b| b.is_ascii_digit()) => return Err(malformed()),
        Some(digits) => digits.parse().map_err(|_| malformed())?,
    };
    if prefix > full {
        return Err(malformed());
    }
    let range = Cidr {
        address: masked(address, prefix),
        prefix,
    };
    if range.address != address {
        return Err(ParseCidrError::HostBits {
            text: text.to_owned(),
            range,
        });
    }
    Ok(range)
}

impl Cidr {
    /// Whether every address of `inner` is in this range.
    pub fn contains(&self, inner: &Self) -> bool {
        self.address.is_ipv4() == inner.address.is_ipv4()
            && self.prefix <= inner.prefix
            && masked(inner.address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix } = self;
        let full = if address.is_ipv4() { 32 } else { 128 };
        if *prefix == full {
            write!(f, "{address}")
        } else {
            write!(f, "{address}/{prefix}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_in_the_one_form_that_vault_keeps() {
        for (text, told) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::1/128", "::1"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), told, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "300.0.0.0/8",
            "10.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "::/129",
            "::ffff:10.0.0.1",
            "example.com",
            " 10.0.0.0/8",
            "10.0.0.0/8,192.0.2.0/24",
            "010.0.0.1",
        ] {
            assert!(
                matches!(parse(text), Err(ParseCidrError::Malformed(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_address_inside_of_a_range_is_refused_with_both_remedies() {
        let error = parse("10.1.2.3/8").unwrap_err().to_string();
        assert!(
            error.contains("10.0.0.0/8") && error.contains("the address alone"),
            "{error}"
        );
        assert!(parse("2001:db8::1/64").is_err());
    }

    #[test]
    fn a_range_contains_itself_and_what_is_narrower_but_nothing_beside_it() {
        let of = |text| parse(text).unwrap();
        for (outer, inner, wanted) in [
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("0.0.0.0/0", "192.0.2.7", true),
            ("::/0", "192.0.2.7", false),
        ] {
            assert_eq!(of(outer).contains(&of(inner)), wanted, "{outer} {inner}");
        }
    }
}
