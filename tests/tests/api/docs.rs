//! Documentation that is generated from code is what the code says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde::Deserialize as _;
use serde_json::Value;
use vaultkeeper_injector::annotations::table::{Effect, ROWS, Row, Shape};
use vaultkeeper_tests::helm;

const HEADER: &str = "\
# Annotations

Generated from `injector/src/annotations/table.rs`. To write it again: `UPDATE_DOCS=1 cargo test -p vaultkeeper-tests --test api docs`.

Each key is written with the prefix `vault.hashicorp.com/`, as for the existing injector, or with `vaultkeeper.dev/`.
NAME stands for any word; it ties the annotations of one file together. Bools are `true` or `false` (or `1`, `0`, `t`, `f`).

- **read**: does what it says.
- **no effect yet**, **no effect**: the pod is admitted with a warning that says so.
- **refused**: the pod is denied with this reason, since ignoring the annotation would break the app.
- A key that is not in this list is admitted with a warning that names the nearest known key.
- A value that cannot be parsed denies the pod; the message holds the annotation, what is wrong with it, and the remedy.

| key | value | what it does | here |
|---|---|---|---|
";

#[test]
fn the_guide_to_annotations_is_what_the_injectors_table_says() {
    let path = helm::repository().join("docs/annotations.md");
    let generated = guide();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == generated,
        "docs/annotations.md is not what the table says: run UPDATE_DOCS=1 cargo test -p vaultkeeper-tests --test api docs"
    );
}

fn guide() -> String {
    let mut text = HEADER.to_owned();
    for row in ROWS {
        let Row {
            key,
            shape,
            value,
            effect,
            doc,
        } = row;
        let name = match shape {
            Shape::Exact => "",
            Shape::Named => "NAME",
        };
        let here = match effect {
            Effect::Read(_) => "read".to_owned(),
            Effect::NotYet => "no effect yet".to_owned(),
            Effect::Pointless(reason) => format!("no effect: {reason}"),
            Effect::Refused(reason) => format!("refused: {reason}"),
            Effect::Elsewhere => continue,
        };
        let _ = writeln!(
            text,
            "| `{key}{name}` | {} | {doc} | {} |",
            value.replace('|', ", "),
            here.replace('|', "\\|")
        );
    }
    text
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = fs::read_to_string(helm::repository().join("README.md")).unwrap();
    let shown: Vec<&str> = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    for (file, shown) in ["vaultcluster.yaml", "vaultrole.yaml", "pod.yaml"]
        .iter()
        .zip(&shown)
    {
        let example = fs::read_to_string(helm::repository().join("examples").join(file)).unwrap();
        // The first line is a comment that the README says in its own words.
        let example = example.split_once('\n').map_or("", |(_, rest)| rest);
        assert_eq!(*shown, example, "the README should show examples/{file} as it is");
    }
    assert_eq!(
        shown.len(),
        3,
        "every manifest in the README should be an example that is tested"
    );
}

#[test]
fn the_readme_makes_every_namespace_and_applies_every_example_that_it_shows() {
    let readme = fs::read_to_string(helm::repository().join("README.md")).unwrap();
    for file in ["vaultcluster.yaml", "vaultrole.yaml", "pod.yaml"] {
        let apply = format!("\nkubectl apply -f examples/{file}\n");
        let applied = readme.find(&apply);
        let applied = applied.unwrap_or_else(|| panic!("the README should say: {}", apply.trim()));
        let example = fs::read_to_string(helm::repository().join("examples").join(file)).unwrap();
        let namespaces = example
            .lines()
            .filter_map(|line| line.strip_prefix("  namespace: "));
        for namespace in namespaces.filter_map(|rest| rest.split_whitespace().next()) {
            let create = format!("\nkubectl create namespace {namespace}\n");
            assert!(
                readme[..applied].contains(&create),
                "before it applies {file} the README should say: {}",
                create.trim()
            );
        }
    }
}

/// Names of the properties below a path of a CRD's schema.
fn properties(crd: &Value, path: &[&str]) -> BTreeSet<String> {
    let mut schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for name in path {
        schema = &schema["properties"][*name];
    }
    let names = schema["properties"].as_object();
    names
        .unwrap_or_else(|| panic!("no properties at {path:?}"))
        .keys()
        .cloned()
        .collect()
}

#[test]
fn every_kind_of_storage_seal_certificate_and_audit_device_has_an_example() {
    let manifests = vaultkeeper_crds::generate::manifests().unwrap();
    let crd = manifests
        .iter()
        .find(|m| m.file.contains("vaultclusters"))
        .unwrap();
    let crd: Value = serde_yaml::from_str(&crd.yaml).unwrap();
    let mut shown = BTreeSet::new();
    for file in fs::read_dir(helm::repository().join("examples")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).unwrap();
            if object["kind"] != "VaultCluster" {
                continue;
            }
            for part in ["storage", "seal", "tls"] {
                let kinds = object["spec"][part].as_object().into_iter().flatten();
                shown.extend(kinds.map(|(kind, _)| format!("{part}.{kind}")));
            }
            let devices = object["spec"]["configuration"]["audit"].as_array();
            for device in devices.into_iter().flatten().filter_map(Value::as_object) {
                shown.extend(device.keys().map(|key| format!("audit.{key}")));
            }
            let custodians = &object["spec"]["seal"]["shamir"]["custodians"];
            shown.extend(custodians.as_array().map(|_| "seal.shamir.custodians".to_owned()));
        }
    }
    let mut wanted = BTreeSet::from(["seal.shamir.custodians".to_owned()]);
    for part in ["storage", "seal", "tls"] {
        let kinds = properties(&crd, &["spec", part]);
        // Recovery keys are no kind of seal.
        let kinds = kinds.into_iter().filter(|kind| kind != "recovery");
        wanted.extend(kinds.map(|kind| format!("{part}.{kind}")));
    }
    wanted.extend(["stdout", "file", "socket", "syslog"].map(|kind| format!("audit.{kind}")));
    assert!(wanted.len() > 12, "{wanted:?}");
    let missing: Vec<&String> = wanted.difference(&shown).collect();
    assert!(missing.is_empty(), "no file in examples/ shows {missing:?}");
}

#[test]
fn links_of_the_documentation_lead_somewhere() {
    for document in [
        "README.md",
        "docs/annotations.md",
        "docs/benchmarks.md",
        "docs/certificate-login.md",
        "docs/conditions.md",
        "docs/credentials.md",
        "docs/custody.md",
        "docs/decisions.md",
        "docs/lost-quorum.md",
        "docs/rollout.md",
        "docs/scaling.md",
        "docs/readiness.md",
        "docs/external.md",
        "docs/logins.md",
        "docs/seal-migration.md",
        "docs/security.md",
        "docs/unproven.md",
    ] {
        let path = helm::repository().join(document);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !link.starts_with("https://") && !file.is_empty() {
                let target = path.with_file_name(file);
                assert!(target.exists(), "{document} links to {link}, which is not there");
            }
        }
    }
}
