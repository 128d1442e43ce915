//! From the configuration to what is done after a change. Pure.
//!
//! There is no shell in our image: a command without shell syntax is started as it is, the usual ways to signal a process
//! are built in, and only the rest is given to a shell.

use std::time::Duration;

use super::hint::{Hint, hint};
use crate::config::{AfterChange, Command, Environment, Run};

/// One thing to do. Equal ones that are due at once are done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a program and wait for its end.
    Start(Start),
    /// Signal processes.
    Signal(Hint),
    /// Call a URL.
    Call(Call),
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The program and its arguments.
    pub(crate) arguments: Vec<String>,
    /// Whether the program is a shell that the command's text is given to.
    pub(crate) by_shell: bool,
    /// After this time it is killed with all that it started.
    pub(crate) timeout: Duration,
    /// Its variables.
    pub(crate) environment: Environment,
}

/// A call to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// `GET`, `POST` or `PUT`.
    pub(crate) method: String,
    /// `http://…`
    pub(crate) url: String,
    pub(crate) timeout: Duration,
}

/// The program that runs shell syntax.
const SHELL: &str = "sh";

/// All that is done after a file changed; `is_first` when there was none before.
///
/// Vault Agent runs commands after the first rendering, too, and people convert files with them: so do we. The other ways
/// to tell an application are for one that runs already, and the first rendering comes before that.
pub(crate) fn actions(run: Option<&Run>, after: Option<&AfterChange>, is_first: bool) -> Vec<Action> {
    let asked = after.and_then(|after| after.on_first_render);
    let mut actions = Vec::new();
    if let Some(run) = run.filter(|_| !is_first || asked.unwrap_or(true)) {
        let mut action = command(run);
        if let Action::Signal(hint) = &mut action {
            // An application that is not there yet reads the file when it starts.
            hint.may_miss |= is_first;
        }
        actions.push(action);
    }
    if let Some(after) = after.filter(|_| !is_first || asked.unwrap_or(false)) {
        let AfterChange {
            signal,
            call,
            on_first_render: _,
        } = after;
        actions.extend(signal.clone().map(Action::Signal));
        actions.extend(call.clone().map(Action::Call));
    }
    actions
}

/// What a command means.
fn command(run: &Run) -> Action {
    let Run {
        command,
        timeout,
        environment,
    } = run;
    let start = |arguments: Vec<String>, by_shell| {
        Action::Start(Start {
            arguments,
            by_shell,
            timeout: *timeout,
            environment: environment.clone(),
        })
    };
    let (line, arguments) = match command {
        Command::Arguments(arguments) => (script(arguments), Some(arguments.clone())),
        Command::Line(line) => match words(line) {
            Some(words) => (script(&words).or(Some(line.as_str().to_owned())), Some(words)),
            None => (Some(line.clone()), None),
        },
    };
    if let Some(hint) = line.as_deref().and_then(hint) {
        return Action::Signal(hint);
    }
    match (arguments, command) {
        (Some(arguments), _) => {
            let by_shell = arguments.first().is_some_and(|program| is_shell(program));
            start(arguments, by_shell)
        }
        (None, Command::Line(line)) => start(vec![SHELL.to_owned(), "-c".to_owned(), line.clone()], true),
        (None, Command::Arguments(arguments)) => start(arguments.clone(), false),
    }
}

fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    ["sh", "bash", "ash", "dash", "busybox"].contains(&name)
}

/// The text that `sh -c TEXT` runs.
fn script(arguments: &[String]) -> Option<String> {
    match arguments {
        [shell, option, text] if is_shell(shell) && option == "-c" => Some(text.clone()),
        _ => None,
    }
}

/// Words that only a shell knows.
const BUILT_IN: [&str; 23] = [
    ".", "alias", "case", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "read", "readonly",
    "return", "set", "shift", "source", "trap", "ulimit", "umask", "unset", "until", "while",
];

