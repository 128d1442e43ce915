//! Why a pod is refused, in words for the person who wrote it.

/// A refusal of a pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The pod or its annotations must be changed.
    #[error("{0}")]
    Invalid(String),
    /// The pod is in order, but the injector could not do its part; trying again helps.
    #[error("{0}")]
    Unavailable(String),
}

impl Denial {
    /// A refusal because of one annotation.
    pub fn annotation(key: &str, problem: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("{key}: {problem}"))
    }

    /// The code of the status in the answer to the API server.
    pub fn code(&self) -> u16 {
        match self {
            Self::Invalid(_) => 422,
            Self::Unavailable(_) => 503,
        }
    }

    /// The reason of the status in the answer to the API server.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "Invalid",
            Self::Unavailable(_) => "ServiceUnavailable",
        }
    }
}
