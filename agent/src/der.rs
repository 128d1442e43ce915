//! As much of DER and X.509 as is needed to see from when to when a certificate is good, and whether it is a CA's. No I/O.

use std::time::Duration;

/// What a certificate says about itself. Nothing is verified: it came from Vault or from our own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// Since 1970.
    pub(crate) not_before: Duration,
    /// Since 1970.
    pub(crate) not_after: Duration,
    /// Basic constraints say CA.
    pub(crate) is_ca: bool,
}

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// Reads a certificate in DER; `None` where it is none.
pub(crate) fn validity(der: &[u8]) -> Option<Validity> {
    let mut certificate = Reader(Reader(der).expect(SEQUENCE)?);
    let mut body = Reader(certificate.expect(SEQUENCE)?);
    if body.peek() == Some(VERSION) {
        body.next()?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        body.next()?;
    }
    let mut times = Reader(body.expect(SEQUENCE)?);
    let (not_before, not_after) = (time(times.next()?)?, time(times.next()?)?);
    let mut is_ca = false;
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            is_ca = is_ca_by(Reader(content).expect(SEQUENCE)?)?;
        }
    }
    Some(Validity {
        not_before,
        not_after,
        is_ca,
    })
}

fn is_ca_by(extensions: &[u8]) -> Option<bool> {
    let mut extensions = Reader(extensions);
    while let Some((tag, extension)) = extensions.next() {
        let mut extension = Reader((tag == SEQUENCE).then_some(extension)?);
        if extension.expect(OBJECT_ID)? != BASIC_CONSTRAINTS {
            continue;
        }
        if extension.peek() == Some(BOOLEAN) {
            // Critical or not.
            extension.next()?;
        }
        let mut constraints = Reader(Reader(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
        return Some(matches!(constraints.next(), Some((BOOLEAN, [value])) if *value != 0));
    }
    Some(false)
}

/// `YYMMDDhhmmssZ` (years 1950 to 2049) or `YYYYMMDDhhmmssZ`.
fn time((tag, text): (u8, &[u8])) -> Option<Duration> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year_digits, expected) = match tag {
        UTC_TIME => (2, 12),
        GENERALIZED_TIME => (4, 14),
        _ => return None,
    };
    if digits.len() != expected {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    };
    let (year, rest) = digits.split_at(year_digits);
    let year = match (tag, number(year)) {
        (UTC_TIME, year @ 0..50) => 2000 + year,
        (UTC_TIME, year) => 1900 + year,
        (_, year) => year,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day).checked_mul(86_400)? + hour * 3600 + minute * 60 + second;
    Some(Duration::from_secs(seconds))
}

/// Days since 1970-01-01 of the Gregorian calendar; zero before.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March have their leap day at the end.
    let year = if month > 2 { year } else { year.saturating_sub(1) };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    days.saturating_sub(719_468)
}

/// Reads one element after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, mut rest) = rest.split_first()?;
        let length = if length < 0x80 {
            usize::from(length)
        } else {
            // Longer than four bytes is no certificate; the indefinite form (0x80) is not DER.
            let (bytes, after) = rest.split_at_checked(usize::from(length & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            rest = after;
            bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, content) = self.next()?;
        (tag == wanted).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tag: u8, text: &str) -> Option<u64> {
        time((tag, text.as_bytes())).map(|time| time.as_secs())
    }

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "000229120000Z", 951_825_600),
            (UTC_TIME, "261123005959Z", 1_795_395_599),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "21000301000000Z", 4_107_542_400),
        ] {
            assert_eq!(at(tag, text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "Z",
            "2611230059Z",
            "261323005959Z",
            "26112300595xZ",
            "261123005959",
            "261123245959Z",
        ] {
            assert_eq!(at(UTC_TIME, text), None, "{text:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let der = include_bytes!("../tests/data/leaf.der");
        let good = validity(der);
        assert!(good.is_some(), "the certificate is a good one");
        for end in 0..der.len() {
            assert_eq!(validity(&der[..end]), None, "cut at {end}");
        }
        for position in 0..der.len() {
            for value in [0x00, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut bent = *der;
                bent[position] = value;
                // Whatever comes out: no panic.
                let _ = validity(&bent);
            }
        }
    }

    #[test]
    fn a_leaf_and_a_ca_are_told_apart() {
        let leaf = validity(include_bytes!("../tests/data/leaf.der")).unwrap();
        let ca = validity(include_bytes!("../tests/data/ca.der")).unwrap();
        assert!(!leaf.is_ca && ca.is_ca, "leaf {leaf:?}, CA {ca:?}");
        assert_eq!(
            leaf.not_after,
            leaf.not_before + Duration::from_secs(90 * 86_400),
            "{leaf:?}"
        );
    }
}
