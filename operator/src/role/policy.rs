//! The text of a VaultRole's policy in Vault. Pure and deterministic.

use std::collections::BTreeMap;
use std::fmt::Write;

use vaultkeeper_crds::role::Capability;

/// Renders the policy in HCL. `owner` is `<namespace>/<name>`, for those who read it in Vault.
pub fn render(owner: &str, rules: &BTreeMap<String, Vec<Capability>>) -> String {
    let mut text = format!("# Kept by Vaultkeeper for VaultRole {owner}: changes are undone.\n");
    for (path, capabilities) in rules {
        let capabilities: Vec<String> = capabilities
            .iter()
            .map(|capability| quoted(capability.as_str()))
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\npath {} {{\n  capabilities = [{}]\n}}\n",
            quoted(path),
            capabilities.join(", ")
        );
    }
    text
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
    use super::*;

    #[test]
    fn a_policy_reads_as_a_person_would_write_it() {
        let rules = BTreeMap::from([
            (
                "secret/data/shop/*".to_owned(),
                vec![Capability::Create, Capability::Read],
            ),
            ("secret/data/shop/locked".to_owned(), vec![Capability::Deny]),
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

    #[test]
    fn no_text_ends_the_string_that_it_is_in() {
        assert_eq!(quoted("a\" b\\ ${c}\n"), r#""a\" b\\ \u0024{c}\u000a""#);
    }
}
