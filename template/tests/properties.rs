//! Whatever the template and whatever the secret: no panic, an end, and no more than the limits. `make soak` runs more cases.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test helper may fail the test"
)]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use vaultkeeper_template::json::{self, Numbers, Style};
use vaultkeeper_template::{Answer, Delims, Host, Options, Query, Secret, Secrets, Template, Value};

/// As large as the stack of a runtime's worker: an overflow ends the test program.
const STACK: usize = 2 << 20;
/// Far more than the limits let a rendering take, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

struct One(Value);

impl Secrets for One {
    fn answer(&self, query: &Query) -> Option<Answer> {
        match query {
            Query::Read { path, .. } if path != "missing" => Some(Answer::Secret(Arc::new(Secret {
                lease_duration: 60,
                renewable: true,
                ..Secret::of(self.0.clone())
            }))),
            Query::List { .. } => Some(Answer::List(vec!["a".to_owned(), "b/".to_owned()])),
            _ => None,
        }
    }
}

impl Host for One {
    fn env(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(path.as_bytes().to_vec()))
    }
}

/// Parses and renders on a small stack, within the deadline. The length of the text, or the error.
fn run(text: String, data: Value, strict: bool) -> Result<usize, String> {
    let (send, receive) = mpsc::channel();
    let shown = text.clone();
    let work = move || {
        let result = Template::parse(&text, &Delims::default())
            .map_err(|error| error.to_string())
            .and_then(|template| {
                let one = One(data);
                let options = Options {
                    error_on_missing_key: strict,
                    denied: &[],
                    destination: "/destination",
                    host: &one,
                    now: SystemTime::UNIX_EPOCH,
                };
                let outcome = template
                    .render(&one, &options)
                    .map_err(|error| error.to_string())?;
                Ok(outcome.text.expose_secret().len())
            });
        // Nobody listens any more when the deadline has passed.
        let _ = send.send(result);
    };
    let thread = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(work)
        .expect("a thread");
    match receive.recv_timeout(DEADLINE) {
        Ok(result) => {
            thread.join().expect("the thread ends");
            if let Ok(length) = result {
                assert!(length <= 16 << 20, "{length} bytes out of {shown:?}");
            }
            result
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("a panic in {shown:?}"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end of {shown:?}"),
    }
}

/// A secret's data as Vault could send it.
fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON has finite numbers only", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        "\\PC{0,20}".prop_map(|text| serde_json::to_string(&text).expect("a string")),
        prop::collection::vec(any::<char>(), 0..12)
            .prop_map(|text| serde_json::to_string(&text.into_iter().collect::<String>()).expect("a string")),
        prop_oneof![
            Just("yes"),
            Just("0x1f"),
            Just("2024-01-02"),
            Just(" a\n b\n"),
            Just("- x"),
            Just("a: b #c")
        ]
        .prop_map(|text| serde_json::to_string(text).expect("a string")),
    ];
    let tree = leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map("[a-z0-9_. ]{0,6}", inner, 0..6).prop_map(object),
        ]
    });
    prop::collection::btree_map("[a-e]", tree, 1..5)
        .prop_map(|entries| json::parse(&object(entries), Numbers::AsSent).expect("what was built is JSON"))
}

fn object(entries: std::collections::BTreeMap<String, String>) -> String {
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", serde_json::to_string(&key).expect("a key")))
        .collect();
    format!("{{{}}}", entries.join(","))
}

