//! Signals as people write them in commands, which take no shell and no program here. Pure.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::signals;

/// A signal and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) signal: Signal,
    pub(crate) to: Whom,
    /// Nobody being there is no failure (`|| true`).
    pub(crate) may_miss: bool,
}

/// Processes of the agent's own user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whom {
    /// By number.
    Pid(i32),
    /// By the number in a file.
    PidFile(PathBuf),
    /// All with this name.
    Name(String),
    /// All whose name holds this.
    Part(String),
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::PidFile(path) => write!(f, "the process that {} names", path.display()),
            Self::Name(name) => write!(f, "processes called {name}"),
            Self::Part(part) => write!(f, "processes with {part} in their name"),
        }
    }
}

/// A signal, as people write it: `kill -HUP 1`, `kill -HUP $(pidof app)`, `kill -1 $(cat FILE)`, `pkill -HUP app`,
/// `killall -HUP app`, each also with `|| true` behind it.
pub(super) fn hint(line: &str) -> Option<Hint> {
    let mut line = line.trim();
    let mut may_miss = false;
    loop {
        let shorter = line.trim_end_matches([';', ' ']);
        let lenient = ["|| true", "||true", "|| :", "|| exit 0"];
        if let Some(rest) = lenient.iter().find_map(|end| shorter.strip_suffix(end)) {
            may_miss = true;
            line = rest.trim();
            continue;
        }
        let quiet = [
            "2>/dev/null",
            "2> /dev/null",
            ">/dev/null 2>&1",
            "> /dev/null 2>&1",
            ">/dev/null",
        ];
        let Some(rest) = quiet.iter().find_map(|end| shorter.strip_suffix(end)) else {
            line = shorter;
            break;
        };
        line = rest.trim();
    }
    let (program, mut rest) = line.split_once([' ', '\t'])?;
    let program = program.rsplit('/').next().unwrap_or(program);
    if !["kill", "pkill", "killall"].contains(&program) {
        return None;
    }
    let mut signal = Signal::TERM;
    let mut is_exact = program == "killall";
    loop {
        rest = rest.trim_start();
        let Some(option) = rest.strip_prefix('-') else {
            break;
        };
        let (option, after) = option.split_once([' ', '\t'])?;
        match option {
            "s" | "-signal" => {
                let (name, after) = after.trim_start().split_once([' ', '\t'])?;
                signal = signals::parse(name)?;
                rest = after;
                continue;
            }
            "x" if program == "pkill" => is_exact = true,
            "q" if program == "killall" => {}
            _ => signal = signals::parse(option.strip_prefix("-signal=").unwrap_or(option))?,
        }
        rest = after;
    }
    let rest = rest.trim();
    let to = match program {
        "kill" => target(rest)?,
        _ if !is_plain(rest) => return None,
        _ if is_exact => Whom::Name(rest.to_owned()),
        _ => Whom::Part(rest.to_owned()),
    };
    Some(Hint { signal, to, may_miss })
}

/// What stands behind `kill`.
fn target(text: &str) -> Option<Whom> {
    if let Ok(pid) = text.parse::<i32>() {
        // Zero and less name groups, and everybody.
        return (pid > 0).then_some(Whom::Pid(pid));
    }
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let inner = text
        .strip_prefix("$(")
        .and_then(|text| text.strip_suffix(')'))
        .or_else(|| text.strip_prefix('`').and_then(|text| text.strip_suffix('`')))?;
    let words: Vec<&str> = inner.split_whitespace().collect();
    match words.as_slice() {
        ["pidof", name] | ["pgrep", "-x", name] | ["pidof", "-s", name] if is_plain(name) => {
            Some(Whom::Name((*name).to_owned()))
        }
        ["pgrep", part] if is_plain(part) => Some(Whom::Part((*part).to_owned())),
        ["cat", file] if is_path(file) => Some(Whom::PidFile(PathBuf::from(file))),
        _ => None,
    }
}

/// A name in which neither a shell nor a regular expression sees anything.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-/".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}