/// The words of a command, `None` where it takes a shell to tell them.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == character => break,
                        '$' | '`' | '\\' if character == '"' => return None,
                        other => word.push(other),
                    }
                }
            }
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '\\' | '*' | '?' | '[' | ']' | '{'
            | '}' | '\n' | '\r' => return None,
            '#' | '~' | '!' if word.is_none() => return None,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    let first = words.first()?;
    let is_program = !first.contains('=') && !BUILT_IN.contains(&first.as_str());
    is_program.then_some(words)
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::*;
    use crate::after::hint::Whom;

    fn run(command: Command) -> Run {
        Run {
            command,
            timeout: Duration::from_secs(30),
            environment: Environment::default(),
        }
    }

    fn of(command: Command) -> Action {
        super::command(&run(command))
    }

    fn line(text: &str) -> Action {
        of(Command::Line(text.to_owned()))
    }

    fn started(action: &Action) -> (Vec<&str>, bool) {
        match action {
            Action::Start(start) => (
                start.arguments.iter().map(String::as_str).collect(),
                start.by_shell,
            ),
            other => panic!("a program must be started, not {other:?}"),
        }
    }

    #[test]
    fn a_command_without_shell_syntax_is_started_as_it_is() {
        for (text, words) in [
            ("/bin/reload", vec!["/bin/reload"]),
            ("reload --now  -x=1", vec!["reload", "--now", "-x=1"]),
            (
                "reload 'two words' \"a;b\" ''",
                vec!["reload", "two words", "a;b", ""],
            ),
            (
                "curl -X POST http://127.0.0.1:80/a#b",
                vec!["curl", "-X", "POST", "http://127.0.0.1:80/a#b"],
            ),
        ] {
            assert_eq!(started(&line(text)), (words, false), "{text}");
        }
    }

    #[test]
    fn shell_syntax_is_given_to_a_shell() {
        for text in [
            "a | b",
            "a && b",
            "a; b",
            "a > f",
            "a $B",
            "a \"$B\"",
            "a `b`",
            "a *.conf",
            "A=1 b",
            "cd /x",
            "a 'open",
            "a \\b",
            "! a",
            "~/a",
            "kill -HUP $(pidof a b)",
            "kill -HUP $(pidof a) && echo done",
        ] {
            assert_eq!(started(&line(text)), (vec!["sh", "-c", text], true), "{text}");
        }
        let given = ["/bin/bash", "-c", "a | b"].map(str::to_owned).to_vec();
        assert_eq!(
            started(&of(Command::Arguments(given))),
            (vec!["/bin/bash", "-c", "a | b"], true),
            "a shell that was asked for"
        );
        let given = ["a", "$B"].map(str::to_owned).to_vec();
        assert_eq!(
            started(&of(Command::Arguments(given))),
            (vec!["a", "$B"], false),
            "a list is never given to a shell"
        );
    }

    #[test]
    fn the_usual_ways_to_signal_a_process_are_built_in() {
        let name = |name: &str| Whom::Name(name.to_owned());
        for (text, signal, to, may_miss) in [
            ("kill -HUP 1", Signal::HUP, Whom::Pid(1), false),
            ("/bin/kill -s USR1 7", Signal::USR1, Whom::Pid(7), false),
            ("kill 7", Signal::TERM, Whom::Pid(7), false),
            ("kill -HUP $(pidof nginx)", Signal::HUP, name("nginx"), false),
            ("kill -1 `pidof nginx` || true", Signal::HUP, name("nginx"), true),
            (
                "kill -SIGHUP \"$(pgrep -x app)\" 2>/dev/null || true;",
                Signal::HUP,
                name("app"),
                true,
            ),
            (
                "kill -HUP $(cat /run/app.pid)",
                Signal::HUP,
                Whom::PidFile("/run/app.pid".into()),
                false,
            ),
            ("pkill -HUP app", Signal::HUP, Whom::Part("app".to_owned()), false),
            ("pkill --signal=USR2 -x app", Signal::USR2, name("app"), false),
            ("killall -q -HUP app", Signal::HUP, name("app"), false),
            (
                "sh -c 'kill -HUP $(pidof app) || true'",
                Signal::HUP,
                name("app"),
                true,
            ),
            (
                "/bin/sh -c \"pkill -HUP app\"",
                Signal::HUP,
                Whom::Part("app".to_owned()),
                false,
            ),
        ] {
            let wanted = Action::Signal(Hint { signal, to, may_miss });
            assert_eq!(line(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_signal_is_left_to_the_program() {
        for text in [
            "kill -9 -1",
            "kill -HUP 0",
            "kill -l",
            "killall5 -9",
            "pkill -u app",
            "kill -HUP %1",
            "pkill -f 'a.*b'",
        ] {
            assert!(
                matches!(line(text), Action::Start(_)),
                "{text} must not be a signal of ours"
            );
        }
    }

    #[test]
    fn at_the_first_rendering_commands_run_and_a_running_application_is_not_looked_for() {
        let hint = Hint {
            signal: Signal::HUP,
            to: Whom::Name("app".to_owned()),
            may_miss: false,
        };
        let after = |on_first_render| AfterChange {
            signal: Some(hint.clone()),
            call: None,
            on_first_render,
        };
        let run = run(Command::Line("convert".to_owned()));
        let count =
            |on_first_render, is_first| actions(Some(&run), Some(&after(on_first_render)), is_first).len();
        assert_eq!(count(None, false), 2, "after a change everything is done");
        assert_eq!(count(None, true), 1, "the command alone at the first rendering");
        assert_eq!(count(Some(true), true), 2, "everything when asked");
        assert_eq!(count(Some(false), true), 0, "nothing when asked not to");
        assert_eq!(count(Some(false), false), 2, "which is about the first one only");
    }

    #[test]
    fn a_signal_by_command_may_find_nobody_at_the_first_rendering() {
        let run = run(Command::Line("kill -HUP $(pidof app)".to_owned()));
        for (is_first, wanted) in [(true, true), (false, false)] {
            let actions = actions(Some(&run), None, is_first);
            let [Action::Signal(hint)] = actions.as_slice() else {
                panic!("one signal was expected: {actions:?}")
            };
            assert_eq!(hint.may_miss, wanted, "is_first is {is_first}");
        }
    }

    mod any_text {
        use proptest::prelude::*;

        /// What commands are made of.
        const PARTS: [&str; 24] = [
            "kill",
            "pkill",
            "killall",
            "-HUP",
            "-s",
            "-x",
            "--signal",
            "1",
            "-1",
            "$(pidof app)",
            "$(cat /a)",
            "`pidof app`",
            "app",
            "|| true",
            "2>/dev/null",
            "sh",
            "-c",
            "'",
            "\"",
            ";",
            "|",
            " ",
            "ä",
            "\\",
        ];

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(2000))]

            #[test]
            fn no_command_makes_it_panic_or_signal_everybody(parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..12)) {
                let text = parts.join(" ");
                if let super::Action::Signal(hint) = super::line(&text)
                    && let super::Whom::Pid(pid) = hint.to
                {
                    prop_assert!(pid > 0, "{} names a group", text);
                }
            }
        }
    }
}
