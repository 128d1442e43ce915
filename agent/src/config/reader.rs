//! Takes an object of the configuration apart key by key, so that what is left over can be warned about and what is wrong
//! has a path. A wrong value is reported and read as absent: whoever asks goes on and finds the next one.

mod scalars;

use super::document::{Node, Value};
use super::report::{Place, Report};

/// One object of the configuration.
pub(super) struct Object<'a> {
    path: String,
    line: Option<usize>,
    label: Option<&'a str>,
    entries: Vec<(&'a str, &'a Node)>,
    taken: Vec<&'static str>,
    report: &'a Report,
}

/// Vault's own readers take `Address` for `address`.
fn is_same(given: &str, key: &str) -> bool {
    given.eq_ignore_ascii_case(key)
}

impl<'a> Object<'a> {
    /// The whole configuration.
    pub(super) fn root(node: &'a Node, report: &'a Report) -> Option<Self> {
        Self::new(String::new(), node, report)
    }

    fn new(path: String, node: &'a Node, report: &'a Report) -> Option<Self> {
        let (label, node) = match &node.value {
            Value::Labelled(label, body) => (Some(label.as_str()), &**body),
            _ => (None, node),
        };
        let Value::Object(entries) = &node.value else {
            let path = if path.is_empty() {
                "the configuration".to_owned()
            } else {
                path
            };
            report.wrong(
                Place {
                    path,
                    line: node.line,
                },
                "must be an object",
            );
            return None;
        };
        Some(Self {
            path,
            line: node.line,
            label,
            entries: entries.iter().map(|(key, node)| (key.as_str(), node)).collect(),
            taken: Vec::new(),
            report,
        })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The place of a key of this object, or of the object where the key is absent.
    pub(super) fn at(&self, key: &str) -> Place {
        let line = self.entries.iter().find(|(other, _)| is_same(other, key));
        Place {
            path: self.path_of(key),
            line: line.map_or(self.line, |(_, node)| node.line),
        }
    }

    /// The place of this object.
    pub(super) fn here(&self) -> Place {
        Place {
            path: self.path.clone(),
            line: self.line,
        }
    }

    /// The name of the block, as `tcp` of `listener "tcp" {`.
    pub(super) fn label(&self) -> Option<&'a str> {
        self.label
    }

    /// Says that a key's value cannot be used.
    pub(super) fn wrong(&self, key: &str, reason: impl Into<String>) {
        self.report.wrong(self.at(key), reason);
    }

    /// Says that a key must be there.
    pub(super) fn missing(&self, key: &str) {
        self.report.missing(self.at(key));
    }

    /// Every value of a key; null counts as absent.
    fn take_all(&mut self, key: &'static str) -> Vec<&'a Node> {
        self.taken.push(key);
        let own = self.entries.iter().filter(|(other, _)| is_same(other, key));
        own.map(|(_, node)| *node)
            .filter(|node| node.value != Value::Null)
            .collect()
    }

    /// The value of a key that may be given once.
    fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        match *self.take_all(key) {
            [] => None,
            [one] => Some(one),
            [first, second, ..] => {
                let place = Place {
                    path: self.path_of(key),
                    line: second.line,
                };
                self.report.wrong(place, "is given a second time");
                Some(first)
            }
        }
    }

    /// Whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(other, node)| is_same(other, key) && node.value != Value::Null)
    }

    /// A nested object that may be given once. It may be wrapped in a list of one, as HCL turned to JSON has it.
    pub(super) fn object(&mut self, key: &'static str) -> Option<Object<'a>> {
        let node = self.take(key)?;
        let path = self.path_of(key);
        let one = match &node.value {
            Value::List(items) => match items.as_slice() {
                [] => return None,
                [one] => one,
                _ => {
                    self.wrong(key, "must be given once");
                    return None;
                }
            },
            _ => node,
        };
        Self::new(path, one, self.report)
    }

    /// A nested object that has its kind as a name or in the key `type`: `sink "file" {`, `sink { type = "file"` or, in JSON,
    /// `"sink": {"file": {`.
    pub(super) fn typed_object(&mut self, key: &'static str) -> Option<Object<'a>> {
        self.object(key).map(Self::typed)
    }

    /// Nested objects, of which there may be many.
    pub(super) fn objects(&mut self, key: &'static str) -> Vec<Object<'a>> {
        let mut nodes = Vec::new();
        let mut listed = false;
        for node in self.take_all(key) {
            match &node.value {
                Value::List(items) => {
                    listed = true;
                    nodes.extend(items);
                }
                _ => nodes.push(node),
            }
        }
        let path = self.path_of(key);
        let many = listed || nodes.len() > 1;
        let nodes = nodes.into_iter().enumerate();
        let objects = nodes.filter_map(|(position, node)| {
            let path = if many {
                format!("{path}[{position}]")
            } else {
                path.clone()
            };
            Self::new(path, node, self.report)
        });
        objects.collect()
    }

    /// Nested objects that each have their kind, see [`Object::typed_object`].
    pub(super) fn typed_objects(&mut self, key: &'static str) -> Vec<Object<'a>> {
        self.objects(key).into_iter().map(Self::typed).collect()
    }

    /// Nested objects that each have a name: `env_template "NAME" {` or, in JSON, `{"NAME": {…}, "OTHER": {…}}`.
    pub(super) fn named_objects(&mut self, key: &'static str) -> Vec<Object<'a>> {
        let mut named = Vec::new();
        for object in self.objects(key) {
            if object.label.is_some() {
                named.push(object);
                continue;
            }
            for (name, node) in &object.entries {
                let path = format!("{}.{name}", object.path);
                let inner = Self::new(path, node, object.report);
                named.extend(inner.map(|inner| Self {
                    label: Some(name),
                    ..inner
                }));
            }
        }
        named
    }

    /// In JSON a name looks like a single key whose value is the body.
    fn typed(self) -> Self {
        if self.label.is_some() {
            return self;
        }
        match self.entries.as_slice() {
            [(name, node)] if *name != "config" && matches!(node.value, Value::Object(_)) => {
                let label = Some(*name);
                match Self::new(self.path.clone(), node, self.report) {
                    Some(inner) => Self { label, ..inner },
                    None => self,
                }
            }
            _ => self,
        }
    }

    /// The kind of an object that [`Object::typed_object`] gave; reported when it has none.
    pub(super) fn kind(&mut self) -> String {
        match (self.has("type"), self.label) {
            (false, Some(label)) => {
                self.taken.push("type");
                label.to_ascii_lowercase()
            }
            _ => self.required("type"),
        }
    }

    /// Marks a key as one that Vault Agent knows and this agent does not act on; `why` is said when it is set.
    pub(super) fn ignored(&mut self, key: &'static str, why: &str) {
        self.taken.push(key);
        if self.has(key) {
            self.report.warn(format!("{} is ignored: {why}", self.at(key)));
        }
    }

    /// Marks a key as known.
    pub(super) fn known(&mut self, key: &'static str) {
        self.taken.push(key);
    }

    /// Where to say what else is found.
    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// Warns about keys that nobody asked for.
    pub(super) fn finish(self) {
        let mut said: Vec<&str> = Vec::new();
        for (key, _) in &self.entries {
            let is_taken = self.taken.iter().any(|taken| is_same(key, taken));
            if !is_taken && !said.contains(key) {
                said.push(key);
                self.report.warn(format!("unknown key {}", self.at(key)));
            }
        }
    }
}
