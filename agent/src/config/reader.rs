//! Takes a JSON object apart key by key, so that what is left over can be warned about and what is wrong has a path.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Map, Value};

use super::duration;
use super::load::ConfigError;

/// Warnings collected while reading.
pub(super) type Warnings = RefCell<Vec<String>>;

/// One object of the configuration.
pub(super) struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
    taken: Vec<&'static str>,
    warnings: &'a Warnings,
}

fn wrong<T>(path: String, wanted: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Wrong {
        path,
        reason: format!("must be {wanted}"),
    })
}

impl<'a> Object<'a> {
    pub(super) fn root(value: &'a Value, warnings: &'a Warnings) -> Result<Self, ConfigError> {
        Self::new(String::new(), value, warnings)
    }

    fn new(path: String, value: &'a Value, warnings: &'a Warnings) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Ok(Self {
                path,
                map,
                taken: Vec::new(),
                warnings,
            }),
            _ => wrong(
                if path.is_empty() {
                    "the configuration".to_owned()
                } else {
                    path
                },
                "an object",
            ),
        }
    }

    /// The full path of a key of this object.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key; null counts as absent.
    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.taken.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A string; an empty one counts as absent, as in Vault Agent.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => wrong(self.at(key), "a string"),
        }
    }

    /// A string that must be there.
    pub(super) fn required(&mut self, key: &'static str) -> Result<String, ConfigError> {
        self.text(key)?
            .ok_or_else(|| ConfigError::Missing { path: self.at(key) })
    }

    /// A bool, also as a string the way Go reads one.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
                _ => wrong(self.at(key), "true or false"),
            },
            Some(_) => wrong(self.at(key), "true or false"),
        }
    }

    /// A duration: a Go duration or a number of seconds.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let read = match self.take(key) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => duration::parse(text),
            Some(Value::Number(number)) => number
                .as_f64()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            Some(_) => None,
        };
        match read {
            Some(duration) => Ok(Some(duration)),
            None => wrong(self.at(key), "a duration such as \"5m\" or a number of seconds"),
        }
    }

    /// A number.
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::String(text)) if text.parse::<f64>().is_ok() => Ok(text.parse().ok()),
            Some(_) => wrong(self.at(key), "a number"),
        }
    }

    /// A file mode: an octal string (`"0640"`), or a number, whose value is the mode as in Vault Agent.
    pub(super) fn mode(&mut self, key: &'static str) -> Result<Option<u32>, ConfigError> {
        let read = match self.take(key) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
            Some(Value::Number(number)) => number.as_u64().and_then(|mode| u32::try_from(mode).ok()),
            Some(_) => None,
        };
        match read.filter(|mode| *mode <= 0o777) {
            Some(mode) => Ok(Some(mode)),
            None => wrong(self.at(key), "a file mode such as \"0640\""),
        }
    }

    /// A nested object, which HCL turned to JSON may have wrapped in a list of one.
    pub(super) fn object(&mut self, key: &'static str) -> Result<Option<Object<'a>>, ConfigError> {
        let path = self.at(key);
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(items)) => match items.as_slice() {
                [] => Ok(None),
                [one] => Self::new(path, one, self.warnings).map(Some),
                _ => wrong(path, "given once"),
            },
            Some(value) => Self::new(path, value, self.warnings).map(Some),
        }
    }

    /// A list of objects, or a single one.
    pub(super) fn objects(&mut self, key: &'static str) -> Result<Vec<Object<'a>>, ConfigError> {
        let path = self.at(key);
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(position, item)| Self::new(format!("{path}[{position}]"), item, self.warnings))
                .collect(),
            Some(value) => Ok(vec![Self::new(path, value, self.warnings)?]),
        }
    }

    /// Marks a key as one that Vault Agent knows and this agent does not act on; `why` is said when it is set.
    pub(super) fn ignored(&mut self, key: &'static str, why: &str) {
        if self.take(key).is_some() {
            let warning = format!("{} is ignored: {why}", self.at(key));
            self.warnings.borrow_mut().push(warning);
        }
    }

    /// Warns about keys that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.map.keys().filter(|key| !self.taken.contains(&key.as_str())) {
            let warning = format!("unknown key {}", self.at(key));
            self.warnings.borrow_mut().push(warning);
        }
    }
}
