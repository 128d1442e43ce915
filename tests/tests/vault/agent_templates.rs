//! The same templates and secrets through the real `vault agent` and through ours: the same bytes, or no file from either.

mod generated;
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use vaultkeeper_template::{Delims, Template};
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::servers::{self, Server};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::sys::mounts::MountRequest;

use crate::TESTBED;
use crate::agent_support::{Agent, DEADLINE, Rig};
use crate::client_support::solo;

/// The secrets that the templates read. Numbers stand as a person writes them: they must come out like that.
const APP: &str = r#"{"data":{"username":"u1","password":"p@ss<&>'\"","port":5432,"big":123456789012345678901234567890,
"f":1.50,"neg":-3,"e":1e3,"t":true,"n":null,"l":["a","b",3,null,true,{"k":"v"}],"s":["x","y","z"],
"m":{"x":"1","y":{"z":[1,2]}},"empty":"","el":[],"em":{},"uni":"héllo wörld ☃ 😀","multi":"l1\nl2\n\nl4",
"cert":"-----BEGIN-----\nabc\n-----END-----\n","yes":"yes","num":"007","json":"{\"a\":1,\"b\":[1,2.5,\"x\"]}",
"tab":"a\tb","csv":"a, b,,c","b64":"aGVsbG8=","long":"word word word word word word word word word word word word word word word word word word word"}}"#;
const OLD: &str = r#"{"username":"kv1","ttl":"1h","list":[1,2,3]}"#;

/// Stands last. It asks for all that the others ask, so that whoever wrote it had all answers for those before it.
const LAST: &str = r#"{{ range secrets "kv-templates/dir" }}{{ end }}{{ with secret "kv-templates/app" }}{{ with secret "old-templates/app" }}
{{ with secret "kv-templates/data/app?version=1" }}{{ with secret "kv-templates/data/dir/one" }}
{{ with secret "kv-templates/dir/one" }}{{ with secret "kv-templates/dir/two" }}last{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}"#;

fn destination(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:04}"))
}

/// Vault Agent's configuration with these templates, by their number.
fn config(rig: &Rig, folder: &Path, templates: &[(usize, &str)]) -> Value {
    fs::create_dir_all(folder).unwrap();
    let mut config = rig.config("");
    // Without a list Vault Agent takes the objects of auto_auth for names.
    config["auto_auth"]["sink"] = json!([{"type": "file", "config": {"path": folder.join(".token")}}]);
    config["template"] = templates
        .iter()
        .map(|(number, text)| json!({"contents": text, "destination": destination(folder, *number), "error_fatal": false}))
        .collect();
    config["template_config"] =
        json!({"static_secret_render_interval": "1h", "exit_on_retry_failure": false});
    config
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| !name.starts_with('.'))
        .collect()
}

fn wait_for_last(folder: &Path, number: usize, process: &Process) {
    wait::until("the last template to be rendered", DEADLINE, || {
        process.check_running()?;
        ensure!(destination(folder, number).exists(), "{}", process.log_tail(5));
        Ok(())
    })
    .unwrap();
}

