//! YAML in and out, as yaml.v2 reads and writes it.

mod emit;
mod order;
mod scalar;

use crate::value::Value;

pub(crate) use emit::EmitError;

/// Writes a value as one YAML document.
pub(crate) fn write(value: &Value) -> Result<String, EmitError> {
    emit::Emitter::document(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Numbers, parse};

    fn yaml(json: &str) -> String {
        write(&parse(json, Numbers::AsSent).unwrap()).unwrap()
    }

    #[test]
    fn strings_that_would_be_read_as_something_else_are_quoted() {
        let json = r##"{"a":"yes","b":"0x1F","c":"2024-02-29","d":"a: b","e":"#c","f":"it's","g":"plain text","h":"1_000","i":"- x","j":"tab\there","k":"2024-02-30","l":"1:30"}"##;
        let expected = "a: \"yes\"\nb: \"0x1F\"\nc: \"2024-02-29\"\nd: 'a: b'\ne: '#c'\nf: it's\ng: plain text\nh: \"1_000\"\ni: '- x'\nj: \"tab\\there\"\nk: 2024-02-30\nl: \"1:30\"";
        assert_eq!(yaml(json), expected);
    }

    #[test]
    fn lists_stay_at_the_level_of_their_key() {
        assert_eq!(
            yaml(r#"{"l":[{"a":1,"b":[2]},[3,4],{}],"m":{"x":null}}"#),
            "l:\n- a: 1\n  b:\n  - 2\n- - 3\n  - 4\n- {}\nm:\n  x: null"
        );
    }

    #[test]
    fn keys_are_in_natural_order() {
        assert_eq!(
            yaml(r#"{"a10":1,"a2":2,"B":3,"_":4,"b":5}"#),
            "_: 4\nB: 3\na2: 2\na10: 1\nb: 5"
        );
    }
}
