//! The calls themselves.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response};
use rusty_s3::S3Action;
use rusty_s3::actions::{CompleteMultipartUploadResponse, CreateMultipartUpload, ListObjectsV2};
use url::Url;

use super::error::{code, network};
use super::{Error, Problem, S3};

/// How long a signature is good for. What is sent with it begins at once.
const SIGNED_FOR: Duration = Duration::from_secs(600);
/// How long a call may take as a whole, a part of an upload included.
const CALL: Duration = Duration::from_secs(300);
/// The most that is read of an answer that is no object, in bytes.
const ANSWER: usize = 4 << 20;
/// The most pages of a listing that are read: a million names.
const PAGES: usize = 1000;

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// An object while it arrives.
pub struct Download(Response);

impl Download {
    /// Its length, as the service says.
    pub fn length(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// The next piece. None: this was all.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.0.chunk().await.map_err(|error| Error {
            step: "fetch the object",
            problem: network(error),
        })
    }
}

impl S3 {
    async fn send(
        &self,
        step: &'static str,
        method: Method,
        url: Url,
        body: Option<Bytes>,
        limit: Option<Duration>,
    ) -> Result<Response, Error> {
        let mut request = self.http.request(method, url);
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let failed = |problem| Error { step, problem };
        let response = request.send().await.map_err(|error| failed(network(error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = whole(response, ANSWER).await.unwrap_or_default();
        Err(failed(Problem::Refused {
            status: status.as_u16(),
            code: code(&String::from_utf8_lossy(&body)),
        }))
    }

    async fn text(&self, step: &'static str, response: Response) -> Result<String, Error> {
        let body = whole(response, ANSWER).await;
        let body = body.map_err(|problem| Error { step, problem })?;
        String::from_utf8(body).map_err(|_| Error {
            step,
            problem: Problem::NotUnderstood,
        })
    }

    /// Begins an upload in parts, and gives its id.
    pub async fn begin(&self, object: &str) -> Result<String, Error> {
        let step = "begin the upload";
        let url = self
            .bucket
            .create_multipart_upload(Some(&self.credentials), object)
            .sign(SIGNED_FOR);
        let answer = self
            .send(step, Method::POST, url, Some(Bytes::new()), Some(CALL))
            .await?;
        let text = self.text(step, answer).await?;
        let parsed = CreateMultipartUpload::parse_response(&text).map_err(|_| Error {
            step,
            problem: Problem::NotUnderstood,
        })?;
        Ok(parsed.upload_id().to_owned())
    }

    /// Uploads a part, and gives what it is called at the end.
    pub async fn part(&self, object: &str, id: &str, number: u16, body: Bytes) -> Result<String, Error> {
        let step = "upload a part";
        let url = self
            .bucket
            .upload_part(Some(&self.credentials), object, number, id)
            .sign(SIGNED_FOR);
        let answer = self.send(step, Method::PUT, url, Some(body), Some(CALL)).await?;
        let etag = answer.headers().get("etag").and_then(|value| value.to_str().ok());
        etag.map(str::to_owned).ok_or(Error {
            step,
            problem: Problem::NotUnderstood,
        })
    }

    /// Makes the object of its parts. A service may say 200 and the error in the answer.
    pub async fn complete(&self, object: &str, id: &str, parts: &[String]) -> Result<(), Error> {
        let step = "complete the upload";
        let action = self.bucket.complete_multipart_upload(
            Some(&self.credentials),
            object,
            id,
            parts.iter().map(String::as_str),
        );
        let url = action.sign(SIGNED_FOR);
        let body = Bytes::from(action.body());
        let answer = self.send(step, Method::POST, url, Some(body), Some(CALL)).await?;
        let text = self.text(step, answer).await?;
        CompleteMultipartUploadResponse::parse(&text)
            .map(drop)
            .map_err(|_| Error {
                step,
                problem: match code(&text) {
                    Some(code) => Problem::Refused {
                        status: 200,
                        code: Some(code),
                    },
                    None => Problem::NotUnderstood,
                },
            })
    }

    /// Breaks an upload off; what is not there any more is no error.
    pub async fn abort(&self, object: &str, id: &str) -> Result<(), Error> {
        let url = self
            .bucket
            .abort_multipart_upload(Some(&self.credentials), object, id)
            .sign(SIGNED_FOR);
        let step = "break an upload off";
        gone(self.send(step, Method::DELETE, url, None, Some(CALL)).await)
    }

    /// Writes a small object.
    pub async fn put(&self, object: &str, body: Bytes) -> Result<(), Error> {
        let url = self
            .bucket
            .put_object(Some(&self.credentials), object)
            .sign(SIGNED_FOR);
        let step = "write an object";
        self.send(step, Method::PUT, url, Some(body), Some(CALL))
            .await
            .map(drop)
    }

    /// Deletes an object; what is not there any more is no error.
    pub async fn delete(&self, object: &str) -> Result<(), Error> {
        let url = self
            .bucket
            .delete_object(Some(&self.credentials), object)
            .sign(SIGNED_FOR);
        gone(
            self.send("delete an object", Method::DELETE, url, None, Some(CALL))
                .await,
        )
    }

    /// Begins to fetch an object. None: there is none.
    pub async fn get(&self, object: &str) -> Result<Option<Download>, Error> {
        let url = self
            .bucket
            .get_object(Some(&self.credentials), object)
            .sign(SIGNED_FOR);
        match self.send("fetch the object", Method::GET, url, None, None).await {
            Ok(response) => Ok(Some(Download(response))),
            Err(Error {
                problem: Problem::Refused { status: 404, .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of an object. None: there is none.
    pub async fn size(&self, object: &str) -> Result<Option<u64>, Error> {
        let step = "look at the object";
        let url = self
            .bucket
            .head_object(Some(&self.credentials), object)
            .sign(SIGNED_FOR);
        match self.send(step, Method::HEAD, url, None, Some(CALL)).await {
            Ok(response) => {
                let length = response.headers().get("content-length");
                let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
                length.map(Some).ok_or(Error {
                    step,
                    problem: Problem::NotUnderstood,
                })
            }
            Err(Error {
                problem: Problem::Refused { status: 404, .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything whose name begins so.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let step = "list the bucket";
        let not_understood = || Error {
            step,
            problem: Problem::NotUnderstood,
        };
        let (mut found, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix);
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let url = action.sign(SIGNED_FOR);
            let answer = self.send(step, Method::GET, url, None, Some(CALL)).await?;
            let text = self.text(step, answer).await?;
            let page = ListObjectsV2::parse_response(&text).map_err(|_| not_understood())?;
            found.extend(page.contents.into_iter().map(|object| Listed {
                key: object.key,
                size: object.size.unwrap_or_default(),
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(found);
            }
        }
        Err(Error {
            step,
            problem: Problem::TooLong,
        })
    }
}

fn gone(answer: Result<Response, Error>) -> Result<(), Error> {
    match answer {
        Ok(_)
        | Err(Error {
            problem: Problem::Refused { status: 404, .. },
            ..
        }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn whole(mut response: Response, most: usize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(network)? {
        if body.len() + chunk.len() > most {
            return Err(Problem::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