async fn prepare(run: &RunDir) -> Rig {
    let solo = solo().await;
    let ttl = TokenParams {
        ttl: Duration::from_secs(3600),
        ..TokenParams::default()
    };
    let rig = Rig::new("templates", &solo.root, &solo.ca_pem, run.path(), ttl).await;
    rig.write_secret("not yet").await;
    let root = rig.root();
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    root.write("kv-templates/data/app", &raw(APP)).await.unwrap();
    for name in ["one", "two"] {
        let body = json!({"data": {"name": name}});
        root.write(&format!("kv-templates/data/dir/{name}"), &body)
            .await
            .unwrap();
    }
    let engine = MountRequest {
        kind: "kv".to_owned(),
        ..MountRequest::default()
    };
    root.enable_mount("old-templates", &engine).await.unwrap();
    root.write("old-templates/app", &raw(OLD)).await.unwrap();
    let policy = "path \"kv-templates/*\" { capabilities = [\"read\", \"list\"] }
        path \"old-templates/*\" { capabilities = [\"read\", \"list\"] }";
    root.write_policy("templates", policy).await.unwrap();
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_give_the_bytes_that_vault_agent_gives() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let rig = prepare(&run).await;
    let mut templates = written::templates();
    templates.extend(generated::templates(250));
    let last = templates.len();
    let numbered: Vec<(usize, &str)> = templates
        .iter()
        .map(String::as_str)
        .chain([LAST])
        .enumerate()
        .collect();

    // Ours refuses a configuration with a broken template; each is looked at alone, as the injector does.
    let parsed: Vec<(usize, &str)> = numbered
        .iter()
        .copied()
        .filter(|(_, text)| Template::parse(text, &Delims::default()).is_ok())
        .collect();
    let ours = rig.folder().join("ours");
    // Too much for one variable.
    let our_config = rig.folder().join("ours.json");
    fs::write(&our_config, config(&rig, &ours, &parsed).to_string()).unwrap();
    let from_file = ["run".to_owned(), format!("-config={}", our_config.display())];
    let agent = Agent::start_with("templates", &from_file, &run);
    wait_for_last(&ours, last, &agent.process);

    // Vault Agent 1.21.1 dies of a template that fails, whatever error_fatal says: what fails is among the recorded cases.
    let rendered: Vec<(usize, &str)> = parsed
        .iter()
        .copied()
        .filter(|(number, _)| destination(&ours, *number).exists())
        // A whole answer has the number of its request in it, which is another one each time; ours leaves it out.
        .filter(|(_, text)| !text.contains("{{ $x := . }}"))
        .collect();
    assert!(rendered.len() > 150, "too few to compare: {}", rendered.len());
    let theirs = rig.folder().join("theirs");
    let peer_config = rig.folder().join("peer.json");
    fs::write(&peer_config, config(&rig, &theirs, &rendered).to_string()).unwrap();
    let spec = ProcessSpec::new("vault-agent-peer", servers::path(Server::Vault).unwrap(), &run)
        .args(["agent".to_owned(), format!("-config={}", peer_config.display())]);
    let peer = Process::start(spec, &run).unwrap();
    wait_for_last(&theirs, last, &peer);

    let (theirs, ours) = (files(&theirs), files(&ours));
    let show = |file: Option<&Vec<u8>>| {
        file.map_or("no file".to_owned(), |bytes| {
            format!("{:?}", String::from_utf8_lossy(bytes))
        })
    };
    let mut wrong = Vec::new();
    for (number, text) in &rendered {
        let name = format!("{number:04}");
        let (their, our) = (theirs.get(&name), ours.get(&name));
        if their != our {
            wrong.push(format!(
                "{text}\n  vault agent: {}\n  ours:        {}",
                show(their),
                show(our)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} templates differ:\n{}",
        wrong.len(),
        rendered.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_read_files_and_write_beside_their_own() {
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let solo = solo().await;
    let ttl = TokenParams {
        ttl: Duration::from_secs(3600),
        ..TokenParams::default()
    };
    let rig = Rig::new("files", &solo.root, &solo.ca_pem, run.path(), ttl).await;
    rig.write_secret("hunter-file").await;
    let (read, written) = (rig.folder().join("in"), rig.folder().join("beside/key"));
    let template = format!(
        "{{{{ with secret \"kv-files/app\" }}}}{{{{ file \"{}\" }}}}{{{{ .Data.data.password | writeToFile \"{}\" \"\" \"\" \"0400\" \"newline\" }}}}{{{{ end }}}}",
        read.display(),
        written.display()
    );
    let agent = rig.start(&rig.config(&template), &run);
    agent.wait_for("logged in", 1);
    fs::write(&read, "first").unwrap();
    rig.wait_for("first");
    assert_eq!(
        fs::read_to_string(&written).unwrap(),
        "hunter-file\n",
        "written beside"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&written).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o400, "with the permissions asked for");
    fs::write(&read, "and the second").unwrap();
    rig.wait_for("and the second");
    assert!(
        !agent.log().contains("hunter-file"),
        "no secret in the log:\n{}",
        agent.log()
    );
}
