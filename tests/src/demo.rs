//! `testbed demo`: the main job on a real cluster, from nothing to a secret in an app's file, step by step.

mod consent;
mod place;
mod states;
mod story;
mod teardown;
mod writer;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::helm;
use crate::progress::{Step, say};
use crate::wait;
use place::Place;
pub use place::Target;
use story::Story;
pub use teardown::down;

/// The testbed cluster of the demo.
const CLUSTER: &str = "demo";
/// The Helm release and where it is installed.
const RELEASE: &str = "vaultkeeper";
const SYSTEM_NAMESPACE: &str = "vaultkeeper-system";
/// The namespaces of examples/quickstart.yaml.
const VAULT_NAMESPACE: &str = "vault";
const SHOP_NAMESPACE: &str = "shop";
/// The VaultCluster of examples/quickstart.yaml.
const VAULT_CLUSTER: &str = "main";
/// The file in the app's container that the quickstart's annotations ask for.
const FILE: &str = "/vault/secrets/config";

/// Images and three members on a busy machine.
const CLUSTER_DEADLINE: Duration = Duration::from_secs(300);
const ROLE_DEADLINE: Duration = Duration::from_secs(120);
/// A kubelet that found the CA's ConfigMap missing looks again after up to two minutes.
const APP_DEADLINE: Duration = Duration::from_secs(300);
/// The quickstart renders every 5 s.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the demo and leaves everything up.
pub fn run(target: Target) -> anyhow::Result<()> {
    let mut story = Story::default();
    let place = match target {
        Target::Testbed => story.step("bring up a Kubernetes cluster on this machine", |_| {
            place::testbed(CLUSTER)
        })?,
        Target::Current => {
            let place = place::current()?;
            consent::to_install(&place)?;
            place
        }
    };
    let outcome = tell(&place, &mut story);
    if outcome.is_err() {
        states::show(&place);
    }
    outcome?;
    story.print();
    say(&look_around(&place));
    Ok(())
}

fn tell(place: &Place, story: &mut Story) -> anyhow::Result<()> {
    let archives = story.step("build the images and load them", |_| place.load())?;
    story.step("install the chart with Helm", |step| {
        install(place, &place::image_values(&archives), step)
    })?;
    story.step("apply examples/quickstart.yaml", |_| {
        helm::run(place.kubectl()?.args(["apply", "-f"]).arg(quickstart())).map(drop)
    })?;
    story.step("VaultCluster main serves: three members, TLS, unsealed", |step| {
        let objects = states::Objects {
            namespace: VAULT_NAMESPACE,
            names: &["vaultcluster/main"],
            condition: "Available",
        };
        states::wait_for(place, objects, CLUSTER_DEADLINE, step)
    })?;
    story.step("VaultRoles writer and app are ready", |step| {
        let objects = states::Objects {
            namespace: SHOP_NAMESPACE,
            names: &["vaultrole/writer", "vaultrole/app"],
            condition: "Ready",
        };
        states::wait_for(place, objects, ROLE_DEADLINE, step)
    })?;
    // Random, so that nothing left from another run can pass for it.
    let first = greeting("hello")?;
    story.step(
        &format!("write greeting={first} as the writer (AppRole login)"),
        |_| writer::write(place, &first),
    )?;
    story.step("the app reads it from its shared volume", |step| {
        wait_for_file(place, &first, APP_DEADLINE, step)
    })?;
    let second = greeting("good-morning")?;
    story.step(&format!("change it to greeting={second}"), |_| {
        writer::write(place, &second)
    })?;
    story.step("the app's file shows the new value", |step| {
        wait_for_file(place, &second, CHANGE_DEADLINE, step)
    })
}

fn quickstart() -> std::path::PathBuf {
    helm::repository().join("examples/quickstart.yaml")
}

fn greeting(word: &str) -> anyhow::Result<String> {
    let mut random = [0_u8; 4];
    ensure!(
        SystemRandom::new().fill(&mut random).is_ok(),
        "the system gives no random numbers"
    );
    Ok(format!("{word}-{:08x}", u32::from_ne_bytes(random)))
}

/// Helm waits until the operator and the injector are ready.
fn install(place: &Place, values: &[String], step: &mut Step) -> anyhow::Result<()> {
    let mut command = place.helm()?;
    command
        .args(["upgrade", "--install", RELEASE])
        .arg(helm::chart())
        .args([
            "--namespace",
            SYSTEM_NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout",
            "5m",
        ])
        .args(values);
    run_with_ticks(&mut command, step)
}

/// Runs a command that takes a while and says so; what it printed is shown when it fails.
fn run_with_ticks(command: &mut Command, step: &mut Step) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| helm::run(command));
        while !running.is_finished() {
            step.tick();
            wait::pause();
        }
        match running.join() {
            Ok(result) => result.map(drop),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits until the app's own container sees the value in its file.
fn wait_for_file(place: &Place, greeting: &str, deadline: Duration, step: &mut Step) -> anyhow::Result<()> {
    let wanted = format!("greeting={greeting}");
    wait::until(&format!("{wanted} in {FILE} of the app"), deadline, || {
        step.tick();
        let seen = helm::run(place.kubectl()?.args([
            "exec",
            "--namespace",
            SHOP_NAMESPACE,
            "deployment/app",
            "--container",
            "app",
            "--",
            "cat",
            FILE,
        ]))
        .context("the app's file cannot be read yet")?;
        ensure!(seen.trim() == wanted, "the file holds {:?}", seen.trim());
        Ok(())
    })
}

fn look_around(place: &Place) -> String {
    let kubectl = place.kubectl_for_people();
    let end = match place {
        Place::Testbed(_) => "make demo-down",
        Place::Current { .. } => "make demo-down CLUSTER=current",
    };
    format!(
        "\nEverything stays up until `{end}`. To look around:\n\n  \
         {kubectl} get vc,vr -A\n  \
         {kubectl} describe vc main -n {VAULT_NAMESPACE}\n  \
         {kubectl} get pods -A\n  \
         {kubectl} exec -n {SHOP_NAMESPACE} deploy/app -c app -- cat {FILE}\n  \
         {kubectl} logs -n {SHOP_NAMESPACE} deploy/app -c vault-agent\n  \
         {kubectl} logs -n {SYSTEM_NAMESPACE} -l app.kubernetes.io/component=operator\n"
    )
}
