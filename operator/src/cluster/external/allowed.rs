//! Which Vaults outside of Kubernetes the operator may call: addresses as a person writes them, and the list of those
//! that whoever installed the operator allows. Pure.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Port of https.
const HTTPS: u16 = 443;

/// Why a text is no address that can be called or allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not usable: {problem}; write it as https://vault.example.com:8200")]
pub struct AddressError {
    /// The text.
    text: String,
    /// What is wrong with it.
    problem: &'static str,
}

/// `https://<host>:<port>`: one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads it. Names are compared as text, so that every form that a URL parser would turn into something else is
    /// refused here.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let host = plain_host(host).ok_or_else(|| {
            refused(
                text,
                "its host is neither a plain DNS name nor an IP address in its usual form",
            )
        })?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        write!(f, "https://{host}:{port}")
    }
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedAddress {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exactly(String),
    /// Any name that ends in this text, which begins with a dot.
    Below(String),
}

impl FromStr for AllowedAddress {
    type Err = AddressError;

    /// `https://vault.example.com:8200`, or `https://*.example.com:8200` for every name below `example.com`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text.trim())?;
        let Some(domain) = host.strip_prefix("*.") else {
            let Address { host, port } = Address::parse(text.trim())?;
            return Ok(Self {
                host: Host::Exactly(host),
                port,
            });
        };
        if !is_name(domain) || ends_in_a_number(domain) || !domain.contains('.') {
            return Err(refused(
                text,
                "after *. there must be a domain of at least two steps",
            ));
        }
        Ok(Self {
            host: Host::Below(format!(".{}", domain.to_ascii_lowercase())),
            port,
        })
    }
}

/// The list. An empty one, the default, allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedAddresses(pub Vec<AllowedAddress>);

impl AllowedAddresses {
    /// Whether an address may be called.
    pub fn allow(&self, address: &Address) -> bool {
        self.0.iter().any(|AllowedAddress { host, port }| {
            let is_host = match host {
                Host::Exactly(host) => *host == address.host,
                Host::Below(suffix) => address.host.ends_with(suffix.as_str()),
            };
            is_host && *port == address.port
        })
    }
}

fn refused(text: &str, problem: &'static str) -> AddressError {
    AddressError {
        text: text.to_owned(),
        problem,
    }
}

/// Host and port.
fn split(text: &str) -> Result<(&str, u16), AddressError> {
    let rest = text
        .strip_prefix("https://")
        .ok_or_else(|| refused(text, "it does not begin with https://"))?;
    if rest.contains(['/', '?', '#', '@', '\\', '%']) || !rest.is_ascii() {
        return Err(refused(text, "it must end after the port"));
    }
    // What follows an IPv6 address in brackets, or a name.
    let end = rest.rfind(']').map_or(0, |at| at + 1);
    match rest[end..].rfind(':') {
        None => Ok((rest, HTTPS)),
        Some(colon) => {
            let digits = &rest[end + colon + 1..];
            let port = digits.parse::<u16>().ok();
            let port = port
                .filter(|port| *port != 0 && port.to_string() == digits)
                .ok_or_else(|| refused(text, "its port is no number from 1 to 65535"))?;
            Ok((&rest[..end + colon], port))
        }
    }
}

/// The one way in which a host is written, so that two texts for one host are equal.
fn plain_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let address = inner.parse::<Ipv6Addr>().ok()?;
        return Some(format!("[{address}]"));
    }
    if ends_in_a_number(host) {
        let address = host.parse::<Ipv4Addr>().ok()?;
        return (address.to_string() == host).then(|| host.to_owned());
    }
    is_name(host).then(|| host.to_ascii_lowercase())
}

/// A last step that looks like a number makes the whole an IPv4 address for a URL parser, in whatever notation.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    last.starts_with(|c: char| c.is_ascii_digit())
}

