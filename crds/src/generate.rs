//! Turns the Rust types into the manifests that `kubectl apply` and Helm take.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{VaultCluster, VaultRole};

/// One generated file.
pub struct Manifest {
    /// File name without a folder.
    pub file: &'static str,
    /// Its content.
    pub yaml: String,
}

/// All CRD manifests, in a stable order.
pub fn manifests() -> Result<Vec<Manifest>, serde_yaml::Error> {
    Ok(vec![
        Manifest {
            file: "vaultclusters.yaml",
            yaml: render(VaultCluster::crd())?,
        },
        Manifest {
            file: "vaultroles.yaml",
            yaml: render(VaultRole::crd())?,
        },
    ])
}

fn render(crd: CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let mut value = serde_yaml::to_value(crd)?;
    strip_unknown_formats(&mut value);
    Ok(format!(
        "# Generated from crds/src by `make crds`. Do not edit.\n{}",
        serde_yaml::to_string(&value)?
    ))
}

/// The API server warns about formats that OpenAPI v3 does not name, such as schemars' `uint32`.
fn strip_unknown_formats(value: &mut serde_yaml::Value) {
    match value {
        serde_yaml::Value::Mapping(map) => {
            let unknown = map
                .get("format")
                .and_then(|f| f.as_str())
                .is_some_and(|f| f.starts_with("uint"));
            if unknown {
                map.remove("format");
            }
            map.values_mut().for_each(strip_unknown_formats);
        }
        serde_yaml::Value::Sequence(items) => items.iter_mut().for_each(strip_unknown_formats),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client-side `kubectl apply` stores the object as compact JSON in an annotation, and all annotations together have at
    /// most 262,144 bytes. The rest is left to people's own annotations and to releases to come.
    const SIZE_LIMIT: usize = 200 * 1024;

    /// What kubectl would store.
    fn compact_json(yaml: &str) -> String {
        let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        value.to_string()
    }

    #[test]
    fn the_committed_manifests_are_current_and_small_enough_for_kubectl_apply() {
        for manifest in manifests().unwrap() {
            let path = format!("{}/{}", env!("CARGO_MANIFEST_DIR"), manifest.file);
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == manifest.yaml,
                "{path} is not what the types say: run `make crds`"
            );
            let stored = compact_json(&manifest.yaml).len();
            assert!(
                stored < SIZE_LIMIT,
                "{path} has {stored} bytes as compact JSON, and kubectl apply must store it in an annotation"
            );
        }
    }

    #[test]
    fn every_field_of_a_spec_and_a_status_is_documented() {
        for crd in [VaultCluster::crd(), VaultRole::crd()] {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let properties = &schema["openAPIV3Schema"]["properties"];
            for part in ["spec", "status"] {
                let mut missing = Vec::new();
                undocumented(&properties[part], part, &mut missing);
                assert!(
                    missing.is_empty(),
                    "{} lacks descriptions: {missing:?}",
                    crd.spec.names.kind
                );
            }
        }
    }

    #[test]
    fn every_printed_column_shows_a_field_that_there_is() {
        for crd in [VaultCluster::crd(), VaultRole::crd()] {
            let version = &crd.spec.versions[0];
            let schema = serde_json::to_value(&version.schema).unwrap();
            let columns = version.additional_printer_columns.clone().unwrap_or_default();
            assert!(columns.len() > 3, "{} tells nothing", crd.spec.names.kind);
            for column in columns {
                let mut at = &schema["openAPIV3Schema"];
                let path = column.json_path.trim_start_matches('.');
                // Every object has these, whatever its schema says.
                if path.starts_with("metadata.") {
                    continue;
                }
                // A condition: `conditions[?(@.type=='Available')].reason`.
                let plain = path.replace("[?(@.type=='", "[").replace("')]", "]");
                for step in plain.split('.') {
                    let (name, condition) = match step.split_once('[') {
                        Some((name, condition)) => (name, Some(condition.trim_end_matches(']'))),
                        None => (step, None),
                    };
                    at = &at["properties"][name];
                    assert!(at.is_object(), "column {} shows nothing: {path}", column.name);
                    if let Some(condition) = condition {
                        let documented = at["description"].as_str().unwrap_or_default();
                        assert!(
                            documented.contains(condition),
                            "column {}: there is no condition {condition}: {documented}",
                            column.name
                        );
                        at = &at["items"];
                    }
                }
            }
        }
    }

    fn undocumented(schema: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            for (name, child) in properties {
                let path = format!("{path}.{name}");
                if child["description"].as_str().unwrap_or_default().is_empty() {
                    missing.push(path.clone());
                }
                undocumented(child, &path, missing);
            }
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                undocumented(&schema[inner], path, missing);
            }
        }
    }
}
