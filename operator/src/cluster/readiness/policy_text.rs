//! Whether the text of a policy allows everything: in HCL or in JSON, as Vault takes both. Pure.
//!
//! This is a reader, not a judge of syntax: what it does not understand, Vault has understood before.

/// A word or a sign of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name, or a text in quotes.
    Text(String),
    Open,
    Close,
    /// `=` or `:`: what stands before it is a key.
    Is,
    /// Brackets and `,`: they add nothing.
    Other,
}

/// Whether a policy allows more than any one holder needs: anything but deny on every path, or all of `sys/` with
/// sudo.
pub(crate) fn allows_everything(text: &str) -> bool {
    let tokens = tokens(text);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if *token != Token::Text("path".to_owned()) {
            continue;
        }
        // `path "x" {…}`, or in JSON `"path": {"x": {…}, …}`.
        let mut in_map = false;
        loop {
            match tokens.get(at) {
                Some(Token::Open) if !in_map => in_map = true,
                Some(Token::Text(path)) => {
                    let (granted, end) = block(&tokens, at + 1);
                    if is_wide(path, &granted) {
                        return true;
                    }
                    at = end;
                    if !in_map {
                        break;
                    }
                    continue;
                }
                Some(Token::Other | Token::Is) => {}
                Some(Token::Open | Token::Close) | None => break,
            }
            at += 1;
        }
    }
    false
}

/// Keys of a block whose values grant something. What a comment says, for example, does not count.
const GRANTS: [&str; 2] = ["capabilities", "policy"];

/// What the block that begins here grants, and where it ends.
fn block(tokens: &[Token], start: usize) -> (Vec<&str>, usize) {
    let (mut depth, mut at) = (0_usize, start);
    let (mut words, mut grants) = (Vec::new(), false);
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Text(word) if depth == 1 => match tokens.get(at + 1) {
                Some(Token::Is | Token::Open) => grants = GRANTS.contains(&word.as_str()),
                _ if grants => words.push(word.as_str()),
                _ => {}
            },
            // Not a block at all.
            Token::Text(_) if depth == 0 => return (words, at),
            Token::Text(_) | Token::Other | Token::Is => {}
        }
        at += 1;
        if depth == 0 && *token == Token::Close {
            break;
        }
    }
    (words, at)
}

/// Capabilities that do something. `policy = "write"` is the older way to say so.
const ACTS: [&str; 8] = [
    "create", "read", "update", "patch", "delete", "list", "sudo", "write",
];

fn is_wide(path: &str, granted: &[&str]) -> bool {
    let has = |word: &str| granted.contains(&word);
    if has("deny") {
        return false;
    }
    match path.trim_start_matches('/') {
        "*" | "+*" | "+/*" => ACTS.iter().any(|act| has(act)),
        "sys/*" | "sys*" => has("sudo"),
        _ => false,
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => found.push(Token::Text(quoted(&mut rest))),
            '{' => found.push(Token::Open),
            '}' => found.push(Token::Close),
            '#' => skip_line(&mut rest),
            '/' if rest.peek() == Some(&'/') => skip_line(&mut rest),
            '/' if rest.peek() == Some(&'*') => skip_comment(&mut rest),
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_' || *c == '-') {
                    word.push(c);
                }
                found.push(Token::Text(word));
            }
            c if c.is_whitespace() => {}
            '=' | ':' => found.push(Token::Is),
            _ => found.push(Token::Other),
        }
    }
    found
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted(rest: &mut Rest<'_>) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => text.extend(escaped(rest)),
            c => text.push(c),
        }
    }
    text
}

