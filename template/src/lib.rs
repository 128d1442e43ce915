//! Go templates with the functions of consul-template: parse, check, render.
//!
//! No I/O: what a template asks of Vault is answered through [`Secrets`] from what was already fetched; what is
//! missing is recorded in the [`Outcome`], the caller fetches it and renders again. The injector uses
//! [`Template::parse`] alone, to refuse a broken template at admission.

mod check;
pub mod defaults;
mod eval;
mod functions;
pub mod json;
mod layout;
mod limits;
mod parse;
mod print;
mod render;
mod secrets;
mod value;
mod yaml;

pub use layout::rfc3339;
pub use parse::{Delims, ParseError, Template};
pub use render::{FileWrite, Host, Options, Outcome, RenderError};
pub use secrets::{Answer, Auth, Certificate, Query, Secret, Secrets, WrapInfo};
pub use value::{Elements, Value};
