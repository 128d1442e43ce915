//! What the chart tells the programs is what they understand.

use clap::{CommandFactory, Parser};
use serde_json::Value;
use vaultkeeper_tests::helm;

use super::{named, template};

/// The container's environment as arguments: each variable under the name of the option that reads it.
fn arguments<Settings: CommandFactory>(deployment: &Value) -> Vec<String> {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let command = Settings::command();
    let mut arguments = vec!["program".to_owned()];
    for variable in container["env"]
        .as_array()
        .expect("the container has an environment")
    {
        let name = variable["name"].as_str().unwrap_or_default();
        let option = command
            .get_arguments()
            .find(|option| option.get_env().is_some_and(|env| env == name))
            .and_then(clap::Arg::get_long)
            .unwrap_or_else(|| panic!("the chart sets {name}, and the program does not read it"));
        // A field of the pod is known in the pod only.
        let value = variable["value"].as_str().unwrap_or("of-the-pod");
        arguments.push(format!("--{option}={value}"));
    }
    arguments
}

fn parse<Settings: Parser>(end: &str, sets: &[&str]) -> Settings {
    let objects = template(&helm::chart(), sets).unwrap();
    let arguments = arguments::<Settings>(named(&objects, "Deployment", end));
    Settings::try_parse_from(&arguments)
        .unwrap_or_else(|error| panic!("{arguments:?} should be understood: {error}"))
}

#[test]
fn the_operator_understands_every_variable_that_the_chart_sets() {
    let settings: vaultkeeper_operator::settings::Settings = parse(
        "-operator",
        &[
            r#"operator.logFilter="info,kube=debug""#,
            r#"operator.logFormat="text""#,
        ],
    );
    assert_eq!(
        [settings.log_filter.as_str(), settings.lease_name.as_str()],
        ["info,kube=debug", "keeper-operator"]
    );
    let objects = template(&helm::chart(), &[]).unwrap();
    let grace = &named(&objects, "Deployment", "-operator")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    assert!(
        grace.as_u64() > Some(settings.shutdown_grace_seconds),
        "the pod should live longer ({grace} s) than an orderly stop may take ({} s)",
        settings.shutdown_grace_seconds
    );
}

#[test]
fn the_injector_understands_every_variable_that_the_chart_sets() {
    let settings: vaultkeeper_injector::settings::Settings = parse(
        "-injector",
        &[
            r#"injector.vaultAddress="https://vault.example:8200""#,
            r#"injector.agent.resources.limits.memory="48Mi""#,
        ],
    );
    assert_eq!(settings.service, "keeper-injector");
    assert_eq!(settings.tls_secret, "keeper-injector-tls");
    assert_eq!(settings.webhook_configuration, "keeper-system-keeper-injector");
    assert_eq!(settings.injection.memory_limit, "48Mi");
    assert_eq!(
        settings.injection.vault_address.as_deref(),
        Some("https://vault.example:8200")
    );
}
