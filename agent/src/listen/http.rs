//! As much of HTTP/1.1 as a probe, a scraper and `curl` speak: one request, one answer, no body read. Pure.

/// A head may not be longer than this, in bytes.
pub(super) const MOST_BYTES: usize = 8 * 1024;

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without its query string.
    pub(super) path: String,
    /// Whether it has the header that a browser cannot be made to send from elsewhere.
    pub(super) has_vault_header: bool,
}

/// What is read so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Not all of it.
    Partial,
    /// All of it.
    Whole(Request),
    /// No request that we understand.
    Bad,
}

/// Reads the head of a request out of the first bytes.
pub(super) fn read(bytes: &[u8]) -> Head {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() >= MOST_BYTES {
            Head::Bad
        } else {
            Head::Partial
        };
    };
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else {
        return Head::Bad;
    };
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or("").split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words.as_slice() else {
        return Head::Bad;
    };
    if method.is_empty() || !target.starts_with('/') {
        return Head::Bad;
    }
    let mut has_vault_header = false;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Head::Bad;
        };
        has_vault_header |=
            name.eq_ignore_ascii_case("x-vault-request") && value.trim().eq_ignore_ascii_case("true");
    }
    Head::Whole(Request {
        method: (*method).to_owned(),
        path: target.split('?').next().unwrap_or("").to_owned(),
        has_vault_header,
    })
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    /// As Vault tells an error.
    pub(super) fn error(status: &'static str, reason: &str) -> Self {
        Self {
            status,
            kind: "application/json",
            body: format!("{}\n", serde_json::json!({"errors": [reason]})),
        }
    }

    /// What goes over the wire; without the body for `HEAD`.
    pub(super) fn bytes(&self, is_head: bool) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let length = body.len();
        let body = if is_head { "" } else { body };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_arrives() {
        let text = b"POST /agent/v1/quit?x=1 HTTP/1.1\r\nHost: a\r\nX-Vault-Request: True\r\n\r\nbody";
        for length in 0..text.len() - 4 {
            assert_eq!(read(&text[..length]), Head::Partial, "after {length} bytes");
        }
        let wanted = Request {
            method: "POST".to_owned(),
            path: "/agent/v1/quit".to_owned(),
            has_vault_header: true,
        };
        assert_eq!(read(text), Head::Whole(wanted));
    }

    #[test]
    fn what_is_no_request_is_refused_and_no_head_is_endless() {
        for text in [
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            " / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nno header\r\n\r\n",
            "\u{16}\u{3}\u{1}\r\n\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Head::Bad, "{text:?}");
        }
        assert_eq!(read(&[b'a'; MOST_BYTES]), Head::Bad, "a head without end");
        assert_eq!(read(b"GET / HTTP/1.1\r\nA: \xff\r\n\r\n"), Head::Bad, "no text");
    }

    #[test]
    fn an_answer_tells_its_length_also_without_its_body() {
        let answer = Answer::text("200 OK", "ok\n");
        let text = |is_head| String::from_utf8(answer.bytes(is_head)).unwrap();
        assert!(text(false).ends_with("\r\n\r\nok\n"), "{}", text(false));
        assert!(text(true).ends_with("\r\n\r\n"), "{}", text(true));
        assert!(text(true).contains("Content-Length: 3\r\n"), "{}", text(true));
    }
}
