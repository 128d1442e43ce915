//! What the agent does after a change: commands, signals, calls, gathered changes; rendering once; checking.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::ensure;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;

use crate::TESTBED;
use crate::agent_support::{Agent, DEADLINE, Rig, program, wait_for};
use crate::client_support::solo;

async fn rig(name: &str) -> (Rig, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), TokenParams::default()).await;
    rig.write_secret("one").await;
    (rig, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_after_each_change_and_once_for_several_files() {
    let (rig, run) = rig("command").await;
    let out = rig.folder().join("out");
    let command = format!("cat {} >>{}", rig.file().display(), out.display());
    let mut config = rig.config(&rig.template());
    config["template"][0]["command"] = command.clone().into();
    let second = rig.folder().join("secrets/second.conf");
    config["template"].as_array_mut().unwrap().push(json!({
        "contents": rig.template(), "destination": second, "command": command,
    }));
    let agent = rig.start(&config, &run);
    wait_for(&out, "app:one:5432");
    rig.write_secret("two").await;
    wait_for(&out, "app:one:5432app:two:5432");
    wait_for(&second, "app:two:5432");
    drop(agent);
    let again = Agent::start("command-again", &config, &run);
    again.wait_for("logged in", 1);
    rig.write_secret("three").await;
    wait_for(&out, "app:one:5432app:two:5432app:three:5432");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_keeps_nothing_else_waiting_and_is_killed() {
    let (rig, run) = rig("hang").await;
    let pid = rig.folder().join("pid");
    let mut config = rig.config(&rig.template());
    config["template"][0]["exec"] = json!({"command": ["/bin/sh", "-c", format!("echo $$ >{}; sleep 600 & wait", pid.display())], "timeout": "20s"});
    let agent = rig.start(&config, &run);
    wait::until("the command to hang", DEADLINE, || {
        ensure!(!fs::read_to_string(&pid)?.trim().is_empty(), "it has not begun");
        Ok(())
    })
    .unwrap();
    rig.write_secret("two").await;
    rig.wait_for("app:two:5432");
    agent.wait_for("took longer than 20 s and was killed", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_application_is_signalled_and_one_that_is_not_there_yet_keeps_nobody_waiting() {
    let (rig, run) = rig("hint").await;
    // A program of a name that no other process has.
    let name = format!("vk-app-{}", std::process::id());
    let program = rig.folder().join(&name);
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    let out = rig.folder().join("out");
    let mut config = rig.config(&rig.template());
    config["template"][0]["command"] = format!("kill -HUP $(pidof {name})").into();
    let agent = rig.start(&config, &run);
    rig.wait_for("app:one:5432");

    let script = "trap 'echo hup >>\"$1\"' HUP; echo up >\"$1\"; while :; do sleep 0.05; done";
    let app = Command::new(&program)
        .args(["-c", script, "sh"])
        .arg(&out)
        .process_group(0)
        .spawn()
        .unwrap();
    let app = Group(app);
    wait_for(&out, "up\n");
    rig.write_secret("two").await;
    wait_for(&out, "up\nhup\n");
    assert_eq!(
        agent.count("not done after a change"),
        0,
        "nobody was missing:\n{}",
        agent.log()
    );
    drop(app);
    rig.write_secret("three").await;
    agent.wait_for("shareProcessNamespace", 1);
    rig.wait_for("app:three:5432");
}

/// A process group that does not outlive its test.
struct Group(std::process::Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_called_after_a_change_until_it_answers_well() {
    let (rig, run) = rig("call").await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for status in ["503 Busy", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            let line = String::from_utf8_lossy(&buffer[..count])
                .lines()
                .next()
                .unwrap_or("")
                .to_owned();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            sender.send(line).unwrap();
        }
    });
    let mut config = rig.config(&rig.template());
    config["template"][0]["after_change"] =
        json!({"url": format!("http://{address}/-/reload"), "method": "PUT"});
    let _agent = rig.start(&config, &run);
    rig.wait_for("app:one:5432");
    assert!(requests.try_recv().is_err(), "the first rendering is no change");
    rig.write_secret("two").await;
    for answer in ["the first", "after a failure"] {
        let request = requests.recv_timeout(DEADLINE).expect(answer);
        assert_eq!(request, "PUT /-/reload HTTP/1.1", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_gathered_where_a_wait_is_set() {
    let (rig, run) = rig("gather").await;
    let mut config = rig.config(&rig.template());
    config["template"][0]["wait"] = json!({"min": "6s", "max": "60s"});
    let agent = rig.start(&config, &run);
    rig.wait_for("app:one:5432");
    for password in ["two", "three"] {
        rig.write_secret(password).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    rig.wait_for("app:three:5432");
    agent.wait_for("rendered file=", 2);
    assert_eq!(
        agent.count("rendered file="),
        2,
        "the first and the last:\n{}",
        agent.log()
    );
}

fn agent(config: &Value, arguments: &[&str]) -> Command {
    use base64::Engine as _;
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/bin:/usr/bin")
        .env(
            "VAULT_CONFIG",
            base64::engine::general_purpose::STANDARD.encode(config.to_string()),
        );
    command
}

fn output(config: &Value, arguments: &[&str]) -> Output {
    agent(config, arguments).stdin(Stdio::null()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rendering_once_ends_when_files_are_written_and_commands_are_done() {
    let (rig, _run) = rig("render-once").await;
    let out = rig.folder().join("out");
    let mut config = rig.config(&rig.template());
    config["template"][0]["command"] = format!("sleep 1; echo done >{}", out.display()).into();
    let done = output(&config, &["render", "-once"]);
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    wait_for(&rig.file(), "app:one:5432");
    assert_eq!(
        fs::read_to_string(&out).unwrap(),
        "done\n",
        "the command was not waited for"
    );

    fs::remove_file(rig.file()).unwrap();
    config["template"][0]["command"] = "exit 3".into();
    let failed = output(&config, &["render", "-once"]);
    assert_eq!(failed.status.code(), Some(1), "a command that fails is a failure");

    config["template"][0]["contents"] = "{{ with secret \"kv-render-once/data/none\" }}x{{ end }}".into();
    let late = output(&config, &["render", "-once", "-timeout=3s"]);
    assert_eq!(
        late.status.code(),
        Some(75),
        "{}",
        String::from_utf8_lossy(&late.stderr)
    );
    assert!(
        String::from_utf8_lossy(&late.stderr).contains("app.conf"),
        "what is missing is not named"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn checking_lists_all_mistakes_and_talks_to_nobody() {
    let config = json!({
        "vault": {"address": "http://127.0.0.1:1"},
        "auto_auth": {"method": {"type": "kubernetes", "config": {"role": "app"}}},
        "template": [
            {"contents": "{{ with }}", "destination": "/vault/secrets/a", "perms": "0440"},
            {"contents": "{{ nothing }}", "destination": "/vault/secrets/a"},
        ],
        "unheard": 1,
    });
    let checked = output(&config, &["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{text}");
    for part in [
        "error: the template for /vault/secrets/a",
        "unheard",
        "another template",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    assert_eq!(
        text.matches("error: the template").count(),
        2,
        "each template is looked at:\n{text}"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.json");
    let mut good = config.clone();
    good["template"] = json!([{"contents": "x", "destination": "/vault/secrets/a"}]);
    fs::write(&file, good.to_string()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    let checked = output(&config, &["check", &file.display().to_string()]);
    assert_eq!(
        checked.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );

    let mut wrong = config;
    wrong["template"] = json!([{"contents": "x", "perms": "9"}]);
    wrong["vault"]["address"] = 5.into();
    let checked = output(&wrong, &["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    for part in ["vault.address", "template[0].destination", "template[0].perms"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}
