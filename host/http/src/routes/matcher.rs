//! Finds the route of a path.
//!
//! A path is split at its slashes as sent, and each segment is decoded by itself, so an encoded slash is part of a
//! segment. A literal goes before `{name}`, and that before `{*name}`; a branch that has the path but not the method
//! does not hide one that has both.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method as HttpMethod;
use tessera_manifest::{Method, RoutePattern, Segment};

use crate::percent::{self, DecodeError};
use crate::routes::Target;

/// Longer paths match nothing: bounds the work for hostile ones.
const SEGMENTS: usize = 64;

/// Placeholders and their values.
pub(crate) type Params = Vec<(String, String)>;

/// What a path leads to.
pub(crate) enum Found {
    /// A route, and the placeholders' values in the order of the pattern.
    Route(Arc<Target>, Params),
    /// No route has the path.
    NoPath,
    /// Routes have it, with these methods.
    NoMethod(Vec<Method>),
    /// A `%` without two hex digits.
    Malformed,
    /// No UTF-8.
    NotUtf8,
}

#[derive(Default)]
pub(crate) struct Matcher {
    root: Node,
    routes: usize,
}

#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    one: Option<Box<Node>>,
    /// Routes that end here.
    here: Vec<Leaf>,
    /// Routes that take the rest.
    rest: Vec<Leaf>,
}

struct Leaf {
    method: Method,
    names: Box<[Box<str>]>,
    target: Arc<Target>,
}

impl Matcher {
    pub(crate) fn len(&self) -> usize {
        self.routes
    }

    /// The error is the target that is there already.
    pub(crate) fn add(
        &mut self,
        method: Method,
        path: &RoutePattern,
        target: &Arc<Target>,
    ) -> Result<(), Arc<Target>> {
        let mut node = &mut self.root;
        let mut names = Vec::new();
        let mut takes_rest = false;
        for segment in path.segments() {
            match segment {
                Segment::Literal(text) => {
                    node = node.literals.entry(text.as_str().into()).or_default();
                }
                Segment::One(name) => {
                    names.push(name.as_str().into());
                    node = node.one.get_or_insert_default();
                }
                Segment::Rest(name) => {
                    names.push(name.as_str().into());
                    takes_rest = true;
                }
            }
        }
        let leaves = if takes_rest { &mut node.rest } else { &mut node.here };
        if let Some(leaf) = leaves.iter().find(|leaf| leaf.method == method) {
            return Err(Arc::clone(&leaf.target));
        }
        leaves.push(Leaf { method, names: names.into(), target: Arc::clone(target) });
        self.routes += 1;
        Ok(())
    }

    pub(crate) fn find(&self, method: &HttpMethod, path: &str) -> Found {
        let Some(path) = path.strip_prefix('/') else { return Found::NoPath };
        let raw: Vec<&str> = path.split('/').take(SEGMENTS + 1).collect();
        if raw.len() > SEGMENTS {
            return Found::NoPath;
        }
        let decoded: Result<Vec<Cow<'_, str>>, _> =
            raw.iter().map(|text| percent::decode(text)).collect();
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(DecodeError::Malformed) => return Found::Malformed,
            Err(DecodeError::NotUtf8) => return Found::NotUtf8,
        };
        let mut search =
            Search { methods: wanted(method), allowed: Vec::new(), values: Vec::new() };
        for method in search.methods.clone() {
            search.values.clear();
            if let Some(leaf) = search.walk(&self.root, &decoded, method) {
                let names = leaf.names.iter().map(|name| name.to_string());
                let params = names.zip(search.values).collect();
                return Found::Route(Arc::clone(&leaf.target), params);
            }
        }
        if search.allowed.is_empty() { Found::NoPath } else { Found::NoMethod(search.allowed) }
    }
}

/// The methods that answer a request's method: GET answers HEAD where nothing else does.
fn wanted(method: &HttpMethod) -> Vec<Option<Method>> {
    match *method {
        HttpMethod::GET => vec![Some(Method::Get)],
        HttpMethod::HEAD => vec![Some(Method::Head), Some(Method::Get)],
        HttpMethod::POST => vec![Some(Method::Post)],
        HttpMethod::PUT => vec![Some(Method::Put)],
        HttpMethod::PATCH => vec![Some(Method::Patch)],
        HttpMethod::DELETE => vec![Some(Method::Delete)],
        HttpMethod::OPTIONS => vec![Some(Method::Options)],
        // None has it, but the path may still be known.
        _ => vec![None],
    }
}

struct Search {
    methods: Vec<Option<Method>>,
    /// Methods of routes that have the path.
    allowed: Vec<Method>,
    values: Vec<String>,
}

impl Search {
    fn walk<'n>(
        &mut self,
        node: &'n Node,
        segments: &[Cow<'_, str>],
        method: Option<Method>,
    ) -> Option<&'n Leaf> {
        let Some((first, others)) = segments.split_first() else {
            return self.pick(&node.here, method);
        };
        if let Some(next) = node.literals.get(first.as_ref())
            && let Some(leaf) = self.walk(next, others, method)
        {
            return Some(leaf);
        }
        if let Some(next) = &node.one {
            self.values.push(first.to_string());
            if let Some(leaf) = self.walk(next, others, method) {
                return Some(leaf);
            }
            self.values.pop();
        }
        let leaf = self.pick(&node.rest, method)?;
        self.values.push(segments.join("/"));
        Some(leaf)
    }

    fn pick<'n>(&mut self, leaves: &'n [Leaf], method: Option<Method>) -> Option<&'n Leaf> {
        let found = leaves.iter().find(|leaf| Some(leaf.method) == method);
        if found.is_none() {
            for leaf in leaves {
                if !self.allowed.contains(&leaf.method) {
                    self.allowed.push(leaf.method);
                }
            }
        }
        found
    }
}
