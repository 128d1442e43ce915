//! Functions by example. The outputs are Go's and consul-template's, as their documentation and rules give them.

use std::time::SystemTime;

use secrecy::ExposeSecret as _;
use vaultkeeper_template::{Answer, Delims, Host, Options, Query, Secrets, Template};

struct Nothing;

impl Host for Nothing {
    fn env(&self, name: &str) -> Option<String> {
        (name == "EMPTY").then(String::new)
    }

    fn file(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

impl Secrets for Nothing {
    fn answer(&self, _: &Query) -> Option<Answer> {
        None
    }
}

fn render(text: &str) -> Result<Vec<u8>, String> {
    let template = Template::parse(text, &Delims::default()).map_err(|error| error.to_string())?;
    let options = Options {
        error_on_missing_key: false,
        denied: &[],
        destination: "",
        host: &Nothing,
        now: SystemTime::UNIX_EPOCH,
    };
    let outcome = template
        .render(&Nothing, &options)
        .map_err(|error| error.to_string())?;
    Ok(outcome.text.expose_secret().to_vec())
}

#[test]
fn functions_give_what_go_gives() {
    for (template, expected) in [
        (
            "{{ \"a-1 b-22\" | regexReplaceAll \"([a-z])-(\\\\d+)\" \"$2${1}\" }}",
            "1a 22b",
        ),
        ("{{ if \"foobar\" | regexMatch \"o+b\" }}y{{ end }}", "y"),
        ("{{ \"hello wORLD o'neil\" | toTitle }}", "Hello WORLD O'neil"),
        (
            "{{ \"xxaxx\" | trim \"x\" }} {{ trimPrefix \"a\" \"ab\" }} {{ trimSuffix \"b\" \"ab\" }}[{{ trimSpace \" a \" }}]",
            "a b a[a]",
        ),
        ("{{ \"a b\" | split \" \" | join \"+\" }}", "a+b"),
        ("{{ \"a.b.c\" | replaceAll \".\" \"/\" }}", "a/b/c"),
        (
            "{{ timestamp }} {{ timestamp \"unix\" }} {{ timestamp \"2006-01-02\" }}",
            "1970-01-01T00:00:00Z 0 1970-01-01",
        ),
        (
            "[{{ envOrDefault \"EMPTY\" \"d\" }}][{{ envOrDefault \"UNSET\" \"d\" }}][{{ env \"UNSET\" }}]",
            "[][d][]",
        ),
        (
            "{{ printf \"%d %d %d %d %d %d %d %d %d\" 1 2 3 4 5 6 7 8 9 }}",
            "1 2 3 4 5 6 7 8 9",
        ),
        ("{{ println \"a\" 1 }}{{ print 1 2 \"a\" 3 }}", "a 1\n1 2a3"),
        (
            "{{ print 1e6 0.0001 0.00001 123456.5 1.0 }}",
            "1e+06 0.0001 1e-05 123456.5 1",
        ),
        (
            "{{ slice \"abcdef\" 1 3 }}{{ index (split \",\" \"a,b\") 1 }}",
            "bcb",
        ),
        (
            "{{ parseInt \"-5\" }} {{ parseFloat \"1.5\" }} {{ parseBool \"T\" }} {{ parseJSON \"\" }}",
            "-5 1.5 true map[]",
        ),
        (
            "{{ toJSONPretty (parseJSON \"{\\\"a\\\":[1],\\\"b\\\":{}}\") }}",
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}",
        ),
        (
            "{{ $x := 1 }}{{ range loop 3 }}{{ $x = . }}{{ end }}{{ $x }}",
            "2",
        ),
        (
            "{{ range $i, $c := split \",\" \"a,b,c\" }}{{ if eq $c \"b\" }}{{ continue }}{{ end }}{{ $i }}{{ $c }}{{ end }}",
            "0a2c",
        ),
        ("{{ with $x := \"v\" }}{{ $x }}{{ else with 1 }}n{{ end }}", "v"),
        ("{{ html \"<a>\" }}{{ urlquery \"a b&c\" }}", "&lt;a&gt;a+b%26c"),
        ("{{ block \"b\" \"x\" }}[{{ . }}]{{ end }}", "[x]"),
        (
            "{{ (parseJSON \"{}\").a }}{{ index (parseJSON \"{}\") \"a\" }}",
            "<no value><no value>",
        ),
    ] {
        let text = render(template).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(text.as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn a_binary_secret_is_written_byte_for_byte() {
    assert_eq!(
        render("{{ base64Decode \"/wD+\" }}"),
        Ok(vec![0xff, 0x00, 0xfe]),
        "no byte may change"
    );
    assert_eq!(
        render("{{ base64Decode \"/wD+\" | base64Encode }}"),
        Ok(b"/wD+".to_vec())
    );
}

#[test]
fn wrong_use_is_an_error_that_names_the_place() {
    for (template, part) in [
        (
            "\n {{ toUpper 1 }}",
            "line 2, column 13: at <1>: expected string; found 1",
        ),
        (
            "{{ join \",\" (parseJSON \"[1]\") }}",
            "expected []string; got []interface {}",
        ),
        (
            "{{ (parseJSON \"{}\").a.b }}",
            "nil pointer evaluating interface {}.b",
        ),
        (
            "{{ base64Decode \"%\" }}",
            "error calling base64Decode: illegal base64 data",
        ),
        ("{{ 1 | divide 0 }}", "divide by zero"),
        ("{{ template \"x\" }}", "not defined"),
        ("{{ regexMatch \"(\" \"a\" }}", "not valid"),
        (
            "{{ range loop 1000 }}{{ range loop 100000 }}{{ end }}{{ end }}",
            "too many rounds",
        ),
        (
            "{{ range loop 500000 }}0123456789abcdef0123456789abcdef0123456789{{ print 1 }}{{ end }}",
            "larger than 16 MiB",
        ),
    ] {
        let error = render(template).expect_err("the template must fail");
        assert!(
            error.contains(part),
            "{template}: expected {part:?}, got {error:?}"
        );
    }
}
