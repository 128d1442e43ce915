//! Maps: in the order of their keys, as Go prints them and ranges over them.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::{MAX_DEPTH, TooDeep, Value};

/// What a map is declared to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entries {
    /// `map[string]interface {}`: out of JSON.
    Any,
    /// `map[string]string`: what `splitToMap` returns.
    Strings,
    /// `map[interface {}]interface {}`: out of YAML.
    AnyKeys,
}

impl Entries {
    pub(crate) fn map_name(self) -> &'static str {
        match self {
            Self::Any => "map[string]interface {}",
            Self::Strings => "map[string]string",
            Self::AnyKeys => "map[interface {}]interface {}",
        }
    }
}

/// A key; anything but a string comes from YAML only.
#[derive(Clone, Debug)]
pub enum Key {
    /// `null`
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Str(Arc<str>),
}

impl Key {
    /// Go orders keys of different types by where its types lie in memory: in this order in the programs that were looked at.
    fn rank(&self) -> u8 {
        match self {
            Self::Nil => 0,
            Self::Str(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Bool(_) => 4,
        }
    }

    /// The key as a value.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Str(text) => Value::Str(Arc::clone(text)),
        }
    }

    /// The text of a string key.
    pub(crate) fn text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => left.total_cmp(right),
            (Self::Str(left), Self::Str(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

/// A map that never changes.
#[derive(Clone, PartialEq)]
pub struct Map {
    kind: Entries,
    depth: u16,
    /// In the order of the keys, each key once.
    entries: Vec<(Key, Value)>,
}

impl Map {
    /// A map from pairs in any order; of equal keys the last one counts.
    ///
    /// # Errors
    /// A value is nested too deeply.
    pub fn new(kind: Entries, mut entries: Vec<(Key, Value)>) -> Result<Self, TooDeep> {
        // Stable, so that of equal keys the last one stays the last.
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        let mut depth = 0;
        let mut out: Vec<(Key, Value)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let value = value.held();
            depth = depth.max(value.depth());
            match out.last_mut() {
                Some((last, slot)) if *last == key => *slot = value,
                _ => out.push((key, value)),
            }
        }
        if depth >= MAX_DEPTH {
            return Err(TooDeep);
        }
        Ok(Self {
            kind,
            depth: depth + 1,
            entries: out,
        })
    }

    /// A map with nothing in it.
    pub fn empty(kind: Entries) -> Self {
        Self {
            kind,
            depth: 1,
            entries: Vec::new(),
        }
    }

    /// What it is declared to hold.
    pub fn kind(&self) -> Entries {
        self.kind
    }

    /// All entries, in the order of their keys.
    pub fn entries(&self) -> &[(Key, Value)] {
        &self.entries
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(key, _)| match key {
            Key::Str(text) => text.as_ref().cmp(name),
            _ => Ordering::Less,
        })
    }

    /// The value of a string key.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.position(name).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// Whether there is this string key.
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// The value of any key.
    pub(crate) fn get_key(&self, wanted: &Key) -> Option<&Value> {
        let at = self.entries.binary_search_by(|(key, _)| key.cmp(wanted)).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// Puts a value under a string key.
    ///
    /// # Errors
    /// The value is nested too deeply; the map stays as it is.
    fn insert(&mut self, name: Arc<str>, value: Value) -> Result<(), TooDeep> {
        let depth = value.depth() + 1;
        if depth > MAX_DEPTH {
            return Err(TooDeep);
        }
        self.depth = self.depth.max(depth);
        match self.position(&name) {
            Ok(at) => self.entries[at].1 = value,
            Err(at) => self.entries.insert(at, (Key::Str(name), value)),
        }
        Ok(())
    }

    /// Takes a string key out.
    fn remove(&mut self, name: &str) {
        if let Ok(at) = self.position(name) {
            self.entries.remove(at);
        }
    }

    /// What a missing key gives (Go's zero value of what the map holds).
    pub(crate) fn zero(&self) -> Value {
        match self.kind {
            Entries::Strings => Value::str(""),
            Entries::Any | Entries::AnyKeys => Value::Null,
        }
    }
}

/// A map that the template that made it may change. What it holds are maps that do not change: so it never holds itself.
#[derive(Clone)]
pub struct Dict(Arc<Mutex<Arc<Map>>>);

impl Dict {
    pub(crate) fn new(map: Arc<Map>) -> Self {
        Self(Arc::new(Mutex::new(map)))
    }

    /// The map as it is now.
    pub fn snapshot(&self) -> Arc<Map> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Map) -> T) -> T {
        change(Arc::make_mut(
            &mut self.0.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Puts a value under a key. It may be this map itself: then it is held as it was.
    ///
    /// # Errors
    /// The value is nested too deeply; the map stays as it is.
    pub(crate) fn insert(&self, name: Arc<str>, value: Value) -> Result<(), TooDeep> {
        // Before the lock is taken: to hold a map is to look into it.
        let value = value.held();
        self.change(|map| map.insert(name, value))
    }

    /// Takes a key out.
    pub(crate) fn remove(&self, name: &str) {
        self.change(|map| map.remove(name));
    }

    /// Puts another map in the place of this one.
    pub(crate) fn replace(&self, map: Arc<Map>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = map;
    }
}

impl PartialEq for Dict {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot() == other.snapshot()
    }
}
