//! Rules for interfaces between plug-ins, checked when they are linked.

use super::{Function, Interface, Shape};

/// How the answers of a hook's providers combine; it follows from the result type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// `result<_, refusal>`: all are asked, the first refusal ends the round.
    Refuse,
    /// `option<T>`: the first answer counts.
    First,
    /// `list<T>`: concatenated.
    Concat,
    /// `result<option<T>, refusal>`, T the first parameter: each sees what the one before made of it.
    Pipe,
    /// No result: all are told.
    Tell,
}

impl Combine {
    /// The rule for a hook's function.
    ///
    /// # Errors
    ///
    /// Its result has none of the five shapes; the text says what it has.
    pub fn of(function: &Function) -> Result<Self, String> {
        match &function.result {
            None => Ok(Self::Tell),
            Some(Shape::Option(_)) => Ok(Self::First),
            Some(Shape::List(_)) => Ok(Self::Concat),
            Some(Shape::Result(None, Some(_))) => Ok(Self::Refuse),
            Some(Shape::Result(Some(ok), Some(_))) => match (&**ok, function.params.first()) {
                (Shape::Option(subject), Some((_, first))) if **subject == *first => Ok(Self::Pipe),
                _ => Err(format!(
                    "a hook's result<{ok}, …> must be result<option<T>, …> with T the type of its first parameter"
                )),
            },
            Some(other) => Err(format!(
                "a hook gives result<_, refusal>, option<T>, list<T>, result<option<T>, refusal> or nothing, not {other}"
            )),
        }
    }
}

/// Checks a service interface.
///
/// # Errors
///
/// The text names the function and the rule that it breaks.
pub fn check_service(interface: &Interface) -> Result<(), String> {
    plain(interface)?;
    for (name, function) in &interface.functions {
        let Some(Shape::Result(_, Some(error))) = &function.result else {
            return Err(format!("function `{name}`: a service function gives result<T, error>"));
        };
        let Shape::Variant(cases) = &**error else {
            return Err(format!("function `{name}`: the error is {error}, not a variant"));
        };
        for case in ["unavailable", "unknown"] {
            if !cases.iter().any(|(name, ty)| name == case && *ty == Some(Shape::String)) {
                return Err(format!(
                    "function `{name}`: the error lacks the case `{case}(string)`, which the host fills in"
                ));
            }
        }
    }
    Ok(())
}

/// Checks a hook interface.
///
/// # Errors
///
/// The text names the function and the rule that it breaks.
pub fn check_hook(interface: &Interface) -> Result<(), String> {
    plain(interface)?;
    for (name, function) in &interface.functions {
        Combine::of(function).map_err(|text| format!("function `{name}`: {text}"))?;
    }
    Ok(())
}

/// Plain values only, and no bytes: they are a thousand times dearer than a blob's id.
fn plain(interface: &Interface) -> Result<(), String> {
    if let Some(resource) = interface.resources.first() {
        return Err(format!("it defines the resource `{resource}`; only plain values may pass"));
    }
    for (name, function) in &interface.functions {
        let types = function.params.iter().map(|(_, ty)| ty).chain(&function.result);
        let mut found = None;
        for ty in types {
            ty.walk(&mut |ty| match ty {
                Shape::Handle(kind) => {
                    found = Some(format!("it passes a {kind}; only plain values may pass"))
                }
                Shape::List(inner) if **inner == Shape::U8 => {
                    found = Some("it passes list<u8>; bytes travel as blob ids".to_owned());
                }
                _ => {}
            });
        }
        if let Some(found) = found {
            return Err(format!("function `{name}`: {found}"));
        }
    }
    Ok(())
}
