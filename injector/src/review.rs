//! AdmissionReview, of `admission.k8s.io/v1` and `v1beta1` alike: what is read of a question, and the answer. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::admit::{Outcome, Verdict};

const KIND: &str = "AdmissionReview";
const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];

/// A question of the API server.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

/// What is asked.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Identifies the question; the answer repeats it.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// The object's namespace.
    #[serde(borrow, default)]
    pub namespace: Option<Cow<'a, str>>,
    /// The object's kind.
    #[serde(borrow, default)]
    pub kind: Option<Kind<'a>>,
    /// CREATE, UPDATE and so on.
    #[serde(borrow, default)]
    pub operation: Option<Cow<'a, str>>,
    /// The object, not yet parsed.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
}

/// A kind of object.
#[derive(Deserialize, Debug)]
pub struct Kind<'a> {
    /// Its name, such as `Pod`.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
}

/// Why a body is not a question that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON, or its fields have other types.
    #[error("the body is not an AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error("the body is a {kind} of {api_version}: send an AdmissionReview of admission.k8s.io/v1")]
    Kind {
        /// What it says it is.
        kind: String,
        /// What version it says.
        api_version: String,
    },
    /// There is nothing to answer.
    #[error("the AdmissionReview holds no request")]
    NoRequest,
}

/// Reads a question; the answer must be of the version that comes with it.
///
/// # Errors
/// The body is not an AdmissionReview with a request.
pub fn read(body: &[u8]) -> Result<(&'static str, Request<'_>), Error> {
    let Review {
        api_version,
        kind,
        request,
    } = serde_json::from_slice(body)?;
    let Some(version) = VERSIONS
        .iter()
        .find(|version| **version == api_version && kind == KIND)
    else {
        return Err(Error::Kind {
            kind: kind.into_owned(),
            api_version: api_version.into_owned(),
        });
    };
    Ok((version, request.ok_or(Error::NoRequest)?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'a str,
    message: String,
}

/// Writes the answer.
///
/// # Errors
/// The patch could not be written as JSON.
pub fn write(version: &str, uid: &str, verdict: &Verdict) -> Result<Vec<u8>, serde_json::Error> {
    let mut response = Response {
        uid,
        allowed: true,
        status: None,
        patch_type: None,
        patch: None,
        warnings: &verdict.warnings,
    };
    match &verdict.outcome {
        Outcome::Skipped => {}
        Outcome::Injected(patch) => {
            response.patch_type = Some("JSONPatch");
            response.patch = Some(STANDARD.encode(serde_json::to_vec(patch)?));
        }
        Outcome::Denied(denial) => {
            response.allowed = false;
            response.status = Some(Status {
                code: denial.code(),
                reason: denial.reason(),
                message: denial.to_string(),
            });
        }
    }
    serde_json::to_vec(&Answer {
        api_version: version,
        kind: KIND,
        response,
    })
}
