//! Whether a secret of KV version 2 is still the one that was read, judged from its metadata alone. No I/O.

use vaultkeeper_template::{Key, Value};

/// `held` is the data of an earlier read of `<mount>/data/<path>`, `metadata` that of `<mount>/metadata/<path>`.
///
/// In doubt it is not: a read more costs little, a change that is missed costs an outage.
pub(crate) fn is_current(held: &Value, metadata: &Value) -> bool {
    let (Value::Map(held), Value::Map(metadata)) = (held, metadata) else {
        return false;
    };
    let (Some(Value::Map(held)), Some(current), Some(Value::Map(versions))) = (
        held.get("metadata"),
        metadata.get("current_version"),
        metadata.get("versions"),
    ) else {
        return false;
    };
    let Value::Number(number) = current else {
        return false;
    };
    let Some(Value::Map(version)) = versions.get(number) else {
        return false;
    };
    // One that is to be deleted at a time goes away without a new version.
    let stays = matches!(held.get("deletion_time"), Some(Value::Str(time)) if time.is_empty());
    stays
        && held.entries().iter().all(|(key, value)| match key {
            Key::Str(key) if &**key == "version" => value == current,
            Key::Str(key) if &**key == "custom_metadata" => metadata.get(key) == Some(value),
            Key::Str(key) => version.get(key) == Some(value),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vaultkeeper_template::json::{Numbers, parse};

    /// As a server answered to a read of the data.
    const HELD: &str = r#"{"data":{"a":"b"},"metadata":{"created_time":"2026-01-01T00:00:00Z",
        "custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}}"#;
    /// As the same server answered to a read of the metadata.
    const METADATA: &str = r#"{"cas_required":false,"created_time":"2025-12-31T00:00:00Z","current_version":2,
        "custom_metadata":null,"delete_version_after":"0s","max_versions":0,"oldest_version":0,
        "updated_time":"2026-01-01T00:00:00Z","versions":{
        "1":{"created_time":"2025-12-31T00:00:00Z","deletion_time":"","destroyed":false},
        "2":{"created_time":"2026-01-01T00:00:00Z","deletion_time":"","destroyed":false}}}"#;

    fn judged(held: &str, metadata: &str) -> bool {
        let read = |text: &str| parse(text, Numbers::AsSent).unwrap();
        is_current(&read(held), &read(metadata))
    }

    #[test]
    fn the_same_version_is_current() {
        assert!(judged(HELD, METADATA), "nothing changed");
    }

    #[test]
    fn whatever_changes_in_the_metadata_asks_for_a_read() {
        for (from, to) in [
            ("\"current_version\":2", "\"current_version\":1"),
            ("\"current_version\":2", "\"current_version\":3"),
            (
                "\"custom_metadata\":null",
                "\"custom_metadata\":{\"owner\":\"x\"}",
            ),
            (
                "2026-01-01T00:00:00Z\",\"deletion_time\":\"\"",
                "2026-01-01T00:00:00Z\",\"deletion_time\":\"2026-02-01T00:00:00Z\"",
            ),
            ("\"destroyed\":false}}}", "\"destroyed\":true}}}"),
            // The secret was removed with all versions and written anew.
            (
                "\"2\":{\"created_time\":\"2026-01-01",
                "\"2\":{\"created_time\":\"2026-01-02",
            ),
        ] {
            let metadata = METADATA.replace(from, to);
            assert_ne!(metadata, METADATA, "the case must change something: {from}");
            assert!(!judged(HELD, &metadata), "missed: {from} became {to}");
        }
    }

    #[test]
    fn one_that_will_be_deleted_is_read_each_time() {
        let later = "\"deletion_time\":\"2099-01-01T00:00:00Z\"";
        let held = HELD.replace("\"deletion_time\":\"\"", later);
        let metadata = METADATA.replace("\"deletion_time\":\"\"", later);
        assert!(!judged(&held, &metadata), "its time comes without a new version");
    }

    #[test]
    fn answers_of_another_shape_ask_for_a_read() {
        for strange in ["{}", "null", "[]", r#"{"current_version":"2","versions":{}}"#] {
            assert!(!judged(HELD, strange), "metadata {strange}");
            assert!(!judged(strange, METADATA), "data {strange}");
        }
    }
}
