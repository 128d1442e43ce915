//! Namespaces inside the server as they are declared. Pure.

use serde_json::json;
use vaultkeeper_crds::cluster::configuration::Namespace;

use super::object::{Wanted, field};

/// One namespace (`sys/namespaces/<path>`).
pub(crate) fn namespace(index: usize, namespace: &Namespace) -> Wanted {
    let Namespace { path, metadata } = namespace;
    let fields = if metadata.is_empty() {
        Vec::new()
    } else {
        vec![field("custom_metadata", "metadata", json!(metadata))]
    };
    Wanted {
        field: format!("spec.configuration.namespaces[{index}]"),
        what: format!("namespace {path}"),
        path: format!("sys/namespaces/{path}"),
        fields,
        ..Wanted::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::{Change, Found, body, plan};
    use super::*;
    use serde_json::Value;

    /// As OpenBao 2.6 answers `GET sys/namespaces/t1`.
    fn recorded() -> Found {
        let answer = json!({"id": "FAxpmo", "uuid": "b0", "path": "t1/", "locked": false, "tainted": false, "custom_metadata": {"team": "a"}});
        match answer {
            Value::Object(map) => map,
            _ => Found::new(),
        }
    }

    #[test]
    fn a_namespace_is_made_where_none_is_and_its_notes_are_compared() {
        let declared = |team: &str| Namespace {
            path: "t1".to_owned(),
            metadata: [("team".to_owned(), team.to_owned())].into(),
        };
        let wanted = namespace(0, &declared("a"));
        assert!(matches!(plan(&wanted, None, false), Change::Create(_)));
        assert_eq!(
            Value::Object(body(&wanted, None, false)),
            json!({"custom_metadata": {"team": "a"}})
        );
        assert_eq!(plan(&wanted, Some(&recorded()), false), Change::None);
        let changed = plan(&namespace(0, &declared("b")), Some(&recorded()), false);
        assert_eq!(
            changed.differences()[0].field,
            "spec.configuration.namespaces[0].metadata"
        );
    }
}
