//! `template {}` and `env_template {}`: what to render and where it goes.

use std::path::PathBuf;
use std::time::Duration;

use vaultkeeper_template::Delims;

use super::after_change::{self, AfterChange};
use super::command::{self, Run};
use super::duration;
use super::reader::Object;

/// One file to render.
#[allow(clippy::struct_excessive_bools, reason = "each is a key of the schema")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Where the text comes from.
    pub source: Source,
    /// The file to write.
    pub destination: PathBuf,
    /// The delimiters of actions.
    pub delims: Delims,
    /// The file's mode; without one that of the file that is there, else 0644.
    pub mode: Option<u32>,
    /// A missing key is an error.
    pub error_on_missing_key: bool,
    /// A template that cannot be rendered ends the agent, where failures are to end it at all.
    pub error_fatal: bool,
    /// Whether the destination's folder is made when it is not there.
    pub create_folders: bool,
    /// How often this template's secrets without a lease are read again; without one as often as those of all.
    pub interval: Option<Duration>,
    /// How long changes are gathered before they are rendered.
    pub wait: Option<Wait>,
    /// What runs after the file changed.
    pub run: Option<Run>,
    /// How else the application is told. Not of Vault Agent's schema.
    pub after_change: Option<AfterChange>,
    /// Whether the file's former content is kept beside it.
    pub backup: bool,
    /// The user who owns the file; without one it stays as it is.
    pub user: Option<Owner>,
    /// The file's group; without one it stays as it is.
    pub group: Option<Owner>,
    /// What the template may use.
    pub limits: Limits,
}

/// One variable to render for the program of `exec {}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvTemplate {
    /// The variable.
    pub name: String,
    /// Where the text comes from.
    pub source: Source,
    /// The delimiters of actions.
    pub delims: Delims,
    /// A missing key is an error.
    pub error_on_missing_key: bool,
    /// A template that cannot be rendered ends the agent, where failures are to end it at all.
    pub error_fatal: bool,
    /// What the template may use.
    pub limits: Limits,
}

/// Where a template's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the configuration itself.
    Text(String),
    /// In a file.
    File(PathBuf),
}

/// How long changes are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Nothing else has changed for this long.
    pub min: Duration,
    /// No change waits longer than this.
    pub max: Duration,
}

/// A user or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

/// What a template may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The folder that `file` may read in; anywhere without one.
    pub sandbox_path: Option<PathBuf>,
    /// Functions that are not to be used, with `*` for any text.
    pub function_denylist: Vec<String>,
}

/// What both kinds of template have.
struct Common {
    source: Source,
    delims: Delims,
    error_on_missing_key: bool,
    error_fatal: bool,
    function_denylist: Vec<String>,
}

/// Reads one `template {}`. `None` when it was reported as unusable.
pub(super) fn read(mut template: Object<'_>) -> Option<Template> {
    let common = common(&mut template);
    let destination = PathBuf::from(template.required("destination"));
    let limits = |function_denylist, sandbox_path| Limits {
        sandbox_path,
        function_denylist,
    };
    let mode = template.mode("perms");
    let create_folders = template.flag("create_dest_dirs").unwrap_or(true);
    let interval = template
        .duration("static_secret_render_interval")
        .filter(|interval| !interval.is_zero());
    let wait = wait(&mut template);
    let run = command::after_change(&mut template);
    let after_change = template.object("after_change").map(after_change::read);
    let backup = template.flag("backup").unwrap_or(false);
    let user = owner(&mut template, "user", "uid");
    let group = owner(&mut template, "group", "gid");
    let sandbox_path = template.file("sandbox_path");
    template.finish();
    let Common {
        source,
        delims,
        error_on_missing_key,
        error_fatal,
        function_denylist,
    } = common?;
    Some(Template {
        source,
        destination,
        delims,
        mode,
        error_on_missing_key,
        error_fatal,
        create_folders,
        interval,
        wait,
        run,
        after_change,
        backup,
        user,
        group,
        limits: limits(function_denylist, sandbox_path),
    })
}

