//! Go templates with the functions of consul-template: parse, check, render.
//!
//! No I/O: what a template asks of Vault is answered through [`Secrets`] from what was already fetched; what is
//! missing is recorded in the [`Outcome`], the caller fetches it and renders again. The injector uses
//! [`Template::parse`] alone, to refuse a broken template at admission.

pub mod defaults;
mod eval;
mod fields;
mod fmt;
mod functions;
pub mod json;
mod layout;
mod limits;
mod md5;
mod parse;
mod regexp;
mod render;
mod secrets;
mod syntax;
mod toml;
mod value;
mod yaml;

pub use layout::rfc3339;
pub use parse::{Delims, ParseError, Template};
pub use render::{FileWrite, Host, Options, Outcome, RenderError};
pub use secrets::{Answer, Auth, Certificate, Query, Secret, Secrets, WrapInfo};
pub use value::{Dict, Elements, Entries, Key, List, Map, TooDeep, Value};

pub(crate) use syntax::{float as syntax_float, integer as syntax_integer};
