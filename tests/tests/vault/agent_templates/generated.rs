//! Templates out of pieces, the same in every run.

/// A linear congruential generator with a fixed seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const KEYS: &[&str] = &[
    "username", "password", "port", "big", "f", "neg", "e", "t", "n", "l", "s", "m", "empty", "el", "em",
    "uni", "multi", "cert", "yes", "num", "json", "tab", "csv", "b64", "long", "missing",
];
const LITERALS: &[&str] = &[
    "0",
    "1",
    "-7",
    "2.5",
    "1e6",
    "0x10",
    "'x'",
    "\"\"",
    "\"a,b\"",
    "\"é\\n\"",
    "`raw\\n`",
    "true",
    "false",
    "nil",
    ".",
    "$d.port",
    "$d.s",
    "(len $d.s)",
    "(parseInt \"42\")",
    "(index $d.l 0)",
    "(split \",\" \"p,q\")",
    "(print 1 2)",
];
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
    "printf \"%q\"",
    "printf \"%v\"",
    "printf \"%5v|\"",
    "printf \"%-5s|\"",
    "printf \"%x\"",
    "printf \"%d\"",
    "printf \"%.2f\"",
    "printf \"%T\"",
    "printf \"%#v\"",
    "printf \"%s %s\" \"a\"",
    "print",
    "println",
    "html",
    "js",
    "urlquery",
    "len",
    "not",
    "split \",\"",
    "join \"-\"",
    "replaceAll \"a\" \"bb\"",
    "indent 2",
    "trim \"a\"",
    "trimPrefix \"u\"",
    "trimSuffix \"1\"",
    "base64Encode",
    "base64Decode",
    "sha256Hex",
    "md5sum",
    "parseJSON",
    "parseInt",
    "parseFloat",
    "parseBool",
    "contains \"a\"",
    "regexMatch \"^[a-z]+$\"",
    "regexReplaceAll \"[aeiou]\" \"<$0>\"",
    "add 1",
    "subtract 1.5",
    "multiply 2",
    "divide 2",
    "modulo 3",
    "maximum 3",
    "eq 1",
    "eq \"a\"",
    "ne \"u1\"",
    "lt 3",
    "ge 2.5",
    "and 1",
    "or \"d\"",
    "index $d.m",
    "sprig_default \"dd\"",
    "sprig_quote",
    "sprig_squote",
    "sprig_upper",
    "sprig_trunc 3",
    "sprig_int",
    "sprig_float64",
    "sprig_toJson",
    "sprig_first",
    "sprig_last",
    "sprig_reverse",
    "sprig_toString",
    "sprig_join \"+\"",
    "sprig_nindent 2",
    "sprig_replace \"o\" \"0\"",
    "sprig_kindOf",
    "sprig_empty",
    "sprig_list 1",
    "sprig_b64enc",
    "sprig_splitList \" \"",
];

fn pipe(dice: &mut Dice) -> String {
    let mut out = if dice.below(3) == 0 {
        dice.one_of(LITERALS).to_owned()
    } else {
        format!("$d.{}", dice.one_of(KEYS))
    };
    for _ in 0..dice.below(3) {
        out = format!("{out} | {}", dice.one_of(STEPS));
    }
    out
}

fn part(dice: &mut Dice, depth: usize) -> String {
    let trim = |dice: &mut Dice| if dice.below(5) == 0 { "-" } else { "" };
    let (left, right) = (trim(dice), trim(dice));
    match dice.below(if depth > 2 { 2 } else { 7 }) {
        0 => " text\n ".to_owned(),
        2 => format!(
            "{{{{{left} if {} }}}}{}{{{{ else }}}}{}{{{{ end {right}}}}}",
            pipe(dice),
            part(dice, depth + 1),
            part(dice, depth + 1)
        ),
        3 => format!(
            "{{{{ range {} }}}}<{{{{ . }}}}>{}{{{{ else }}}}none{{{{ end }}}}",
            pipe(dice),
            part(dice, depth + 1)
        ),
        4 => format!(
            "{{{{ range $k, $v := {} }}}}{{{{ $k }}}}={{{{ $v }}}};{{{{ end }}}}",
            pipe(dice)
        ),
        5 => format!(
            "{{{{ with {} }}}}[{{{{ . }}}}]{}{{{{ end }}}}",
            pipe(dice),
            part(dice, depth + 1)
        ),
        6 => format!("{{{{ $x := {} }}}}{{{{ $x }}}}", pipe(dice)),
        _ => format!("{{{{{left} {} {right}}}}}", pipe(dice)),
    }
}

/// This many templates.
pub(super) fn templates(count: usize) -> Vec<String> {
    let mut dice = Dice(20_261_123);
    let one = |dice: &mut Dice| {
        let mut text = "{{ with secret \"kv-templates/app\" }}{{ $d := .Data.data }}".to_owned();
        for _ in 0..=dice.below(2) {
            text.push_str(&part(dice, 0));
        }
        text + "{{ end }}"
    };
    (0..count).map(|_| one(&mut dice)).collect()
}
