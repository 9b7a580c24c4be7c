//! The hooks of the contract as data, for tools that write code.

use wit_parser::{Docs, Resolve, SourceMap, Type, TypeDefKind, UnresolvedPackageGroup};

use super::{files, packages, version};
use crate::PackageError;

/// An interface that modules may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `event-policy`.
    pub name: String,
    /// Of the package.
    pub version: String,
    /// Its documentation.
    pub docs: String,
    /// What is asked.
    pub functions: Vec<Function>,
}

/// A function of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// `check-event`.
    pub name: String,
    /// Its documentation.
    pub docs: String,
    /// Names and types.
    pub params: Vec<(String, Kind)>,
    /// What it answers, if anything.
    pub result: Option<Kind>,
}

/// A type, as far as code that answers needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `string`, `bool`, `u32` and the like.
    Plain(&'static str),
    /// A type that the interface names.
    Named(String),
    /// `list<…>`
    List(Box<Kind>),
    /// `option<…>`
    Option(Box<Kind>),
    /// `result<…, …>`
    Result(Option<Box<Kind>>, Option<Box<Kind>>),
    /// `tuple<…>`
    Tuple(Vec<Kind>),
}

/// Every hook that has functions, ordered by name.
///
/// # Errors
/// The contract that is embedded does not parse.
pub fn hooks() -> Result<Vec<Hook>, PackageError> {
    let odd = |error: String| PackageError::Malformed(format!("the contract: {error}"));
    let (resolve, package) = resolve("hooks").map_err(odd)?;
    let version = version("hooks").unwrap_or_default();
    let mut hooks = Vec::new();
    for (_, interface) in resolve.interfaces.iter() {
        if interface.package != Some(package) || interface.functions.is_empty() {
            continue;
        }
        let functions = interface.functions.values().map(|function| {
            let params = function.params.iter();
            Ok(Function {
                name: function.name.clone(),
                docs: words(&function.docs),
                params: params
                    .map(|param| Ok((param.name.clone(), kind(&resolve, &param.ty)?)))
                    .collect::<Result<_, String>>()?,
                result: function.result.as_ref().map(|ty| kind(&resolve, ty)).transpose()?,
            })
        });
        hooks.push(Hook {
            name: interface.name.clone().unwrap_or_default(),
            version: version.clone(),
            docs: words(&interface.docs),
            functions: functions.collect::<Result<_, String>>().map_err(odd)?,
        });
    }
    hooks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(hooks)
}

fn resolve(main: &str) -> Result<(Resolve, wit_parser::PackageId), String> {
    let main_group = parse(main)?;
    let others = packages()
        .into_iter()
        .filter(|package| *package != main)
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    let mut resolve = Resolve::default();
    let id = resolve.push_groups(main_group, others).map_err(|error| format!("{error}"))?;
    Ok((resolve, id))
}

fn parse(package: &str) -> Result<UnresolvedPackageGroup, String> {
    let mut sources = SourceMap::new();
    for (path, text) in files().filter(|(path, _)| path.split('/').next() == Some(package)) {
        sources.push_str(path, text);
    }
    sources.parse().map_err(|(_, error)| format!("{error}"))
}

fn words(docs: &Docs) -> String {
    docs.contents.clone().unwrap_or_default()
}

fn kind(resolve: &Resolve, ty: &Type) -> Result<Kind, String> {
    let plain = match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Id(id) => {
            let Some(def) = resolve.types.get(*id) else {
                return Err("a type that is not there".to_owned());
            };
            if let Some(name) = &def.name {
                return Ok(Kind::Named(name.clone()));
            }
            let boxed = |ty: &Type| kind(resolve, ty).map(Box::new);
            return Ok(match &def.kind {
                TypeDefKind::List(inner) => Kind::List(boxed(inner)?),
                TypeDefKind::Option(inner) => Kind::Option(boxed(inner)?),
                TypeDefKind::Result(result) => Kind::Result(
                    result.ok.as_ref().map(boxed).transpose()?,
                    result.err.as_ref().map(boxed).transpose()?,
                ),
                TypeDefKind::Tuple(tuple) => Kind::Tuple(
                    tuple.types.iter().map(|ty| kind(resolve, ty)).collect::<Result<_, _>>()?,
                ),
                other => return Err(format!("a {} in a hook", other.as_str())),
            });
        }
        Type::ErrorContext => return Err("an error context in a hook".to_owned()),
    };
    Ok(Kind::Plain(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_read_with_their_types() {
        let hooks = hooks().unwrap();
        let policy = hooks.iter().find(|hook| hook.name == "event-policy").unwrap();
        let check = &policy.functions[0];
        assert_eq!(check.name, "check-event");
        assert_eq!(check.params[0], ("event".to_owned(), Kind::Plain("string")));
        assert_eq!(check.params[1], ("origin".to_owned(), Kind::Named("origin".to_owned())));
        let refusal = Box::new(Kind::Named("objection".to_owned()));
        assert_eq!(check.result, Some(Kind::Result(None, Some(refusal))));
        assert!(!hooks.iter().any(|hook| hook.name == "types"));
    }

    #[test]
    fn every_answer_has_a_form_that_says_nothing() {
        for hook in hooks().unwrap() {
            for function in &hook.functions {
                let known = match &function.result {
                    None | Some(Kind::Option(_) | Kind::List(_) | Kind::Result(None, _)) => true,
                    Some(Kind::Result(Some(ok), _)) => matches!(**ok, Kind::Option(_)),
                    _ => false,
                };
                assert!(known, "{}.{}", hook.name, function.name);
            }
        }
    }
}
