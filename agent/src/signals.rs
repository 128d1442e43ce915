//! Signals by name and number, and which of them are passed on to a program that the agent runs.

use rustix::process::Signal;

/// Signals by their names.
const NAMED: [(&str, Signal); 29] = [
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("BUS", Signal::BUS),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("IO", Signal::IO),
    ("IOT", Signal::ABORT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("PROF", Signal::PROF),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("STOP", Signal::STOP),
    ("SYS", Signal::SYS),
    ("TERM", Signal::TERM),
    ("TRAP", Signal::TRAP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
];

/// What arrives at us and is meant for the program that we run.
pub(crate) const FORWARDED: [Signal; 9] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::WINCH,
];

/// A signal by its name with or without `SIG`, in any case, or by its number.
pub(crate) fn parse(text: &str) -> Option<Signal> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = text.parse::<i32>().ok();
    let mut found = NAMED
        .iter()
        .filter(|(known, signal)| *known == name || Some(signal.as_raw()) == number);
    found.next().map(|(_, signal)| *signal)
}

/// `SIGHUP`, for logs.
pub(crate) fn name(signal: Signal) -> String {
    let known = NAMED.iter().find(|(_, known)| *known == signal);
    known.map_or_else(|| signal.as_raw().to_string(), |(name, _)| format!("SIG{name}"))
}

/// Whether a program that gets it is to end.
pub(crate) fn asks_to_end(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::KILL].contains(&signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_with_and_without_its_prefix_and_a_number() {
        for text in ["HUP", "SIGHUP", "hup", "sighup", "1"] {
            assert_eq!(parse(text), Some(Signal::HUP), "{text}");
        }
        for text in ["", "SIG", "HUPP", "0", "-1", "99"] {
            assert_eq!(parse(text), None, "{text:?} must be refused");
        }
        assert_eq!(name(Signal::USR1), "SIGUSR1");
    }
}
