//! Faults that no healthy server shows: a silent one, a broken connection, a redirect. Fakes only to inject them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use vaultkeeper_vault::{Client, Error, Token};

/// A listener that answers each request with `answer` and then closes; what it read goes to the channel.
async fn listener(answer: Vec<u8>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_head(&mut stream).await;
            // What is left unread would break the connection before the answer is read.
            let mut body = vec![0; length_of_body(&request)];
            let _ = stream.read_exact(&mut body).await;
            let _ = seen.send(request);
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, requests)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1..) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

fn length_of_body(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths
        .next()
        .map_or(0, |(_, length)| length.trim().parse().unwrap())
}

#[tokio::test]
async fn a_token_is_never_sent_to_where_a_redirect_points() {
    let (elsewhere, mut seen_elsewhere) =
        listener(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec()).await;
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}/v1/secret/x\r\ncontent-length: 0\r\n\r\n"
    );
    let (url, mut seen) = listener(redirect.into_bytes()).await;
    let client = Client::builder(url).build().unwrap();
    let client = client.with_token(&Token::new("hvs.canary").unwrap());
    let error = client.read("secret/x").await.unwrap_err();
    assert!(
        matches!(&error, Error::Standby { active: Some(active), .. } if *active == elsewhere),
        "a redirect should be reported with its target, not followed: {error:?}"
    );
    let request = seen.recv().await.unwrap();
    assert!(
        request.contains("hvs.canary"),
        "the addressed server gets the token"
    );
    assert!(
        seen_elsewhere.try_recv().is_err(),
        "nobody else may see a request"
    );
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_that_may_have_taken_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let error = client.seal_status().await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { .. }),
        "connected, but no answer: {error:?}"
    );
    assert!(
        error.may_have_taken_effect() && error.is_retryable(),
        "the server may have acted: {error:?}"
    );
}

#[tokio::test]
async fn an_answer_that_ends_early_is_told_apart_from_no_connection() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"sealed\":"] {
        let (url, _seen) = listener(answer.as_bytes().to_vec()).await;
        let error = Client::builder(url)
            .build()
            .unwrap()
            .seal_status()
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Interrupted { .. }),
            "after the answer {answer:?} the error should say that the connection broke: {error:?}"
        );
        assert!(error.may_have_taken_effect(), "the request was sent: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_vaults_is_named_as_such_without_quoting_it() {
    let body = r#"{"keys_base64":"s3cret","root_token":7}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (url, _seen) = listener(answer.into_bytes()).await;
    let client = Client::builder(url).build().unwrap();
    let split = vaultkeeper_vault::sys::init::Split {
        shares: 1,
        threshold: 1,
        pgp_keys: Vec::new(),
    };
    let request = vaultkeeper_vault::sys::init::InitRequest::Shamir(split);
    let error = client.init(&request).await.unwrap_err();
    assert!(
        matches!(error, Error::Decode { .. }),
        "the answer has another shape: {error:?}"
    );
    assert!(
        !format!("{error} {error:?}").contains("s3cret"),
        "no content may be quoted: {error:?}"
    );
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_nothing_was_sent() {
    // Of an address of its own: on 127.0.0.1 another test may get the port.
    let address = vaultkeeper_tests::ports::loopback().unwrap();
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::builder(url.clone())
        .build()
        .unwrap()
        .health()
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { tls: false, .. }),
        "nobody listens: {error:?}"
    );
    assert!(!error.may_have_taken_effect(), "nothing was sent: {error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&url) && text.contains("GET sys/health") && text.contains("refused"),
        "node, operation and cause should be named: {text}"
    );
}

#[tokio::test]
async fn headers_say_what_the_client_was_told() {
    let (url, mut seen) = listener(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
    let client = Client::builder(url)
        .namespace("team-a")
        .user_agent("test/1")
        .build()
        .unwrap();
    client.on_this_node().step_down().await.unwrap();
    let step_down = seen.recv().await.unwrap().to_lowercase();
    assert!(
        step_down.contains("x-vault-no-request-forwarding: true"),
        "for one node only: {step_down}"
    );
    assert!(
        !step_down.contains("x-vault-namespace"),
        "it exists in the root namespace only: {step_down}"
    );
    client.delete("secret/x").await.unwrap();
    let delete = seen.recv().await.unwrap().to_lowercase();
    assert!(
        delete.contains("x-vault-namespace: team-a"),
        "the namespace should be sent: {delete}"
    );
    assert!(
        !delete.contains("no-request-forwarding"),
        "a standby may forward this: {delete}"
    );
    assert!(!delete.contains("x-vault-token"), "no token was given: {delete}");
    assert!(delete.contains("user-agent: test/1"), "as set: {delete}");
}
