use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Instant;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn program(arguments: &[&str], timeout: Duration) -> Action {
    Action::Start(Start {
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        by_shell: false,
        timeout,
        environment: Environment::default(),
    })
}

fn shell(text: &str, timeout: Duration) -> Action {
    program(&["/bin/sh", "-c", text], timeout)
}

#[tokio::test]
async fn a_program_is_done_when_it_ends_with_success() {
    let children = Children::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let text = format!("echo hunter2; echo done >{}", file.display());
    perform(&children, &shell(&text, LIMIT)).await.unwrap();
    assert_eq!(fs::read_to_string(file).unwrap(), "done\n");
    let error = perform(&children, &shell("exit 3", LIMIT))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "it ended with exit code 3");
    let error = perform(&children, &program(&["/nonexistent"], LIMIT)).await;
    assert!(
        matches!(error, Err(ActError::NoProgram)),
        "the program is missing: {error:?}"
    );
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_all_that_it_started() {
    let children = Children::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let text = format!("sleep 600 & echo $! >{}; wait", file.display());
    let begin = Instant::now();
    let error = perform(&children, &shell(&text, Duration::from_millis(500))).await;
    assert!(
        matches!(error, Err(ActError::Late(_))),
        "it must be late: {error:?}"
    );
    assert!(begin.elapsed() < LIMIT, "the time limit was not kept");
    let pid: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let end = Instant::now() + LIMIT;
    // It is nobody's child of ours any more: gone, or a zombie until its new parent has looked.
    let is_alive = || {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim().starts_with('Z'))
    };
    while is_alive() {
        assert!(Instant::now() < end, "process {pid} was left running");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_program_gets_the_variables_that_it_may_have() {
    let children = Children::new();
    let action = |environment, text: &str| {
        Action::Start(Start {
            arguments: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            by_shell: true,
            timeout: LIMIT,
            environment,
        })
    };
    let pristine = Environment {
        pristine: true,
        custom: vec!["A=1=2".to_owned()],
        ..Environment::default()
    };
    let text = "test \"$A\" = 1=2 && test -z \"$CARGO_MANIFEST_DIR\"";
    perform(&children, &action(pristine, text)).await.unwrap();
    let allowed = Environment {
        allowlist: vec!["CARGO_*".to_owned()],
        denylist: vec!["*_NAME".to_owned()],
        ..Environment::default()
    };
    let text = "test -n \"$CARGO_MANIFEST_DIR\" && test -z \"$CARGO_PKG_NAME$HOME\"";
    perform(&children, &action(allowed, text)).await.unwrap();
    perform(
        &children,
        &action(Environment::default(), "test -n \"$CARGO_PKG_NAME\""),
    )
    .await
    .unwrap();
}

#[test]
fn a_pattern_fits_any_text_in_its_stars() {
    for (name, pattern, is_fit) in [
        ("HOME", "HOME", true),
        ("HOME", "HOM", false),
        ("HOME", "*", true),
        ("HOME", "H*E", true),
        ("HOME", "*M*", true),
        ("HOME", "H*X", false),
        ("", "*", true),
        ("ÄB", "*B", true),
    ] {
        assert_eq!(fits(name, pattern), is_fit, "{name} and {pattern}");
    }
}

#[tokio::test]
async fn a_signal_reaches_the_process_that_was_meant() {
    let children = Children::new();
    let folder = tempfile::tempdir().unwrap();
    // A program of a name that no other process has.
    let name = format!("vk-test-{}", std::process::id());
    let path = folder.path().join(&name);
    std::os::unix::fs::symlink("/bin/sleep", &path).unwrap();
    let hint = |to, may_miss| {
        Action::Signal(Hint {
            signal: Signal::USR1,
            to,
            may_miss,
        })
    };
    let nobody = Whom::Name(name.clone());
    let error = perform(&children, &hint(nobody.clone(), false))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("shareProcessNamespace"), "no remedy: {error}");
    perform(&children, &hint(nobody, true)).await.unwrap();

    let file = folder.path().join("pid");
    for kind in ["name", "part", "pid", "file"] {
        let pid = children
            .start(Command::new(&path).arg("600").process_group(0))
            .unwrap();
        let _group = Group(Some(pid));
        fs::write(&file, format!("{}\n", pid.as_raw_pid())).unwrap();
        let to = match kind {
            "name" => Whom::Name(name.clone()),
            "part" => Whom::Part(name[3..].to_owned()),
            "pid" => Whom::Pid(pid.as_raw_pid()),
            _ => Whom::PidFile(file.clone()),
        };
        // The new process has its own name only once it has become the program.
        let end = Instant::now() + LIMIT;
        while perform(&children, &hint(to.clone(), false)).await.is_err() {
            assert!(Instant::now() < end, "nobody was found by {kind}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ending = timeout(LIMIT, children.ended(pid)).await.unwrap().unwrap();
        assert_eq!(ending, Ending::Signal(Signal::USR1.as_raw()), "by {kind}");
    }
}

#[tokio::test]
async fn we_never_signal_ourselves() {
    let children = Children::new();
    let own = getpid().as_raw_pid();
    let action = Action::Signal(Hint {
        signal: Signal::KILL,
        to: Whom::Pid(own),
        may_miss: false,
    });
    let error = perform(&children, &action).await;
    assert!(
        matches!(error, Err(ActError::Nobody(_))),
        "we must not be found: {error:?}"
    );
}

#[test]
fn a_shell_that_is_missing_is_known_before_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let action = Action::Start(Start {
        arguments: ["sh", "-c", "a | b"].map(str::to_owned).to_vec(),
        by_shell: true,
        timeout: LIMIT,
        environment: Environment::default(),
    });
    assert!(matches!(
        shell_problem(&action, Some(&path)),
        Some(ActError::NoShell)
    ));
    let there = format!("{path}:/bin:/usr/bin");
    assert!(
        shell_problem(&action, Some(&there)).is_none(),
        "there is a shell on this machine"
    );
    assert!(
        shell_problem(&program(&["a"], LIMIT), Some(&path)).is_none(),
        "no shell is needed"
    );
}

/// Answers one request with this status, and returns its first line.
fn serve(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://user:hunter2@{}/-/reload?token=hunter2",
        listener.local_addr().unwrap()
    );
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 512];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the request ended too early");
            request.extend_from_slice(&buffer[..count]);
        }
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        String::from_utf8_lossy(&request)
            .lines()
            .next()
            .unwrap_or("")
            .to_owned()
    });
    (url, thread)
}

