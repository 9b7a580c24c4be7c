//! Refusals that the host gives in the name of a module that did not answer.

use serde_json::Value as Json;
use wasmtime::component::Val;

use crate::contract::{self, Shape};

/// A value of this type from the descriptor's JSON.
///
/// # Errors
///
/// The text says where it does not fit.
pub(super) fn from_json(shape: &Shape, json: &Json) -> Result<Val, String> {
    contract::from_json(shape, json).map_err(|reason| format!("the configured refusal: {reason}"))
}

/// A value of this type where nothing is configured: texts say what happened, numbers named `status` are
/// 403, all else is empty.
pub(super) fn plain(shape: &Shape) -> Val {
    named(shape, "")
}

fn named(shape: &Shape, name: &str) -> Val {
    let status = name == "status";
    match shape {
        Shape::Bool => Val::Bool(false),
        Shape::S8 => Val::S8(0),
        Shape::U8 => Val::U8(0),
        Shape::S16 => Val::S16(if status { 403 } else { 0 }),
        Shape::U16 => Val::U16(if status { 403 } else { 0 }),
        Shape::S32 => Val::S32(if status { 403 } else { 0 }),
        Shape::U32 => Val::U32(if status { 403 } else { 0 }),
        Shape::S64 => Val::S64(if status { 403 } else { 0 }),
        Shape::U64 => Val::U64(if status { 403 } else { 0 }),
        Shape::F32 => Val::Float32(0.0),
        Shape::F64 => Val::Float64(0.0),
        Shape::Char => Val::Char(' '),
        Shape::String => Val::String("a policy module did not answer".to_owned()),
        Shape::List(_) => Val::List(Vec::new()),
        Shape::Map(..) => Val::Map(Vec::new()),
        Shape::Record(fields) => Val::Record(
            fields.iter().map(|(name, shape)| (name.clone(), named(shape, name))).collect(),
        ),
        Shape::Tuple(shapes) => Val::Tuple(shapes.iter().map(plain).collect()),
        Shape::Variant(cases) => cases.first().map_or(Val::Option(None), |(name, shape)| {
            Val::Variant(name.clone(), shape.as_ref().map(|shape| Box::new(plain(shape))))
        }),
        Shape::Enum(names) => Val::Enum(names.first().cloned().unwrap_or_default()),
        Shape::Result(ok, _) => Val::Result(Ok(ok.as_deref().map(|ok| Box::new(plain(ok))))),
        Shape::Flags(_) => Val::Flags(Vec::new()),
        Shape::Option(_) | Shape::Handle(_) => Val::Option(None),
    }
}

/// A refusal in few words, for the log.
pub(super) fn text(value: Option<&Val>) -> String {
    const MAX: usize = 300;
    let mut text = value.map_or_else(String::new, |value| format!("{value:?}"));
    text.truncate(text.floor_char_boundary(MAX));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objection() -> Shape {
        let refusal = Shape::Record(vec![
            ("status".to_owned(), Shape::U16),
            ("error".to_owned(), Shape::String),
        ]);
        Shape::Variant(vec![("refuse".to_owned(), Some(refusal)), ("pretend".to_owned(), None)])
    }

    #[test]
    fn variant_is_configured_by_name_or_by_the_payload_of_a_case() {
        let payload = json!({"status": 403, "error": "no"});
        let refuse = from_json(&objection(), &payload).unwrap();
        let Val::Variant(name, Some(_)) = &refuse else { panic!("{refuse:?}") };
        assert_eq!(name, "refuse");
        assert_eq!(from_json(&objection(), &json!({"refuse": payload})).unwrap(), refuse);
        let pretend = from_json(&objection(), &json!("pretend")).unwrap();
        assert_eq!(pretend, Val::Variant("pretend".to_owned(), None));
    }

    #[test]
    fn what_fits_no_case_is_an_error() {
        for json in [json!("refuse"), json!({"pretend": 1}), json!(3), json!({"status": "x"})] {
            assert!(from_json(&objection(), &json).is_err(), "{json}");
        }
    }
}
