//! Conditions of a status, after the Kubernetes API conventions. Pure: the time is a parameter.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The spec can work and is allowed.
pub const ACCEPTED: &str = "Accepted";
/// Everything that a VaultRole asks for is in place.
pub const READY: &str = "Ready";
/// All ten rules for production are met or waived.
pub const PRODUCTION_READY: &str = "ProductionReady";

/// The longest message that the API server takes is 32768 bytes; a person reads much less.
const MAX_MESSAGE: usize = 2048;

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known at present.
    Unknown,
}

impl Status {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets the condition `type_`. The transition time moves only when the status changes, so that an unchanged
/// observation makes an equal list. `reason` is CamelCase; `message` is for a person and names the remedy.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Status,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let last_transition_time = match get(conditions, type_) {
        Some(old) if old.status == status.as_str() => old.last_transition_time.clone(),
        // The API keeps whole seconds: a finer value would differ from what is read back.
        _ => Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
    };
    let new = Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: shorten(message),
        observed_generation: generation,
        last_transition_time,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Removes the condition `type_`, if it is there.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// The condition `type_`.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition `type_` is there and true.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Conditions in the making: all speak of one generation, at one moment.
pub struct Draft {
    list: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Draft {
    /// Begins with the conditions that are there.
    pub fn new(list: Vec<Condition>, generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            list,
            generation,
            now,
        }
    }

    /// Sets the condition `type_`, as [`set`] does.
    pub fn set(&mut self, type_: &str, status: impl Into<Status>, reason: &str, message: &str) {
        let (generation, now) = (self.generation, self.now);
        set(
            &mut self.list,
            type_,
            status.into(),
            reason,
            message,
            generation,
            now,
        );
    }

    /// Sets the condition `type_` to true where there is something to say, and removes it otherwise.
    pub fn set_while(&mut self, type_: &str, reason: &str, message: Option<&str>) {
        match message {
            Some(message) => self.set(type_, true, reason, message),
            None => self.remove(type_),
        }
    }

    /// Removes the condition `type_`, if it is there.
    pub fn remove(&mut self, type_: &str) {
        remove(&mut self.list, type_);
    }

    /// Whether the condition `type_` is there and true.
    pub fn is_true(&self, type_: &str) -> bool {
        is_true(&self.list, type_)
    }

    /// Whether the condition `type_` speaks of another generation, or is not there.
    pub fn is_outdated(&self, type_: &str) -> bool {
        get(&self.list, type_).is_none_or(|known| known.observed_generation != self.generation)
    }

    /// Whether there is a condition `type_`.
    pub fn has(&self, type_: &str) -> bool {
        get(&self.list, type_).is_some()
    }

    /// All of them.
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

fn shorten(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let end = (0..=MAX_MESSAGE)
        .rev()
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_changes() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            READY,
            Status::False,
            "Waiting",
            "first",
            Some(1),
            at(100),
        );
        set(
            &mut conditions,
            READY,
            Status::False,
            "Sealed",
            "second",
            Some(2),
            at(200),
        );
        let condition = get(&conditions, READY).unwrap();
        assert_eq!(
            condition.last_transition_time,
            Time(at(100)),
            "still False since 100"
        );
        assert_eq!(
            (condition.reason.as_str(), condition.observed_generation),
            ("Sealed", Some(2))
        );

        set(
            &mut conditions,
            READY,
            Status::True,
            "InPlace",
            "third",
            Some(2),
            at(300),
        );
        assert_eq!(
            get(&conditions, READY).unwrap().last_transition_time,
            Time(at(300)),
            "True since 300"
        );
        assert_eq!(conditions.len(), 1, "one condition per type");
    }

    #[test]
    fn an_unchanged_observation_makes_an_equal_list() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            READY,
            Status::True,
            "InPlace",
            "",
            Some(1),
            at(100),
        );
        let before = conditions.clone();
        set(
            &mut conditions,
            READY,
            Status::True,
            "InPlace",
            "",
            Some(1),
            at(999),
        );
        assert_eq!(
            conditions, before,
            "nothing may differ, or the status is written for ever"
        );
    }

    #[test]
    fn the_time_is_kept_in_whole_seconds_as_the_api_server_stores_it() {
        let mut conditions = Vec::new();
        let fine = Timestamp::from_millisecond(100_500).unwrap();
        set(&mut conditions, READY, Status::True, "InPlace", "", None, fine);
        assert_eq!(
            get(&conditions, READY).unwrap().last_transition_time,
            Time(at(100))
        );
    }

    #[test]
    fn a_condition_that_is_absent_is_not_true() {
        let mut conditions = Vec::new();
        assert!(!is_true(&conditions, READY), "absent");
        set(&mut conditions, READY, Status::Unknown, "R", "", None, at(1));
        assert!(!is_true(&conditions, READY), "unknown");
        set(&mut conditions, READY, Status::from(true), "R", "", None, at(1));
        assert!(is_true(&conditions, READY), "true");
        remove(&mut conditions, READY);
        assert!(conditions.is_empty(), "removed");
    }

    #[test]
    fn an_endless_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            READY,
            Status::False,
            "R",
            &"ä".repeat(5000),
            None,
            at(1),
        );
        let message = &get(&conditions, READY).unwrap().message;
        assert!(
            message.len() <= MAX_MESSAGE + 4 && message.ends_with('…'),
            "{} bytes",
            message.len()
        );
    }
}
