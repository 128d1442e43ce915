//! `template.after_change {}`, which Vault Agent does not have: how a running application is told without a command.

use std::time::Duration;

use super::command;
use super::reader::Object;
use crate::after::hint::{Hint, Whom};
use crate::after::plan::Call;

/// How the application is told that its file changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterChange {
    /// `signal` with `process` or `pid_file`.
    pub(crate) signal: Option<Hint>,
    /// `url` with `method` and `timeout`.
    pub(crate) call: Option<Call>,
    /// Whether the first rendering counts as a change, for the template's `command`, too; without it only for that.
    pub(crate) on_first_render: Option<bool>,
}

/// Reads the block.
pub(super) fn read(mut block: Object<'_>) -> AfterChange {
    let signal = command::signal(&mut block, "signal");
    let process = block.text("process");
    let pid_file = block.file("pid_file");
    let to = match (process, pid_file) {
        (Some(name), None) => Some(Whom::Name(name)),
        (None, Some(file)) => Some(Whom::PidFile(file)),
        (Some(_), Some(_)) => {
            block.wrong("process", "and pid_file exclude each other");
            None
        }
        (None, None) => {
            if signal.is_some() {
                block.missing("process");
            }
            None
        }
    };
    if to.is_some() && !block.has("signal") {
        block.missing("signal");
    }
    let method = block.word("method", &["GET", "POST", "PUT"]);
    let timeout = block.duration("timeout");
    let url = block.text("url");
    // Within the pod; TLS would need roots of its own.
    if url.as_ref().is_some_and(|url| !url.starts_with("http://")) {
        block.wrong("url", "must begin with http://");
    }
    let read = AfterChange {
        signal: signal.zip(to).map(|(signal, to)| Hint {
            signal,
            to,
            may_miss: false,
        }),
        call: url.map(|url| Call {
            method: method.unwrap_or("POST").to_owned(),
            url,
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
        }),
        on_first_render: block.flag("on_first_render"),
    };
    block.finish();
    read
}
