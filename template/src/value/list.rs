//! Lists.

use super::{MAX_DEPTH, TooDeep, Value};

/// What the elements of a list are declared to be. Go tells `[]string` from `[]interface {}`:
/// `join` takes the first and refuses the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elements {
    /// `[]interface {}`: lists out of JSON.
    Any,
    /// `[]string`: what `split` and `secrets` return.
    Strings,
    /// `[]int`: what `sprig_until` returns.
    Ints,
}

impl Elements {
    pub(crate) fn list_name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Strings => "[]string",
            Self::Ints => "[]int",
        }
    }
}

/// A list that never changes.
#[derive(Clone, PartialEq)]
pub struct List {
    elements: Elements,
    depth: u16,
    items: Vec<Value>,
}

impl List {
    /// A list of anything.
    ///
    /// # Errors
    /// An item is nested too deeply.
    pub fn any(items: Vec<Value>) -> Result<Self, TooDeep> {
        let items: Vec<Value> = items.into_iter().map(Value::held).collect();
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        if depth > MAX_DEPTH {
            return Err(TooDeep);
        }
        Ok(Self {
            elements: Elements::Any,
            depth,
            items,
        })
    }

    /// A list of strings; the caller puts in nothing else.
    pub fn strings(items: Vec<Value>) -> Self {
        Self {
            elements: Elements::Strings,
            depth: 1,
            items,
        }
    }

    /// A list of `int`; the caller puts in nothing else.
    pub(crate) fn ints(items: Vec<Value>) -> Self {
        Self {
            elements: Elements::Ints,
            depth: 1,
            items,
        }
    }

    /// A list with some of the items of this one.
    pub(crate) fn with(&self, items: Vec<Value>) -> Self {
        Self {
            elements: self.elements,
            depth: self.depth,
            items,
        }
    }

    /// What it is a list of.
    pub fn elements(&self) -> Elements {
        self.elements
    }

    /// The items.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }
}
