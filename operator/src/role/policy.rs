//! The text of a VaultRole's policy in Vault. Pure and deterministic.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::validate::{Limits, Rule};

/// Renders the policy in HCL. `owner` is `<namespace>/<name>`, for those who read it in Vault.
pub fn render(owner: &str, rules: &BTreeMap<String, Rule>) -> String {
    let mut text = format!("# Kept by Vaultkeeper for VaultRole {owner}: changes are undone.\n");
    for (path, Rule { capabilities, limits }) in rules {
        let capabilities = list(capabilities.iter().map(|capability| capability.as_str()));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\npath {} {{\n  capabilities = {capabilities}\n{}}}\n",
            quoted(path),
            limited(limits)
        );
    }
    text
}

/// The lines of a rule that ask more of a request than its path.
fn limited(limits: &Limits) -> String {
    let Limits {
        required,
        allowed,
        denied,
        min_wrapping,
        max_wrapping,
    } = limits;
    let mut text = String::new();
    if !required.is_empty() {
        let names = list(required.iter().map(String::as_str));
        let _ = writeln!(text, "  required_parameters = {names}");
    }
    for (key, parameters) in [("allowed_parameters", allowed), ("denied_parameters", denied)] {
        if parameters.is_empty() {
            continue;
        }
        let _ = writeln!(text, "  {key} = {{");
        for (name, values) in parameters {
            let values = list(values.iter().map(String::as_str));
            let _ = writeln!(text, "    {} = {values}", quoted(name));
        }
        text.push_str("  }\n");
    }
    for (key, ttl) in [
        ("min_wrapping_ttl", min_wrapping),
        ("max_wrapping_ttl", max_wrapping),
    ] {
        if let Some(ttl) = ttl {
            let _ = writeln!(text, "  {key} = \"{}s\"", ttl.as_secs());
        }
    }
    text
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.map(quoted).collect();
    format!("[{}]", items.join(", "))
}

/// A string of HCL. `$` is escaped too, since `${` would begin an expression.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '$' => quoted.push_str("\\u0024"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vaultkeeper_crds::role::Capability;

    use super::*;

    fn rule(capabilities: &[Capability], limits: Limits) -> Rule {
        Rule {
            capabilities: capabilities.to_vec(),
            limits,
        }
    }

    #[test]
    fn limits_read_as_vault_documents_them() {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let limits = Limits {
            required: values(&["ttl"]),
            allowed: BTreeMap::from([
                ("*".to_owned(), Vec::new()),
                ("ttl".to_owned(), values(&["1h", "2*"])),
            ]),
            denied: BTreeMap::from([("policies".to_owned(), values(&["ro\"ot"]))]),
            min_wrapping: Some(Duration::from_secs(60)),
            max_wrapping: Some(Duration::from_secs(3600)),
        };
        let rules = BTreeMap::from([("a/b".to_owned(), rule(&[Capability::Update], limits))]);
        let expected = r#"path "a/b" {
  capabilities = ["update"]
  required_parameters = ["ttl"]
  allowed_parameters = {
    "*" = []
    "ttl" = ["1h", "2*"]
  }
  denied_parameters = {
    "policies" = ["ro\"ot"]
  }
  min_wrapping_ttl = "60s"
  max_wrapping_ttl = "3600s"
}
"#;
        let text = render("shop/app", &rules);
        assert_eq!(text.split_once("\n\n").map(|(_, rules)| rules), Some(expected));
    }

    #[test]
    fn a_policy_reads_as_a_person_would_write_it() {
        let plain = |capabilities: &[Capability]| rule(capabilities, Limits::default());
        let rules = BTreeMap::from([
            (
                "secret/data/shop/*".to_owned(),
                plain(&[Capability::Create, Capability::Read]),
            ),
            ("secret/data/shop/locked".to_owned(), plain(&[Capability::Deny])),
        ]);
        let expected = r#"# Kept by Vaultkeeper for VaultRole shop/app: changes are undone.

path "secret/data/shop/*" {
  capabilities = ["create", "read"]
}

path "secret/data/shop/locked" {
  capabilities = ["deny"]
}
"#;
        assert_eq!(render("shop/app", &rules), expected);
    }

    proptest::proptest! {
        // Vault reads a text in quotes as Go does, which JSON's escapes are a part of.
        #[test]
        fn whatever_is_quoted_is_read_back_as_it_was(text in "\\PC*|[\"\\\\${}\\n\\t a]{0,12}") {
            let read: String = serde_json::from_str(&quoted(&text)).unwrap();
            proptest::prop_assert_eq!(read, text);
        }
    }

    #[test]
    fn no_text_ends_the_string_that_it_is_in() {
        assert_eq!(quoted("a\" b\\ ${c}\n"), r#""a\" b\\ \u0024{c}\u000a""#);
    }
}