fn is_name(name: &str) -> bool {
    let is_step = |step: &str| {
        !step.is_empty()
            && step.len() <= 63
            && step.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !step.starts_with('-')
            && !step.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &[&str], address: &str) -> bool {
        let list = list.iter().map(|text| text.parse().unwrap()).collect();
        AllowedAddresses(list).allow(&Address::parse(address).unwrap())
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let address = Address::parse("https://vault.example.com").unwrap();
        assert!(!AllowedAddresses::default().allow(&address));
    }

    #[test]
    fn an_address_is_allowed_by_host_and_port_together() {
        let list = ["https://vault.example.com:8200"];
        assert!(allows(&list, "https://vault.example.com:8200"));
        assert!(allows(&list, "https://VAULT.example.com:8200"), "case is nothing");
        assert!(!allows(&list, "https://vault.example.com"), "another port");
        assert!(!allows(&list, "https://vault.example.com:8201"), "another port");
        assert!(!allows(&list, "https://evil.example.com:8200"), "another host");
        assert!(
            !allows(&list, "https://vault.example.com.evil.org:8200"),
            "a longer name"
        );
        assert!(
            allows(&["https://vault.example.com"], "https://vault.example.com:443"),
            "443 is the default"
        );
    }

    #[test]
    fn a_domain_covers_the_names_below_it_and_not_itself() {
        let list = ["https://*.example.com:8200"];
        assert!(allows(&list, "https://vault.example.com:8200"));
        assert!(allows(&list, "https://a.b.example.com:8200"));
        assert!(!allows(&list, "https://example.com:8200"));
        assert!(!allows(&list, "https://evilexample.com:8200"));
        assert!(!allows(&list, "https://vault.example.com:443"));
    }

    #[test]
    fn ip_addresses_are_allowed_as_they_are_written() {
        assert!(allows(&["https://10.0.0.1:8200"], "https://10.0.0.1:8200"));
        assert!(allows(&["https://[fd00::1]:8200"], "https://[fd00::1]:8200"));
        assert!(
            allows(&["https://[fd00::1]:8200"], "https://[FD00:0::0001]:8200"),
            "another way to write the same address"
        );
        assert!(
            !allows(&["https://127.0.0.1:8200"], "https://[::ffff:127.0.0.1]:8200"),
            "what is written as an IPv6 address is allowed as one only"
        );
        assert!(!allows(&["https://*.example.com"], "https://[fd00::1]"));
    }

    #[test]
    fn what_a_url_parser_could_read_otherwise_is_no_address() {
        for text in [
            "http://vault.example.com",
            "vault.example.com:8200",
            "https://",
            "https://vault.example.com/v1",
            "https://user@vault.example.com",
            "https://vault.example.com:0",
            "https://vault.example.com:99999",
            "https://vault.example.com:",
            "https://vault..example.com",
            "https://vault.example.com.",
            "https://-vault.example.com",
            "https://2130706433",
            "https://127.1",
            "https://0x7f.1",
            "https://0177.0.0.1",
            "https://1.2.3.4.0x5",
            "https://[::1",
            "https://[fd00::1",
            "https://[fd00::1]evil.org",
            "https://[fe80::1%25eth0]:8200",
            "https://[::1]:8200:443",
            "https://vault.example.com:+443",
            "https://vault.example.com:0443",
            "https://vault.example.com:8200:443",
            "https:///vault.example.com",
            "https://vault.example.com:8200@evil.org",
            "https://vault.example.com:8200#@evil.org",
            "HTTPS://vault.example.com",
            " https://vault.example.com",
            "https://vault.example.com\n",
            "https://vault_1.example.com",
            "https://1.2.3.4.5",
            "https://169.254.169.254.",
            "https://vault\u{ff0e}example.com",
            "https://vault%2eexample.com",
            "https://*.example.com",
            "https://vault.example.com\\@evil.org",
        ] {
            assert!(Address::parse(text).is_err(), "{text} must be refused");
        }
    }

    #[test]
    fn an_entry_is_no_wider_than_a_domain() {
        for text in [
            "https://*",
            "https://*.com",
            "https://*.",
            "https://a.*.com",
            "*",
            "https://*.1.2.3.4",
        ] {
            assert!(text.parse::<AllowedAddress>().is_err(), "{text} must be refused");
        }
    }

    #[test]
    fn an_address_is_shown_with_its_port() {
        let shown = |text| Address::parse(text).unwrap().to_string();
        assert_eq!(
            shown("https://Vault.example.com"),
            "https://vault.example.com:443"
        );
        assert_eq!(shown("https://[::1]:8200"), "https://[::1]:8200");
    }
}
