//! How long it takes to parse a template, and to render a secret with 100 keys. Prints; judges nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark for people")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use vaultkeeper_template::{Answer, Delims, Host, Options, Query, Secret, Secrets, Template, Value};

struct One(Arc<Secret>);

impl Secrets for One {
    fn answer(&self, _: &Query) -> Option<Answer> {
        Some(Answer::Secret(Arc::clone(&self.0)))
    }
}

impl Host for One {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// The shortest of many runs, in microseconds.
fn microseconds(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..2000 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
    }
    best
}

fn main() {
    let entries = (0..100).map(|number| {
        (
            Arc::from(format!("key_{number}")),
            Value::str(format!("the value of number {number}")),
        )
    });
    let data = Value::map([(Arc::from("data"), Value::map(entries))]);
    let one = One(Arc::new(Secret::of(data)));
    let options = Options {
        error_on_missing_key: false,
        denied: &[],
        destination: "/vault/secrets/app",
        host: &one,
        now: SystemTime::UNIX_EPOCH,
    };
    println!("{:32} {:>10} {:>10}", "template", "parse µs", "render µs");
    for (name, body) in [
        (
            "export KEY=\"value\"",
            "{{ range $k, $v := .Data.data }}export {{ $k | toUpper }}={{ $v | printf \"%q\" }}\n{{ end }}",
        ),
        (
            "key: value",
            "{{ range $k, $v := .Data.data }}{{ $k }}: {{ $v }}\n{{ end }}",
        ),
        ("toJSON", "{{ .Data.data | toJSON }}"),
        ("toYAML", "{{ .Data.data | toYAML }}"),
    ] {
        let text = format!("{{{{ with secret \"secret/app\" }}}}{body}{{{{ end }}}}");
        let template = Template::parse(&text, &Delims::default()).unwrap();
        let parse = microseconds(|| {
            black_box(Template::parse(black_box(&text), &Delims::default()).unwrap());
        });
        let render = microseconds(|| {
            black_box(template.render(&one, &options).unwrap());
        });
        println!("{name:32} {parse:10.1} {render:10.1}");
    }
}
