//! Values of the component model as JSON: in descriptors, in recorded rounds.
//!
//! Records are objects by field, variants `{"case": payload}` or `"case"`, options the value or `null` (an option within an option:
//! `[value]`), results `{"ok": …}` or `{"err": …}`, enums and characters texts, flags lists of names, tuples and lists arrays, maps arrays of
//! pairs.

use serde_json::{Map, Value as Json, json};
use wasmtime::component::Val;

use super::Shape;

/// A value of this type from JSON. A field that is missing is `null`; a variant may be given by the payload of the first
/// case that takes it.
///
/// # Errors
///
/// The text says where it does not fit.
pub(crate) fn from_json(shape: &Shape, json: &Json) -> Result<Val, String> {
    let wrong = || format!("{json} is no {shape}");
    let natural = || json.as_u64().ok_or_else(wrong);
    let integer = || json.as_i64().ok_or_else(wrong);
    let boxed =
        |shape: &Shape, json: &Json| Ok::<_, String>(Some(Box::new(from_json(shape, json)?)));
    Ok(match (shape, json) {
        (Shape::Bool, Json::Bool(value)) => Val::Bool(*value),
        (Shape::String, Json::String(text)) => Val::String(text.clone()),
        (Shape::Char, Json::String(text)) => {
            let mut letters = text.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Val::Char(letter),
                _ => return Err(wrong()),
            }
        }
        (Shape::U8, _) => Val::U8(natural()?.try_into().map_err(|_| wrong())?),
        (Shape::U16, _) => Val::U16(natural()?.try_into().map_err(|_| wrong())?),
        (Shape::U32, _) => Val::U32(natural()?.try_into().map_err(|_| wrong())?),
        (Shape::U64, _) => Val::U64(natural()?),
        (Shape::S8, _) => Val::S8(integer()?.try_into().map_err(|_| wrong())?),
        (Shape::S16, _) => Val::S16(integer()?.try_into().map_err(|_| wrong())?),
        (Shape::S32, _) => Val::S32(integer()?.try_into().map_err(|_| wrong())?),
        (Shape::S64, _) => Val::S64(integer()?),
        #[expect(clippy::cast_possible_truncation, reason = "JSON has no smaller type")]
        (Shape::F32, Json::Number(number)) => {
            Val::Float32(number.as_f64().ok_or_else(wrong)? as f32)
        }
        (Shape::F64, Json::Number(number)) => Val::Float64(number.as_f64().ok_or_else(wrong)?),
        (Shape::Enum(names), Json::String(name)) if names.contains(name) => Val::Enum(name.clone()),
        (Shape::Flags(names), Json::Array(given)) => {
            let name = |it: &Json| {
                let name = it.as_str().filter(|name| names.iter().any(|known| known == name));
                name.map(str::to_owned).ok_or_else(wrong)
            };
            Val::Flags(given.iter().map(name).collect::<Result<_, _>>()?)
        }
        (Shape::Option(_), Json::Null) => Val::Option(None),
        (Shape::Option(inner), _) if matches!(**inner, Shape::Option(_)) => match json {
            Json::Array(items) => match items.as_slice() {
                [item] => Val::Option(boxed(inner, item)?),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        },
        (Shape::Option(inner), _) => Val::Option(boxed(inner, json)?),
        (Shape::List(inner), Json::Array(items)) => {
            Val::List(items.iter().map(|item| from_json(inner, item)).collect::<Result<_, _>>()?)
        }
        (Shape::Tuple(shapes), Json::Array(items)) if shapes.len() == items.len() => {
            let both = shapes.iter().zip(items);
            Val::Tuple(both.map(|(shape, item)| from_json(shape, item)).collect::<Result<_, _>>()?)
        }
        (Shape::Map(key, value), Json::Array(pairs)) => {
            let pair = |pair: &Json| match pair.as_array().map(Vec::as_slice) {
                Some([k, v]) => Ok((from_json(key, k)?, from_json(value, v)?)),
                _ => Err(wrong()),
            };
            Val::Map(pairs.iter().map(pair).collect::<Result<_, _>>()?)
        }
        (Shape::Record(fields), Json::Object(map)) => {
            let field = |(name, shape): &(String, Shape)| {
                let json = map.get(name).unwrap_or(&Json::Null);
                Ok::<_, String>((name.clone(), from_json(shape, json)?))
            };
            Val::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        (Shape::Result(ok, err), Json::Object(map)) => match (map.get("ok"), map.get("err")) {
            (Some(json), None) => Val::Result(Ok(payload(ok.as_deref(), json)?)),
            (None, Some(json)) => Val::Result(Err(payload(err.as_deref(), json)?)),
            _ => return Err(wrong()),
        },
        (Shape::Variant(cases), Json::String(name))
            if cases.iter().any(|(case, payload)| case == name && payload.is_none()) =>
        {
            Val::Variant(name.clone(), None)
        }
        (Shape::Variant(cases), _) => {
            let case = |name: &str, shape: &Option<Shape>, json: &Json| {
                let value = from_json(shape.as_ref()?, json).ok()?;
                Some(Val::Variant(name.to_owned(), Some(Box::new(value))))
            };
            let named = json.as_object().filter(|map| map.len() == 1).and_then(|map| {
                let (key, inner) = map.iter().next()?;
                let (name, shape) = cases.iter().find(|(name, _)| name == key)?;
                case(name, shape, inner)
            });
            named
                .or_else(|| cases.iter().find_map(|(name, shape)| case(name, shape, json)))
                .ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    })
}

/// One side of a result.
fn payload(shape: Option<&Shape>, json: &Json) -> Result<Option<Box<Val>>, String> {
    match shape {
        Some(shape) => Ok(Some(Box::new(from_json(shape, json)?))),
        None if json.is_null() => Ok(None),
        None => Err(format!("{json} stands where nothing is")),
    }
}

/// A plain value as JSON. What has no JSON (resources, numbers that are not finite) is `null`.
pub(crate) fn to_json(value: &Val) -> Json {
    let inner = |value: &Option<Box<Val>>| value.as_deref().map_or(Json::Null, to_json);
    match value {
        Val::Bool(it) => json!(it),
        Val::S8(it) => json!(it),
        Val::U8(it) => json!(it),
        Val::S16(it) => json!(it),
        Val::U16(it) => json!(it),
        Val::S32(it) => json!(it),
        Val::U32(it) => json!(it),
        Val::S64(it) => json!(it),
        Val::U64(it) => json!(it),
        Val::Float32(it) => json!(it),
        Val::Float64(it) => json!(it),
        Val::Char(it) => json!(it),
        Val::String(it) => json!(it),
        Val::Enum(name) => json!(name),
        Val::Flags(names) => json!(names),
        Val::List(items) | Val::Tuple(items) => items.iter().map(to_json).collect(),
        Val::Map(pairs) => {
            pairs.iter().map(|(key, value)| json!([to_json(key), to_json(value)])).collect()
        }
        Val::Record(fields) => {
            let field = |(name, value): &(String, Val)| (name.clone(), to_json(value));
            Json::Object(fields.iter().map(field).collect::<Map<_, _>>())
        }
        Val::Variant(name, None) => json!(name),
        Val::Variant(name, payload) => {
            Json::Object(Map::from_iter([(name.clone(), inner(payload))]))
        }
        Val::Option(Some(some)) if matches!(**some, Val::Option(_)) => json!([to_json(some)]),
        Val::Option(some) => inner(some),
        Val::Result(Ok(payload)) => json!({"ok": inner(payload)}),
        Val::Result(Err(payload)) => json!({"err": inner(payload)}),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(shape: Shape) -> Shape {
        Shape::Option(Box::new(shape))
    }

    #[test]
    fn what_was_written_reads_as_what_it_was() {
        let record = Shape::Record(vec![
            ("a".to_owned(), Shape::U64),
            ("b".to_owned(), some(some(Shape::String))),
        ]);
        let variant = Shape::Variant(vec![
            ("none".to_owned(), None),
            ("some".to_owned(), Some(record.clone())),
        ]);
        let result =
            Shape::Result(None, Some(Box::new(Shape::Tuple(vec![Shape::S8, Shape::Char]))));
        let text = |it: &str| Val::String(it.to_owned());
        let inner = |it: Option<Val>| Val::Option(it.map(Box::new));
        let of =
            |b: Val| Val::Record(vec![("a".to_owned(), Val::U64(u64::MAX)), ("b".to_owned(), b)]);
        let case = |b| Val::Variant("some".to_owned(), Some(Box::new(of(b))));
        for (shape, value) in [
            (&record, of(inner(None))),
            (&record, of(inner(Some(inner(None))))),
            (&record, of(inner(Some(inner(Some(text("x"))))))),
            (&variant, Val::Variant("none".to_owned(), None)),
            (&variant, case(inner(None))),
            (&result, Val::Result(Ok(None))),
            (
                &result,
                Val::Result(Err(Some(Box::new(Val::Tuple(vec![Val::S8(-1), Val::Char('ß')]))))),
            ),
            (
                &Shape::Map(Box::new(Shape::String), Box::new(Shape::Bool)),
                Val::Map(vec![(text("k"), Val::Bool(true))]),
            ),
            (&Shape::Flags(vec!["x".to_owned(), "y".to_owned()]), Val::Flags(vec!["y".to_owned()])),
            (&Shape::F64, Val::Float64(0.5)),
        ] {
            let json = to_json(&value);
            assert_eq!(from_json(shape, &json).as_ref(), Ok(&value), "{json}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        for (shape, json) in [
            (Shape::U8, json!(256)),
            (Shape::U8, json!(-1)),
            (Shape::Char, json!("ab")),
            (Shape::Tuple(vec![Shape::Bool]), json!([true, true])),
            (Shape::Flags(vec!["x".to_owned()]), json!(["z"])),
            (Shape::Result(None, None), json!({"ok": null, "err": null})),
            (Shape::Result(None, None), json!({"ok": 1})),
            (Shape::Handle("resource"), json!(1)),
        ] {
            let error = from_json(&shape, &json).unwrap_err();
            assert!(error.contains(" is no ") || error.contains("stands where"), "{error}");
        }
    }
}