/// Every function of one value.
const STEPS: &[&str] = &[
    "toUpper",
    "toLower",
    "toTitle",
    "trimSpace",
    "toJSON",
    "toJSONPretty",
    "toUnescapedJSON",
    "toYAML",
    "toTOML",
    "print",
    "println",
    "html",
    "js",
    "urlquery",
    "len",
    "not",
    "md5sum",
    "sha256Hex",
    "parseJSON",
    "parseYAML",
    "parseInt",
    "parseUint",
    "parseFloat",
    "parseBool",
    "base64Encode",
    "base64Decode",
    "base64URLDecode",
    "explodeMap",
    "split \"a\"",
    "split \"\"",
    "join \"b\"",
    "indent 3",
    "trim \"a\"",
    "trimPrefix \"a\"",
    "trimSuffix \"a\"",
    "replaceAll \"\" \"-\"",
    "contains 1",
    "regexMatch \"a|b*\"",
    "regexReplaceAll \"(a*)\" \"<$1>\"",
    "add 1",
    "divide 0",
    "modulo 2.5",
    "multiply 9223372036854775807",
    "minimum 1",
    "loop 1",
    "index 0",
    "slice \"abc\" 1",
    "printf \"%v|%d|%s\" 1",
    "printf \"%10.3q\"",
    "printf \"%#v\"",
    "printf \"%+x\"",
    "printf \"% X\"",
    "printf \"%08.3f\"",
    "printf \"%T\"",
    "eq 1",
    "lt \"a\"",
    "and 1",
    "or 2",
    "sprig_quote",
    "sprig_squote",
    "sprig_cat 1",
    "sprig_title",
    "sprig_trunc 2",
    "sprig_trunc -2",
    "sprig_nindent 2",
    "sprig_repeat 3",
    "sprig_substr 1 3",
    "sprig_abbrev 5",
    "sprig_int",
    "sprig_float64",
    "sprig_atoi",
    "sprig_first",
    "sprig_rest",
    "sprig_initial",
    "sprig_uniq",
    "sprig_compact",
    "sprig_reverse",
    "sprig_sortAlpha",
    "sprig_chunk 2",
    "sprig_concat",
    "sprig_keys",
    "sprig_values",
    "sprig_toStrings",
    "sprig_default 1",
    "sprig_empty",
    "sprig_kindOf",
    "sprig_list 1",
    "sprig_dict",
    "sprig_toPrettyJson",
    "sprig_fromJson",
    "sprig_b64dec",
    "sprig_b32enc",
    "sprig_b32dec",
    "sprig_base",
    "sprig_dir",
    "sprig_clean",
    "sprig_ext",
    "sprig_deepCopy",
    "sprig_split \".\"",
    "sprig_splitn \".\" 2",
    "sprig_regexSplit \"a\" \"banana\"",
    "sprig_swapcase",
    "sprig_initials",
    "sprig_round 2",
    "sprig_until",
    "sprig_adler32sum",
    "sprig_hasKey (sprig_dict)",
    "sprig_deepEqual .",
    "sprig_append (sprig_list)",
    "sprig_merge (sprig_dict)",
    "timestamp",
    "env",
    "file",
    "writeToFile \"/x\" \"\" \"\" \"0600\" \"append\"",
    "scratch.Get",
    "scratch.MapValues",
    "secret",
    "secrets",
    "executeTemplate \"t\"",
    "call",
    "sprig_mustRegexFindAll \"a\" \"b\"",
];

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(
            &[
                ".",
                "$",
                "$d",
                "$d.a",
                "$d.b",
                "$d.c.a",
                "$d.d",
                "$d.e.x.y",
                "nil",
                "true",
                "0",
                "-1",
                "1.5",
                "1e300",
                "'x'",
                "\"\"",
                "\"a,b\"",
                "`raw`",
                "\"\\xff\"",
                "(secret \"s\").Data",
                "(secret \"missing\")",
                "(secrets \"s\")",
                "(loop 3)",
                "scratch",
                "(sprig_dict \"k\" $d)",
                "(sprig_list $d.a $d.b)",
                "(sprig_until 4)",
                "(secret \"s\")",
            ][..]
        )
        .prop_map(str::to_owned),
        "[a-z]{0,3}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop::sample::select(STEPS))
                .prop_map(|(value, step)| format!("({value} | {step})")),
            (
                inner.clone(),
                inner.clone(),
                prop::sample::select(
                    &[
                        "index",
                        "slice",
                        "eq",
                        "lt",
                        "and",
                        "or",
                        "print",
                        "printf",
                        "add",
                        "in",
                        "mergeMap",
                        "join",
                        "sprig_append",
                        "sprig_set $d",
                        "sprig_dict",
                        "sprig_has",
                        "replaceAll \"a\"",
                        "regexReplaceAll \"a\"",
                        "regexMatch",
                        "splitToMap \"a\"",
                        "sprig_get",
                        "sprig_pluck",
                        "sprig_without",
                        "sprig_dig \"a\"",
                        "sprig_ternary 1",
                        "containsAny",
                        "scratch.Set",
                        "scratch.MapSet \"m\""
                    ][..]
                )
            )
                .prop_map(|(left, right, name)| format!("({name} {left} {right})")),
        ]
    })
}

