//! The templates used when an annotation names a secret and no template.

use std::fmt::Write as _;

/// A default template of the injector, as an action with the delimiters `{{` and `}}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// One line `key: value` per key.
    Map,
    /// The data as one line of compact JSON.
    Json,
}

impl Default {
    /// Reads the value of the annotation, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "map" => Some(Self::Map),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The template for the secret at `path`.
    pub fn template(self, path: &str) -> String {
        let quoted = quote(path);
        match self {
            Self::Map => {
                format!(
                    "{{{{ with secret {quoted} }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
                )
            }
            Self::Json => format!("{{{{ with secret {quoted} }}}}{{{{ .Data | toJSON }}}}\n{{{{ end }}}}"),
        }
    }
}

/// A string literal of the template language: a path can close no action.
fn quote(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Braces too, so that a path can not look like a delimiter.
            '{' | '}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delims, Template};

    #[test]
    fn default_templates_parse_whatever_the_path_holds() {
        for path in ["secret/data/app", "a\"b", "a}}b", "{{ nope }}", "a\\", "x\ny"] {
            for default in [Default::Map, Default::Json] {
                let text = default.template(path);
                let parsed = Template::parse(&text, &Delims::default());
                assert!(
                    parsed.is_ok(),
                    "the default template of {path:?} does not parse: {parsed:?}"
                );
            }
        }
    }
}
