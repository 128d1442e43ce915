//! How one CA follows another without a moment in which the API server trusts a replica's certificate not. First caBundle
//! holds both; then each replica shows a certificate of the new one; then the old one goes. Pure.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use crate::certificates::Leaf;

/// After how many checks the old CA goes. A replica learns of the new one at its next check and shows a certificate of it
/// at the one after that; the others are for checks that fail.
const CHECKS: u32 = 4;

/// The certificate that is shown, with the CA that issued it.
#[derive(Debug)]
pub(super) struct Shown {
    /// The certificate.
    pub(super) leaf: Leaf,
    /// Its CA, as PEM.
    pub(super) ca: String,
}

/// What caBundle holds of the CAs that matter here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    /// Whether it held the stored CA at the last check, and does now.
    pub(super) stored: bool,
    /// Whether it holds that of the certificate that is shown.
    pub(super) shown: bool,
}

/// Whether it is time for a new certificate: the first one, one in place of an old one, or one of another CA.
pub(super) fn is_due(shown: Option<&Shown>, stored_ca: &str, trust: Trust, now: Timestamp) -> bool {
    match shown {
        None => true,
        Some(Shown { leaf, ca }) if ca == stored_ca => leaf.renew_at <= now,
        // Until every API server has heard of the stored CA, a certificate of the one before it is the better one.
        Some(Shown { leaf, ca: _ }) => trust.stored || !trust.shown || leaf.expires <= now,
    }
}

/// The CAs besides ours that caBundle holds, and since when.
#[derive(Debug, Default)]
pub(super) struct Others(Option<(Vec<CertificateDer<'static>>, Instant)>);

impl Others {
    /// Takes in what a check found, and says whether they have been there for so long that no replica needs them.
    pub(super) fn are_over(
        &mut self,
        found: Vec<CertificateDer<'static>>,
        now: Instant,
        interval: Duration,
    ) -> bool {
        if found.is_empty() {
            self.0 = None;
            return false;
        }
        match &self.0 {
            Some((known, since)) if *known == found => now.duration_since(*since) >= interval * CHECKS,
            _ => {
                self.0 = Some((found, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::certificates::Authority;

    #[test]
    fn a_certificate_of_a_new_ca_waits_until_the_api_server_has_heard_of_it() {
        let now = Timestamp::now();
        let authority = Authority::generate("old", now).expect("a CA");
        let shown = Shown {
            leaf: authority.issue(&["x".to_owned()], now).expect("a leaf"),
            ca: authority.certificate().to_owned(),
        };
        let later = |hours| now + SignedDuration::from_hours(hours);
        let trust = |stored, shown| Trust { stored, shown };
        assert!(
            is_due(None, "new", trust(false, false), now),
            "the first one is due at once"
        );
        for (ca, trust, at, due, why) in [
            (shown.ca.as_str(), trust(true, true), now, false, "it is fresh"),
            (
                &shown.ca,
                trust(true, true),
                later(6 * 24),
                true,
                "two thirds of its life are over",
            ),
            (
                "new",
                trust(false, true),
                now,
                false,
                "only the old CA is trusted everywhere",
            ),
            (
                "new",
                trust(false, true),
                later(6 * 24),
                false,
                "a renewal would not help more",
            ),
            ("new", trust(true, true), now, true, "both are trusted"),
            (
                "new",
                trust(false, false),
                now,
                true,
                "the old one is trusted no more",
            ),
            (
                "new",
                trust(false, true),
                later(8 * 24),
                true,
                "the old one's leaf has ended",
            ),
        ] {
            assert_eq!(is_due(Some(&shown), ca, trust, at), due, "{why}");
        }
    }

    #[test]
    fn another_ca_goes_after_four_checks_without_a_change() {
        let (start, interval) = (Instant::now(), Duration::from_secs(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        let ca = |byte: u8| CertificateDer::from(vec![byte]);
        let mut others = Others::default();
        assert!(!others.are_over(vec![ca(1)], at(0), interval), "just seen");
        assert!(
            !others.are_over(vec![ca(1)], at(119), interval),
            "a replica may need it"
        );
        assert!(others.are_over(vec![ca(1)], at(120), interval), "no replica does");
        assert!(
            !others.are_over(vec![ca(1), ca(2)], at(121), interval),
            "another one came: a new change"
        );
        assert!(
            !others.are_over(vec![], at(300), interval),
            "there is nothing to take away"
        );
        assert!(
            !others.are_over(vec![ca(1), ca(2)], at(301), interval),
            "it counts from when it came back"
        );
    }
}
