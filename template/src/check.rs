//! Walks a parsed tree for what Go refuses at parse time and the parser does not see: functions and variables that do not exist.

use gotmpl::parse::{BranchNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

use crate::functions;
use crate::parse::ParseError;

struct Check<'a> {
    source: &'a str,
    /// The variables in scope, innermost last.
    variables: Vec<SmolStr>,
    /// How many bodies of `range` are around.
    ranges: usize,
}

/// Checks the body of a template or of a definition; each starts with the variable `$` only.
pub(crate) fn tree(source: &str, list: &ListNode) -> Result<(), ParseError> {
    Check {
        source,
        variables: vec![SmolStr::new_static("$")],
        ranges: 0,
    }
    .list(list)
}

impl Check<'_> {
    fn error<T>(&self, pos: Pos, message: String) -> Result<T, ParseError> {
        Err(ParseError::at(self.source, pos, message))
    }

    fn list(&mut self, list: &ListNode) -> Result<(), ParseError> {
        list.nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node) -> Result<(), ParseError> {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => self.pipe(&action.pipe),
            Node::If(branch) | Node::With(branch) => self.branch(branch, 0),
            Node::Range(branch) => self.branch(branch, 1),
            Node::Template(call) => call.pipe.as_ref().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::Break(pos) | Node::Continue(pos) if self.ranges == 0 => {
                self.error(*pos, "break or continue outside of a range".to_owned())
            }
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &BranchNode, ranges: usize) -> Result<(), ParseError> {
        let BranchNode {
            pos: _,
            pipe,
            body,
            else_body,
        } = branch;
        let outside = self.variables.len();
        self.pipe(pipe)?;
        let inside = self.variables.len();
        self.ranges += ranges;
        self.list(body)?;
        self.ranges -= ranges;
        self.variables.truncate(inside);
        if let Some(body) = else_body {
            self.list(body)?;
        }
        self.variables.truncate(outside);
        Ok(())
    }

    fn pipe(&mut self, pipe: &PipeNode) -> Result<(), ParseError> {
        let PipeNode {
            pos,
            decl,
            commands,
            is_assign,
        } = pipe;
        for argument in commands.iter().flat_map(|command| &command.args) {
            self.expression(argument)?;
        }
        for name in decl {
            if *is_assign && !self.variables.contains(name) {
                return self.error(*pos, format!("undefined variable {name:?}"));
            }
            if !*is_assign {
                self.variables.push(name.clone());
            }
        }
        Ok(())
    }

    fn expression(&mut self, expression: &Expr) -> Result<(), ParseError> {
        match expression {
            Expr::Identifier(pos, name) => match functions::known(name) {
                functions::Known::Yes => Ok(()),
                functions::Known::No => self.error(*pos, format!("function {:?} not defined", name.as_str())),
                functions::Known::Refused(reason) => {
                    self.error(*pos, format!("function {:?} is refused: {reason}", name.as_str()))
                }
            },
            Expr::Variable(pos, name, _) if !self.variables.contains(name) => {
                self.error(*pos, format!("undefined variable {:?}", name.as_str()))
            }
            Expr::Pipe(_, pipe) => {
                let outside = self.variables.len();
                self.pipe(pipe)?;
                self.variables.truncate(outside);
                Ok(())
            }
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => Ok(()),
        }
    }
}