/// Reads one `env_template "NAME" {}`. `None` when it was reported as unusable.
pub(super) fn read_env(mut template: Object<'_>) -> Option<EnvTemplate> {
    let name = template.label().unwrap_or_default().to_owned();
    let common = common(&mut template);
    for key in [
        "destination",
        "create_dest_dirs",
        "perms",
        "command",
        "command_timeout",
        "exec",
        "after_change",
        "wait",
        "backup",
        "user",
        "uid",
        "group",
        "gid",
        "sandbox_path",
    ] {
        if template.has(key) {
            template.wrong(key, "has no meaning for a variable");
        }
        template.known(key);
    }
    if name.is_empty() || name.contains(['=', '\0']) {
        template
            .report()
            .wrong(template.here(), "must be named after a variable");
        return None;
    }
    template.finish();
    let Common {
        source,
        delims,
        error_on_missing_key,
        error_fatal,
        function_denylist,
    } = common?;
    Some(EnvTemplate {
        name,
        source,
        delims,
        error_on_missing_key,
        error_fatal,
        limits: Limits {
            sandbox_path: None,
            function_denylist,
        },
    })
}

fn common(template: &mut Object<'_>) -> Option<Common> {
    let contents = template.text("contents");
    let file = template.file("source");
    let source = match (contents, file) {
        (Some(text), None) => Some(Source::Text(text)),
        (None, Some(file)) => Some(Source::File(file)),
        (None, None) => {
            // A value of another type was reported as that.
            if template.is_text_or_absent("contents") && template.is_text_or_absent("source") {
                template.missing("contents");
            }
            None
        }
        (Some(_), Some(_)) => {
            template.wrong("contents", "and source exclude each other");
            None
        }
    };
    let default = Delims::default();
    let delims = Delims {
        left: template.text("left_delimiter").unwrap_or(default.left),
        right: template.text("right_delimiter").unwrap_or(default.right),
    };
    let error_on_missing_key = template.flag("error_on_missing_key").unwrap_or(false);
    let error_fatal = template.flag("error_fatal").unwrap_or(true);
    let mut function_denylist = template.texts("function_denylist").unwrap_or_default();
    function_denylist.extend(template.texts("function_blacklist").unwrap_or_default());
    Some(Common {
        source: source?,
        delims,
        error_on_missing_key,
        error_fatal,
        function_denylist,
    })
}

/// `wait = "5s:20s"`, `wait = "5s"` or `wait { min = "5s" max = "20s" }`. Without `max` it is four times `min`.
fn wait(template: &mut Object<'_>) -> Option<Wait> {
    let (min, max) = if template.is_text("wait") {
        let text = template.text("wait")?;
        let mut parts = text.split(':').map(|part| duration::parse(part.trim()));
        match (parts.next().flatten(), parts.next(), parts.next()) {
            (Some(min), None, None) => (min, None),
            (Some(min), Some(Some(max)), None) => (min, Some(max)),
            _ => {
                template.wrong("wait", "must be \"MIN:MAX\", two durations");
                return None;
            }
        }
    } else {
        let mut object = template.object("wait")?;
        let is_on = object.flag("enabled").unwrap_or(true);
        let (min, max) = (object.duration("min"), object.duration("max"));
        object.finish();
        (min.filter(|_| is_on)?, max)
    };
    let max = max.unwrap_or(min.saturating_mul(4));
    if max < min {
        template.wrong("wait", "must not have a max that is shorter than its min");
    }
    (!min.is_zero()).then_some(Wait { min, max })
}

fn owner(template: &mut Object<'_>, name: &'static str, id: &'static str) -> Option<Owner> {
    let id = template.id(id).map(Owner::Id);
    let name = template.text(name);
    // A number as text is a number, as with consul-template.
    let name = name.map(|name| name.parse().map_or(Owner::Name(name), Owner::Id));
    id.or(name)
}
