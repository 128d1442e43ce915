//! YAML in and out, as yaml.v2 reads and writes it.

mod emit;
mod emit_scalar;
mod flow;
mod order;
mod parse;
mod read_scalar;
mod scalar;

use crate::value::Value;

pub(crate) use emit::EmitError;
pub(crate) use parse::parse;

/// Writes a value as one YAML document.
pub(crate) fn write(value: &Value) -> Result<String, EmitError> {
    emit::Emitter::document(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, Numbers, Style};

    fn yaml(json: &str) -> String {
        write(&json::parse(json, Numbers::AsSent).unwrap()).unwrap()
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

    /// What was read, as Go would print it.
    fn read(text: &str) -> String {
        let value = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        String::from_utf8(crate::fmt::sprint(&[value]).unwrap()).unwrap()
    }

    #[test]
    fn documents_are_read_as_yaml_v2_reads_them() {
        for (text, expected) in [
            (
                "a: 1\nb: [x, 2.5, true, ~]\nc:\n  d: e\n",
                "map[a:1 b:[x 2.5 true <nil>] c:map[d:e]]",
            ),
            ("- a\n- - b\n  - c\n- d: 1\n  e: 2\n", "[a [b c] map[d:1 e:2]]"),
            ("l:\n- a\n- b\nm:\n  - c\n", "map[l:[a b] m:[c]]"),
            (
                "a: |\n  x\n   y\n\n  z\nb: >-\n  p\n  q\n\n  r\n",
                "map[a:x\n y\n\nz\n b:p q\nr]",
            ),
            (
                "a: \"x\\n\\u00e9\"\nb: 'it''s'\nc: plain # comment\nd: a#b\n",
                "map[a:x\né b:it's c:plain d:a#b]",
            ),
            (
                "---\na: {b: 1, c: {d: [1, 2]}}\n...\n",
                "map[a:map[b:1 c:map[d:[1 2]]]]",
            ),
            (
                "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n",
                "map[a:map[b:1] c:map[b:1] d:map[b:1 e:2]]",
            ),
            (
                "a: yes\nb: 0x1f\nc: 017\nd: 1_000\ne: .inf\nf: 2024-01-02\ng: !!str 5\n",
                "map[a:true b:31 c:15 d:1000 e:+Inf f:2024-01-02 g:5]",
            ),
            ("1: a\ntrue: b\n~: c\n", "map[<nil>:c 1:a true:b]"),
            ("plain\n  over lines\n\n  and more", "plain over lines\nand more"),
            ("? a\n: b\n", "map[a:b]"),
            ("# only a comment\n", "<nil>"),
            ("a:\nb:\n", "map[a:<nil> b:<nil>]"),
            ("a: x:y\nb: http://c/d\n", "map[a:x:y b:http://c/d]"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_refused_without_showing_it() {
        for text in [
            "a: [hunter2",
            "a: b: hunter2",
            "\"hunter2",
            "a: *hunter2",
            "\ta: hunter2",
            "a: 1\n b: hunter2",
            "- a\nhunter2: b",
            "{a: 1} @hunter2",
            "%hunter2\n--- a",
        ] {
            let error = parse(text).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|error| !error.contains("hunter2")),
                "{text}: {error:?}"
            );
        }
        assert!(parse(&"[".repeat(100_000)).is_err(), "nesting must be limited");
        assert!(parse(&"- ".repeat(100_000)).is_err(), "nesting must be limited");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let text = r#"{"a":["x y"," lead","trail ","it's","a: b","multi\nline\n","\ttab",true,null,-5,"yes","1.5"],"b":{"c":[],"d":{}},"e":"😀"}"#;
        let value = json::parse(text, Numbers::AsSent).unwrap();
        let again = parse(&write(&value).unwrap()).unwrap();
        assert_eq!(write(&again).unwrap(), write(&value).unwrap());
        let style = Style {
            escape_html: false,
            pretty: false,
        };
        assert!(
            json::write(&again, style).is_err(),
            "its maps have keys of any type, which JSON does not know"
        );
    }
}