#[tokio::test]
async fn a_call_is_done_when_the_answer_is_a_success() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let children = Children::new();
    for (status, is_done) in [("204 No Content", true), ("302 Found", false), ("500 Oh", false)] {
        let (url, served) = serve(status);
        let action = Action::Call(Call {
            method: "POST".to_owned(),
            url,
            timeout: LIMIT,
        });
        let result = perform(&children, &action).await;
        assert_eq!(served.join().unwrap(), "POST /-/reload?token=hunter2 HTTP/1.1");
        assert_eq!(result.is_ok(), is_done, "{status}: {result:?}");
        let result = perform(&children, &action).await.unwrap_err();
        let shown = format!("{action} {}", crate::logging::Chain(&result));
        assert!(!shown.contains("hunter2"), "a secret is shown: {shown}");
        assert!(
            shown.contains("POST 127.0.0.1:"),
            "the call is not named: {shown}"
        );
    }
}

#[test]
fn only_the_program_of_a_command_is_shown() {
    let action = program(&["reload", "--password=hunter2"], LIMIT);
    assert_eq!(action.to_string(), "command reload");
    let hint = Action::Signal(Hint {
        signal: Signal::HUP,
        to: Whom::PidFile(PathBuf::from("/run/app.pid")),
        may_miss: false,
    });
    assert_eq!(hint.to_string(), "SIGHUP to the process that /run/app.pid names");
}
