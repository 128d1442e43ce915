//! A certificate with its key and CAs, collected from PEM wherever it stands, as `pkiCert` gives it. No I/O.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use vaultkeeper_template::{Certificate, Value};

use crate::der::{self, Validity};

/// The part of its life after which a certificate is replaced, and how much earlier at most, so that certificates that
/// were issued together are not all replaced together.
const LIFE: f64 = 0.9;
const EARLIER: f64 = 0.03;

/// What was found.
#[derive(Default)]
pub(crate) struct Parts {
    cert: String,
    key: Zeroizing<String>,
    ca_chain: Vec<String>,
    validity: Option<Validity>,
    /// From 0 to 1, always the same for the same certificate: a restarted agent judges as the one before it did.
    chance: f64,
}

/// All texts of an answer that may hold PEM, the CA that issued the certificate first.
pub(crate) fn texts(data: &Value) -> Vec<&str> {
    let Value::Map(entries) = data else {
        return Vec::new();
    };
    let mut texts: Vec<&str> = entries.get("issuing_ca").and_then(text).into_iter().collect();
    if let Some(Value::List(chain)) = entries.get("ca_chain") {
        texts.extend(chain.items().iter().filter_map(text));
    }
    texts.extend(entries.values().filter_map(text));
    texts
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

impl Parts {
    /// Collects the parts from texts: the first CA counts as the CA, the last other certificate as the certificate.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parts = Self::default();
        for (label, der) in texts.into_iter().flat_map(Blocks) {
            let block = Zeroizing::new(encode(label, &der));
            if label.ends_with("PRIVATE KEY") {
                parts.key = block;
                continue;
            }
            match der::validity(&der) {
                Some(Validity { is_ca: true, .. }) if parts.ca_chain.contains(&block) => {}
                Some(Validity { is_ca: true, .. }) => parts.ca_chain.push(block.to_string()),
                Some(validity) => {
                    parts.validity = Some(validity);
                    parts.chance = der.last().map_or(0.5, |last| f64::from(*last) / 255.0);
                    parts.cert = block.to_string();
                }
                None => {}
            }
        }
        parts
    }

    /// Whether there is a certificate with a key.
    pub(crate) fn is_complete(&self) -> bool {
        self.validity.is_some() && !self.key.is_empty()
    }

    /// How long the certificate may stay; `None` when there is none with its key, or when it is to be replaced. `now` is
    /// the time since 1970.
    pub(crate) fn left_until_due(&self, now: Duration) -> Option<Duration> {
        let Validity {
            not_before,
            not_after,
            is_ca: _,
        } = self.validity.filter(|_| self.is_complete())?;
        let life = not_after.checked_sub(not_before)?;
        let due = not_before + life.mul_f64(LIFE - EARLIER * self.chance);
        due.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// What the template gets.
    pub(crate) fn into_certificate(self) -> Certificate {
        let Self {
            cert,
            key,
            ca_chain,
            validity: _,
            chance: _,
        } = self;
        Certificate {
            cert,
            key: key.to_string(),
            ca: ca_chain.first().cloned().unwrap_or_default(),
            ca_chain,
        }
    }
}

/// The PEM blocks of a text, whatever stands between them.
struct Blocks<'a>(&'a str);

impl<'a> Iterator for Blocks<'a> {
    type Item = (&'a str, Zeroizing<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (_, from_label) = self.0.split_once("-----BEGIN ")?;
            let (label, from_body) = from_label.split_once("-----")?;
            self.0 = from_body;
            let Some((body, rest)) = from_body.split_once("-----END ") else {
                continue;
            };
            if !rest
                .strip_prefix(label)
                .is_some_and(|rest| rest.starts_with("-----"))
            {
                continue;
            }
            let body: Zeroizing<String> =
                Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
            // One with headers (an encrypted key) is no base64 and nothing that a server issues.
            if let Ok(der) = STANDARD.decode(body.as_bytes()) {
                self.0 = rest;
                return Some((label, Zeroizing::new(der)));
            }
        }
    }
}

/// PEM as Go writes it: lines of 64, a line break at the end.
fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + "-----END " + label + "-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use vaultkeeper_template::json::{Numbers, parse};

    /// 2026-01-01, when the certificates of the tests begin.
    const BEGIN: Duration = Duration::from_secs(1_767_225_600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn leaf() -> String {
        encode("CERTIFICATE", include_bytes!("../tests/data/leaf.der"))
    }

    fn ca() -> String {
        encode("CERTIFICATE", include_bytes!("../tests/data/ca.der"))
    }

    fn key() -> String {
        encode("EC PRIVATE KEY", b"no key at all, but nobody looks into it")
    }

    #[test]
    fn parts_are_told_apart_in_any_order_and_with_words_between() {
        let text = format!(
            "# my file\n{}junk{}\n\n{}bundle = \"{}\"",
            ca(),
            key(),
            leaf(),
            ca().trim()
        );
        let certificate = Parts::of([text.as_str()]).into_certificate();
        assert!(certificate.cert == leaf(), "the certificate");
        assert!(certificate.key == key(), "the key");
        assert!(certificate.ca == ca(), "the CA");
        assert_eq!(certificate.ca_chain.len(), 1, "each CA once");
    }

    #[test]
    fn an_answer_of_the_engine_is_taken_apart() {
        let answer = serde_json::json!({
            "ca_chain": [ca().trim()], "certificate": leaf().trim(), "issuing_ca": ca().trim(),
            "private_key": key().trim(), "private_key_type": "ec", "serial_number": "10:01", "expiration": 1,
        });
        let answer = parse(&answer.to_string(), Numbers::AsSent).unwrap();
        let parts = Parts::of(texts(&answer));
        assert!(parts.is_complete(), "certificate and key are there");
        assert!(
            parts.into_certificate().ca == ca(),
            "with a line break at its end"
        );
    }

    #[test]
    fn a_certificate_is_due_at_nine_tenths_of_its_life_or_a_little_earlier() {
        let parts = Parts::of([leaf().as_str(), key().as_str()]);
        let left = parts.left_until_due(BEGIN).expect("it is new");
        assert!(
            left <= 81 * DAY && left >= 78 * DAY,
            "81 of 90 days, less 3 % at most: {left:?}"
        );
        assert_eq!(parts.left_until_due(BEGIN + 81 * DAY), None, "now it is due");
        assert_eq!(parts.left_until_due(BEGIN + 100 * DAY), None, "it has ended");
        let again = Parts::of([leaf().as_str(), key().as_str()]);
        assert_eq!(
            again.left_until_due(BEGIN),
            Some(left),
            "the same certificate, the same judgement"
        );
    }

    #[test]
    fn a_file_without_the_key_is_no_cache() {
        let parts = Parts::of([leaf().as_str(), ca().as_str()]);
        assert!(
            parts.left_until_due(BEGIN).is_none(),
            "a template that puts the key into another file would empty it"
        );
    }

    #[test]
    fn what_is_no_pem_gives_nothing() {
        for text in [
            "",
            "-----BEGIN ",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
            "-----BEGIN A-----\nAAAA\n-----END B-----",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        ] {
            assert!(!Parts::of([text]).is_complete(), "{text:?}");
        }
    }

    #[test]
    fn a_broken_block_does_not_hide_the_next() {
        let text = format!("-----BEGIN CERTIFICATE-----\nhalf\n{}{}", leaf(), key());
        assert!(
            Parts::of([text.as_str()]).is_complete(),
            "the good ones are found"
        );
    }
}
