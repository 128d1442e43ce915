//! What is seen of the agent from outside: its listener, and that no secret is seen anywhere but where it belongs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use vaultkeeper_tests::process::ProcessSpec;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;

use crate::TESTBED;
use crate::agent_support::{Agent, DEADLINE, Rig, program};
use crate::client_support::solo;

async fn rig(name: &str, password: &str) -> (Rig, OwnedRun) {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let rig = Rig::new(name, &solo.root, &solo.ca_pem, run.path(), TokenParams::default()).await;
    rig.write_secret(password).await;
    (rig, run)
}

fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

fn with_listener(mut config: Value, address: &str) -> Value {
    config["listener"] = json!([{"tcp": {
        "address": address, "tls_disable": true, "agent_api": {"enable_quit": true},
    }}]);
    config
}

fn ask(address: &str, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).context("nobody listens")?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_for_page(address: &str, request: &str, text: &str) -> String {
    wait::until(&format!("{request} with {text:?}"), DEADLINE, || {
        let answer = ask(address, request)?;
        ensure!(answer.contains(text), "it is {answer}");
        Ok(answer)
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_tells_how_the_agent_is() {
    let (rig, run) = rig("pages", "one").await;
    let address = free_address();
    let mut config = with_listener(rig.config(&rig.template()), &address);
    let late = rig.folder().join("secrets/late.conf");
    config["template"].as_array_mut().unwrap().push(json!({
        "contents": "{{ with secret \"kv-pages/data/other\" }}x{{ end }}", "destination": late,
    }));
    let _agent = rig.start(&config, &run);
    rig.wait_for("app:one:5432");
    assert!(ask(&address, "GET /healthz").unwrap().starts_with("HTTP/1.1 200"));
    let answer = ask(&address, "GET /readyz").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("late.conf"),
        "{answer}"
    );
    let page = wait_for_page(
        &address,
        "GET /metrics",
        "vaultkeeper_agent_errors_total{kind=\"denied\"} 2",
    );
    for line in [
        "vaultkeeper_agent_logged_in 1",
        "vaultkeeper_agent_logins_total 1",
        "vaultkeeper_agent_token_remaining_seconds ",
    ] {
        assert!(page.contains(line), "{line} is missing:\n{page}");
    }
    let renders = format!(
        "vaultkeeper_agent_renders_total{{file=\"{}\"}}",
        rig.file().display()
    );
    assert!(page.contains(&format!("{renders} 1\n")), "{page}");
    fs::write(&late, "x").unwrap();
    assert!(ask(&address, "GET /readyz").unwrap().starts_with("HTTP/1.1 200"));
    rig.write_secret("two").await;
    wait_for_page(&address, "GET /agent/v1/metrics", &format!("{renders} 2\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn quit_ends_the_agent_or_has_a_native_sidecar_idle() {
    let (rig, run) = rig("quit", "one").await;
    let address = free_address();
    let config = with_listener(rig.config(&rig.template()), &address);
    let agent = rig.start(&config, &run);
    rig.wait_for("app:one:5432");
    assert!(
        ask(&address, "GET /agent/v1/quit")
            .unwrap()
            .starts_with("HTTP/1.1 405")
    );
    assert!(
        ask(&address, "POST /agent/v1/quit")
            .unwrap()
            .starts_with("HTTP/1.1 204")
    );
    wait::until("the agent to end", DEADLINE, || {
        ensure!(!agent.process.is_running(), "it runs");
        Ok(())
    })
    .unwrap();

    let mut config = config;
    config["auto_auth"]["revoke_on_shutdown"] = true.into();
    let spec = ProcessSpec::new("agent-native", program(), &run).env("VAULTKEEPER_NATIVE_SIDECAR", "true");
    let agent = Agent::of(spec, &config, &run);
    agent.wait_for("logged in", 1);
    wait_for_page(&address, "GET /metrics", "vaultkeeper_agent_logged_in 1");
    assert!(
        ask(&address, "POST /agent/v1/quit")
            .unwrap()
            .starts_with("HTTP/1.1 204")
    );
    agent.wait_for("idle until the pod ends", 1);
    wait_for_page(&address, "GET /metrics", "vaultkeeper_agent_logged_in 0");
    assert!(
        ask(&address, "GET /readyz").unwrap().starts_with("HTTP/1.1 200"),
        "its pod stays ready"
    );
    wait::until_async("its token to be revoked", DEADLINE, || async {
        // The first agent's token was not to be revoked.
        ensure!(rig.tokens().await.len() <= 1, "two tokens live");
        Ok(())
    })
    .await
    .unwrap();
    rig.write_secret("two").await;
    agent.process.signal(Signal::TERM).unwrap();
    wait::until("the agent to end", DEADLINE, || {
        ensure!(!agent.process.is_running(), "it runs");
        Ok(())
    })
    .unwrap();
    rig.wait_for("app:one:5432");
}

/// Everything that could leak, whatever its form.
fn forms(secret: &str) -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
    vec![secret.to_owned(), base64.trim_end_matches('=').to_owned()]
}

fn search(what: &str, text: &[u8], secrets: &[String]) {
    for secret in secrets {
        let found = text.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(
            !found,
            "a secret is in {what}:\n{}",
            String::from_utf8_lossy(text)
        );
    }
}

fn search_folder(folder: &Path, but: &[&Path], secrets: &[String]) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if but.contains(&path.as_path()) {
            continue;
        }
        if path.is_dir() {
            search_folder(&path, but, secrets);
        } else {
            search(&path.display().to_string(), &fs::read(&path).unwrap(), secrets);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_seen_where_it_does_not_belong_whatever_fails() {
    for format in ["standard", "json"] {
        let name = format!("marked-{format}");
        let (mark, next) = (
            format!("MARKED-ONE-{format}-7193"),
            format!("MARKED-TWO-{format}-4471"),
        );
        let (rig, run) = rig(&name, &mark).await;
        let address = free_address();
        let sink = rig.folder().join("token");
        let obstacle = rig.folder().join("secrets/.blocked.conf.vaultkeeper");
        fs::create_dir(&obstacle).unwrap();
        let mut config = with_listener(rig.config(&rig.template()), &address);
        config["auto_auth"]["sink"] = json!([{"type": "file", "config": {"path": sink}}]);
        let whole = rig.file().display().to_string();
        config["template"][0]["command"] = format!("cat {whole}; cat {whole} >&2; exit 7").into();
        let with = |text: &str| format!("{{{{ with secret \"kv-{name}/app\" }}}}{text}{{{{ end }}}}");
        let destination = |file: &str| rig.folder().join("secrets").join(file);
        let mut more = vec![
            // Fails while it is rendered, with the value at hand.
            json!({"contents": with("{{ .Data.data.password | parseInt }}"), "destination": destination("broken")}),
            json!({"contents": with("{{ .Data.data.password | parseJSON }}"), "destination": destination("broken-json")}),
            json!({"contents": with("{{ index .Data.data.password 5000 }}"), "destination": destination("broken-index")}),
            json!({"contents": with("{{ .Data.data.password | base64Decode }}"), "destination": destination("broken-base64")}),
            json!({"contents": with("{{ .Data.data.none }}"), "destination": destination("none"), "error_on_missing_key": true}),
            // Cannot be written.
            json!({"contents": with("{{ .Data.data.password }}"), "destination": destination("blocked.conf")}),
            // Cannot be called, started or signalled.
            json!({"contents": with("{{ .Data.data.password }}"), "destination": destination("called"),
                "after_change": {"url": format!("http://{}/", free_address()), "on_first_render": true}}),
            json!({"contents": with("{{ .Data.data.password }} "), "destination": destination("started"),
                "exec": {"command": ["/nonexistent", "x"]}}),
            // Denied, and a write with a secret in it.
            json!({"contents": with(&format!("{{{{ with secret \"kv-{name}/other\" (printf \"a=%s\" .Data.data.password) }}}}{{{{ end }}}}")),
                "destination": destination("denied")}),
        ];
        config["template"].as_array_mut().unwrap().append(&mut more);
        let spec =
            ProcessSpec::new(&format!("agent-{name}"), program(), &run).env("VAULT_LOG_FORMAT", format);
        let agent = Agent::of(spec, &config, &run);
        rig.wait_for(&format!("app:{mark}:5432"));
        for line in [
            "not rendered",
            "not written",
            "not done after a change",
            "no answer",
        ] {
            agent.wait_for(line, 1);
        }
        rig.write_secret(&next).await;
        rig.wait_for(&format!("app:{next}:5432"));
        // A token that dies under its feet, and the login after it.
        for accessor in rig.tokens().await {
            rig.root().revoke_accessor(&accessor).await.unwrap();
        }
        agent.wait_for("logged in", 2);

        let token = wait::until("the new token's file", DEADLINE, || {
            let token = fs::read_to_string(&sink)?;
            ensure!(token.starts_with("hvs."), "it holds no token");
            Ok(token)
        })
        .unwrap();
        let mut secrets = vec!["hvs.".to_owned()];
        for secret in [&mark, &next, &token, &rig.secret_id().to_owned()] {
            secrets.extend(forms(secret));
        }
        search("the log", agent.log().as_bytes(), &secrets);
        search(
            "the metrics",
            ask(&address, "GET /metrics").unwrap().as_bytes(),
            &secrets,
        );
        search(
            "the state",
            ask(&address, "GET /readyz").unwrap().as_bytes(),
            &secrets,
        );
        let proc = format!("/proc/{}", agent.process.pid());
        for file in ["cmdline", "environ"] {
            search(file, &fs::read(format!("{proc}/{file}")).unwrap(), &secrets);
        }
        let places = [
            rig.file(),
            sink.clone(),
            rig.folder().join("secret-id"),
            destination("called"),
            destination("started"),
        ];
        let places: Vec<&Path> = places.iter().map(std::path::PathBuf::as_path).collect();
        search_folder(rig.folder(), &places, &secrets);
        let log = agent.log();
        if format == "json" {
            for line in log.lines() {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }
}