/// What stands for another character, as Go and JSON write it: `\x2a`, `\u002a`, `\U0000002a`, `\052`, or `\*` itself.
fn escaped(rest: &mut Rest<'_>) -> Option<char> {
    let kind = rest.next()?;
    let (digits, radix, mut number) = match kind {
        'x' => (2, 16, 0),
        'u' => (4, 16, 0),
        'U' => (8, 16, 0),
        '0'..='7' => (2, 8, kind.to_digit(8)?),
        other => return Some(other),
    };
    for _ in 0..digits {
        let digit = rest.next_if(|c| c.is_digit(radix))?.to_digit(radix)?;
        number = number.checked_mul(radix)?.checked_add(digit)?;
    }
    char::from_u32(number)
}

fn skip_line(rest: &mut Rest<'_>) {
    for c in rest.by_ref() {
        if c == '\n' {
            break;
        }
    }
}

fn skip_comment(rest: &mut Rest<'_>) {
    rest.next();
    let mut last = ' ';
    for c in rest.by_ref() {
        if last == '*' && c == '/' {
            break;
        }
        last = c;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_allows_everything_is_known_in_every_way_to_write_it() {
        for wide in [
            r#"path "*" { capabilities = ["sudo"] }"#,
            r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#,
            "# all\npath \"*\" {\n  capabilities = [ \"read\" ] // really\n}",
            r#"path "a/*" { capabilities = ["read"] } path "+/*" { capabilities = ["update"] }"#,
            r#"path "/*" { policy = "write" }"#,
            r#"path "sys/*" { capabilities = ["update", "sudo"] }"#,
            r#"{"path": {"a": {"capabilities": ["read"]}, "*": {"capabilities": ["sudo"]}}}"#,
            r#""path" "*" { "capabilities" = ["patch"] }"#,
            r#"path "a" { capabilities = ["update"] allowed_parameters = { "x" = ["*"] } } path "*" { capabilities = ["list"] }"#,
            r#"path "\x2a" { capabilities = ["sudo"] }"#,
            r#"path "\052" { capabilities = ["sudo"] }"#,
            r#"{"path": {"\u002a": {"capabilities": ["\u0073udo"]}}}"#,
            r#"path "*" { comment = "deny" capabilities = ["sudo"] }"#,
            r#"path "*" { required_parameters = ["deny"] capabilities = ["read"] }"#,
            r#"path "*" { capabilities = ["update"] denied_parameters = { "deny" = [] } }"#,
        ] {
            assert!(allows_everything(wide), "this allows everything: {wide}");
        }
    }

    #[test]
    fn its_neighbours_do_not() {
        for narrow in [
            "",
            r#"path "*" { capabilities = ["deny"] }"#,
            r#"path "a*" { capabilities = ["sudo"] }"#,
            r#"path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#,
            r#"path "sys/*" { capabilities = ["read"] }"#,
            r#"path "sys/leases/*" { capabilities = ["sudo"] }"#,
            "# path \"*\" { capabilities = [\"sudo\"] }\npath \"a\" { capabilities = [\"read\"] }",
            r#"/* path "*" { capabilities = ["sudo"] } */ path "a" { capabilities = ["read"] }"#,
            r#"path "a" { capabilities = ["read"] allowed_parameters = { "*" = ["sudo"] } }"#,
            r#"{"path": {"a": {"capabilities": ["read"]}}}"#,
            r#"path "*" { }"#,
            r#"path "*" { comment = "read" capabilities = [] }"#,
            r#"path "*" { comment = "sudo" capabilities = ["deny"] }"#,
            r#"path "\x61" { capabilities = ["sudo"] }"#,
            "path",
            r#"path "a" { capabilities = ["read"#,
        ] {
            assert!(!allows_everything(narrow), "this does not: {narrow}");
        }
    }

    #[test]
    fn none_of_the_ready_policies_allows_everything() {
        use crate::cluster::configure::ready_policy;
        use vaultkeeper_crds::cluster::configuration::Persona;
        for ready in [
            Persona::Operator,
            Persona::Responder,
            Persona::Auditor,
            Persona::Application,
        ] {
            assert!(!allows_everything(ready_policy(ready)), "{ready:?}");
        }
    }
}
