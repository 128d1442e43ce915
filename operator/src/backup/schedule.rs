//! When something is due: five fields of cron, in UTC. Pure.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;

/// What cron is asked for in UTC.
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

impl Schedule {
    /// Reads `minute hour day month weekday`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        let schedule = Self(cron);
        // The thirtieth of February never comes.
        match schedule.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("it names no time that ever comes".to_owned()),
        }
    }

    /// The next time after this one.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.0.find_next_occurrence(&at.to_zoned(TimeZone::UTC), false);
        next.ok().map(|next| next.timestamp())
    }

    fn before(&self, at: Timestamp) -> Option<Timestamp> {
        let last = self
            .0
            .find_previous_occurrence(&at.to_zoned(TimeZone::UTC), false);
        last.ok().map(|last| last.timestamp())
    }

    /// Whether what was last done then is not older than two intervals.
    pub fn is_fresh(&self, done: Timestamp, now: Timestamp) -> bool {
        let oldest = self.before(now).and_then(|last| self.before(last));
        oldest.is_none_or(|oldest| done >= oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn five_fields_are_read_in_utc() {
        let schedule = Schedule::parse("15 3 * * *").unwrap();
        let next = |from| schedule.after(at(from)).unwrap().to_string();
        assert_eq!(next("2026-11-23T03:14:59Z"), "2026-11-23T03:15:00Z");
        assert_eq!(
            next("2026-11-23T03:15:00Z"),
            "2026-11-24T03:15:00Z",
            "not the same again"
        );
        let hourly = Schedule::parse("0 * * * *").unwrap();
        assert_eq!(
            hourly.after(at("2026-03-29T01:30:00Z")),
            Some(at("2026-03-29T02:00:00Z")),
            "no summer time"
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        for bad in [
            "",
            "x",
            "61 * * * *",
            "* * * *",
            "0 0 3 * * *",
            "0 0 3 * * 2027",
            "0 0 30 2 *",
        ] {
            assert!(
                Schedule::parse(bad).is_err_and(|error| !error.is_empty()),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn one_missed_turn_is_forgiven_and_two_are_not() {
        let hourly = Schedule::parse("0 * * * *").unwrap();
        let done = at("2026-11-23T04:00:10Z");
        for (now, fresh) in [
            ("2026-11-23T04:00:11Z", true),
            ("2026-11-23T05:59:59Z", true),
            ("2026-11-23T06:00:01Z", false),
            ("2026-11-24T06:00:00Z", false),
        ] {
            assert_eq!(hourly.is_fresh(done, at(now)), fresh, "at {now}");
        }
        let weekly = Schedule::parse("0 4 * * 0").unwrap();
        assert!(weekly.is_fresh(at("2026-11-15T04:00:05Z"), at("2026-11-28T00:00:00Z")));
        assert!(!weekly.is_fresh(at("2026-11-15T04:00:05Z"), at("2026-11-29T04:00:01Z")));
    }
}