fn template() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(" text\n".to_owned()),
        expression().prop_map(|value| format!("{{{{ {value} }}}}")),
        expression().prop_map(|value| format!("{{{{ $x = {value} }}}}{{{{ $x }}}}")),
        Just("{{ template \"t\" . }}".to_owned()),
        Just("{{ template \"t\" $x }}".to_owned()),
    ];
    let body = leaf.prop_recursive(4, 20, 4, |inner| {
        let list = prop::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
        prop_oneof![
            (expression(), list.clone(), list.clone()).prop_map(|(value, one, other)| format!(
                "{{{{ if {value} }}}}{one}{{{{ else }}}}{other}{{{{ end }}}}"
            )),
            (expression(), list.clone(), list.clone()).prop_map(|(value, one, other)| format!(
                "{{{{ with {value} }}}}{one}{{{{ else }}}}{other}{{{{ end }}}}"
            )),
            (expression(), list.clone()).prop_map(|(value, one)| format!(
                "{{{{ range $k, $v := {value} }}}}{one}{{{{ $k }}}}{{{{ end }}}}"
            )),
            (expression(), list.clone())
                .prop_map(|(value, one)| format!("{{{{ range {value} }}}}{one}{{{{ break }}}}{{{{ end }}}}")),
            list,
        ]
    });
    (body.clone(), body).prop_map(|(main, definition)| {
        format!(
            "{{{{ $x := 0 }}}}{{{{ $d := (secret \"s\").Data }}}}{main}{{{{ define \"t\" }}}}{{{{ $x := . }}}}{{{{ $d := . }}}}{definition}{{{{ end }}}}"
        )
    })
}

/// The pieces that texts are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(&[
            "{{", "}}", "{{-", "-}}", "{{ ", " }}", "if ", "end", "else", "else if ", "range ", "with ", "define ", "block ", "template ", "break",
            "continue", "\"a\"", " ", " ", "$x", ":=", "=", "|", "(", ")", ".", ".a", "1", "0x", "1_", "'", "`", "\"", "/*", "*/", ",",
            "nil", "secret", "print", "and", "\n", "é", "\u{a0}", "\\", "%", "\0", "{", "}", "-",
        ][..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_template_or_an_error(text in pieces(), data in data()) {
        let _ = run(text, data, false);
    }

    #[test]
    fn any_template_renders_or_fails(text in template(), data in data(), strict in any::<bool>()) {
        if let Err(error) = run(text.clone(), data, strict) {
            prop_assert!(!error.contains("unexpected") && !error.contains("not defined"), "{} does not parse: {}", text, error);
        }
    }

    #[test]
    fn any_format_takes_any_value(format in "[%a-zA-Z0-9.*+# \\[\\]é-]{0,30}", data in data()) {
        let text = format!("{{{{ with secret \"s\" }}}}{{{{ printf `{format}` .Data.a .Data 1 2.5 \"x\" nil }}}}{{{{ end }}}}");
        prop_assert!(run(text, data, false).is_ok(), "printf never fails");
    }

    #[test]
    fn any_expression_compiles_or_is_refused(pattern in "[a-c.*+?()\\[\\]{}|^$\\\\pLNQEdwsbx0-9,:<>P=!-]{0,20}") {
        let text = format!("{{{{ regexReplaceAll `{pattern}` `$0` `aab 12 é` }}}}");
        let _ = run(text, Value::map([]), false);
    }

    #[test]
    fn json_comes_out_as_it_went_in(data in data()) {
        let style = Style { escape_html: false, pretty: true };
        let text = json::write(&data, style).expect("data has JSON");
        let again = json::parse(&text, Numbers::AsSent).expect("what was written is JSON");
        prop_assert!(again == data, "another value came back: {}", text);
    }
}

