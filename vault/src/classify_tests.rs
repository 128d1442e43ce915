//! The answers are those seen on real servers of both products.

use super::*;

fn call() -> Call {
    Call {
        operation: "PUT sys/init".to_owned(),
        node: "https://node:8200".to_owned(),
    }
}

fn judge(status: u16, body: &str) -> Error {
    let failure = Failure {
        status,
        location: None,
        retry_after: None,
        body: body.as_bytes(),
        secrets: &["hvs.mine"],
    };
    classify(call(), &failure)
}

#[test]
fn a_denied_write_is_told_apart_from_a_sealed_server() {
    let denied = judge(
        403,
        r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
    );
    assert!(
        denied.is_denied() && !denied.is_invalid_token(),
        "a missing policy: {denied:?}"
    );
    let sealed = judge(503, r#"{"errors":["Vault is sealed"]}"#);
    assert!(sealed.is_sealed(), "503 with these words is a seal: {sealed:?}");
}

#[test]
fn an_invalid_token_is_told_apart_from_a_missing_policy_where_the_server_tells() {
    let vault = judge(
        403,
        r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#,
    );
    assert!(vault.is_invalid_token(), "Vault names the token: {vault:?}");
    assert!(
        judge(403, r#"{"errors":["bad token"]}"#).is_invalid_token(),
        "a look-up of a dead token"
    );
    let openbao = judge(403, r#"{"errors":["permission denied"]}"#);
    assert!(
        !openbao.is_invalid_token(),
        "OpenBao does not tell, so neither do we: {openbao:?}"
    );
}

#[test]
fn the_states_of_initialisation_are_told_apart() {
    assert_eq!(
        judge(400, r#"{"errors":["Vault is already initialized"]}"#),
        Error::AlreadyInitialized { call: call() },
        "a second init"
    );
    assert_eq!(
        judge(400, r#"{"errors":["Vault is not initialized"]}"#),
        Error::NotInitialized { call: call() },
        "an unseal before init"
    );
}

#[test]
fn a_cluster_without_an_active_node_is_no_server_fault() {
    let error = judge(
        500,
        r#"{"errors":["local node not active but active cluster node not found"]}"#,
    );
    assert_eq!(
        error,
        Error::NoActive { call: call() },
        "both products answer 500 during an election"
    );
    assert!(error.is_retryable(), "an election ends");
}

#[test]
fn a_standby_names_the_active_node_without_the_path() {
    let failure = Failure {
        status: 307,
        location: Some("https://vault-1.vault-internal:8200/v1/sys/step-down?x=y"),
        retry_after: None,
        body: b"",
        secrets: &[],
    };
    assert_eq!(
        classify(call(), &failure),
        Error::Standby {
            call: call(),
            active: Some("https://vault-1.vault-internal:8200".to_owned())
        },
        "only scheme, host and port"
    );
}

#[test]
fn a_locked_namespace_is_not_taken_for_a_seal() {
    let text = r#"{"errors":["API access to this namespace has been locked by an administrator"]}"#;
    assert!(
        matches!(judge(503, text), Error::Locked { .. }),
        "503 with other words"
    );
    assert!(
        judge(503, r#"{"errors":["namespace is sealed"]}"#).is_sealed(),
        "OpenBao's sealed namespace"
    );
}

#[test]
fn an_answer_that_is_no_json_keeps_its_first_words() {
    let error = judge(400, "Client sent an HTTP request to an HTTPS server.\n");
    assert_eq!(
        error.server_errors(),
        ["Client sent an HTTP request to an HTTPS server."],
        "the one hint that there is"
    );
    assert!(
        matches!(
            judge(502, "<html>bad gateway</html>"),
            Error::Server { status: 502, .. }
        ),
        "a proxy"
    );
}

#[test]
fn the_reason_inside_data_is_found() {
    let error = judge(
        404,
        r#"{"request_id":"x","data":{"error":"failed to find accessor entry"}}"#,
    );
    assert_eq!(
        error.server_errors(),
        ["failed to find accessor entry"],
        "approle answers 404 like this"
    );
}

#[test]
fn server_texts_are_capped_and_never_repeat_the_token() {
    let long = "ä".repeat(5000);
    let error = judge(
        500,
        &format!(r#"{{"errors":["token hvs.mine is bad","{long}","more"]}}"#),
    );
    let texts = error.server_errors();
    assert_eq!(texts[0], "token … is bad", "the token must be cut out");
    assert!(
        texts.iter().map(String::len).sum::<usize>() <= MAX_TEXT,
        "at most {MAX_TEXT} bytes"
    );
}

#[test]
fn a_line_break_in_a_server_text_cannot_forge_a_log_line() {
    let error = judge(400, r#"{"errors":["bad\n2026-01-01 INFO all well\u001b[2J"]}"#);
    assert!(
        !error.to_string().contains(['\n', '\u{1b}']),
        "one printable line: {error}"
    );
}

#[test]
fn an_absent_object_behind_a_500_can_be_told() {
    let error = judge(
        500,
        r#"{"errors":["failed to find accessor entry for secret_id_accessor: \"x\""]}"#,
    );
    assert!(
        error
            .clone()
            .absent_when("failed to find accessor entry")
            .is_not_found(),
        "the words say so"
    );
    assert!(
        !error.absent_when("other words").is_not_found(),
        "other faults stay what they are"
    );
}

#[test]
fn only_an_unanswered_or_broken_call_may_have_taken_effect() {
    let timed_out = Error::TimedOut {
        call: call(),
        after: Duration::from_secs(150),
    };
    assert!(timed_out.may_have_taken_effect(), "init may have happened");
    let unreachable = Error::Unreachable {
        call: call(),
        reason: "refused".to_owned(),
        tls: false,
    };
    assert!(!unreachable.may_have_taken_effect(), "nothing was sent");
    assert!(!judge(400, "{}").may_have_taken_effect(), "the server refused");
}

#[test]
fn an_error_names_operation_node_and_cause_once() {
    assert_eq!(
        judge(403, r#"{"errors":["permission denied"]}"#).to_string(),
        "PUT sys/init at https://node:8200: denied: permission denied",
        "what a person reads in a condition"
    );
}

#[test]
fn what_one_member_says_of_itself_is_told_apart_from_what_all_would_say() {
    for (status, text) in [
        (503, "Vault is sealed"),
        (503, "an upstream is away"),
        (500, "local node not active but active cluster node not found"),
        (500, "internal error"),
        (502, ""),
        (501, ""),
        (400, "Vault is not initialized"),
        (307, ""),
    ] {
        let error = judge(status, &format!(r#"{{"errors":["{text}"]}}"#));
        assert!(
            error.may_be_this_member(),
            "{status} {text:?}: another member may answer otherwise: {error:?}"
        );
    }
    for (status, text) in [
        (403, "permission denied"),
        (404, ""),
        (400, "missing role"),
        (405, "unsupported operation"),
        (429, "too many requests"),
        (503, "API access to this namespace has been locked"),
    ] {
        let error = judge(status, &format!(r#"{{"errors":["{text}"]}}"#));
        assert!(
            !error.may_be_this_member(),
            "{status} {text:?}: every member would say so: {error:?}"
        );
    }
}