/// Templates that ask for as much as they can get.
#[test]
fn what_grows_without_end_is_stopped() {
    let doubling = |step: &str| {
        format!(
            "{{{{ $x := \"0123456789\" }}}}{{{{ range loop 1000 }}}}{{{{ $x = {step} }}}}{{{{ end }}}}{{{{ $x }}}}"
        )
    };
    for text in [
        doubling("print $x $x"),
        doubling("sprig_list $x $x"),
        doubling("sprig_dict \"a\" $x \"b\" $x"),
        doubling("printf \"%s%s\" $x $x"),
        doubling("toJSON (sprig_list $x $x)"),
        doubling("replaceAll \"\" $x $x"),
        doubling("regexReplaceAll \"\" $x $x"),
        doubling("sprig_repeat 1000000 $x"),
        doubling("indent 1000000 $x"),
        doubling("printf \"%1000000d%1000000d\" 1 2 | printf \"%s%s\" $x"),
        "{{ $l := sprig_list }}{{ range loop 1000000 }}{{ $l = sprig_append $l . }}{{ end }}".to_owned(),
        "{{ $d := sprig_dict }}{{ range loop 1000000 }}{{ $_ := sprig_set $d (print .) . }}{{ end }}".to_owned(),
        "{{ range loop 1000000 }}{{ scratch.MapSet \"m\" (print .) . }}{{ end }}".to_owned(),
        "{{ range loop 1000000 }}{{ scratch.Set (printf \"%1000d\" .) . }}{{ end }}".to_owned(),
        "{{ range loop 9223372036854775807 }}{{ end }}".to_owned(),
        "{{ range 9223372036854775807 }}x{{ end }}".to_owned(),
        "{{ define \"a\" }}{{ template \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}".to_owned(),
        "{{ define \"a\" }}{{ if lt . 100 }}{{ template \"a\" (add 1 .) }}{{ template \"a\" (add 1 .) }}{{ end }}{{ end }}{{ template \"a\" 0 }}".to_owned(),
        "{{ define \"a\" }}{{ executeTemplate \"a\" | print }}{{ end }}{{ template \"a\" }}".to_owned(),
        "{{ range loop 1000000 }}{{ regexMatch \"(a|b|c|d)*x{100}\" (printf \"%10000d\" 1) }}{{ end }}".to_owned(),
        "{{ range loop 1000000 }}{{ writeToFile \"/x\" \"\" \"\" \"0600\" (printf \"%100000d\" 1) }}{{ end }}".to_owned(),
        "{{ $x := sprig_list }}{{ range loop 120 }}{{ $x = sprig_list $x $x }}{{ end }}{{ sprig_deepEqual $x (sprig_deepCopy $x) }}".to_owned(),
        "{{ sprig_until 1000000000 }}".to_owned(),
        "{{ sprig_seq 1000000000 }}".to_owned(),
    ] {
        let result = run(text.clone(), Value::map([]), false);
        assert!(result.is_err(), "{text} must be stopped, and gave {result:?}");
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the highest memory");
    let kilobytes: u64 = peak
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    assert!(kilobytes < 1 << 20, "the process took {kilobytes} kB");
}
