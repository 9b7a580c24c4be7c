//! Values of service and hook functions in CBOR, by their type.
//!
//! Both sides know the type, so names of fields and cases do not travel. Records, tuples, lists and maps are
//! arrays; a map's entry is an array of two. Enums are the case's index; variants and results the index, or where
//! there is a payload an array of index and payload. An option is null or the value, within an array of one where
//! the value could be null itself. Flags are an array of indices. A character is its code point.

use ciborium_ll::{Decoder, Encoder, Header, simple};
use wasmtime::component::Val;

use crate::contract::Shape;

/// The bytes or the value do not fit the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a value of its type: {0}")]
pub(crate) struct Misfit(String);

fn misfit(shape: &Shape) -> Misfit {
    Misfit(format!("expected {shape}"))
}

/// Elements for which room is made before they are read: a length that was made up costs nothing.
const TRUSTED: usize = 256;

/// Writes values, one after another in an array.
pub(crate) fn encode<'a>(
    values: impl ExactSizeIterator<Item = (&'a Shape, &'a Val)>,
) -> Result<Vec<u8>, Misfit> {
    let mut bytes = Vec::with_capacity(256);
    let mut encoder = Encoder::from(&mut bytes);
    push(&mut encoder, Header::Array(Some(values.len())))?;
    for (shape, value) in values {
        write(&mut encoder, shape, value)?;
    }
    Ok(bytes)
}

/// Reads what [`encode`] wrote; anything else is an error, whatever it is.
pub(crate) fn decode<'a>(
    shapes: impl ExactSizeIterator<Item = &'a Shape>,
    bytes: &[u8],
) -> Result<Vec<Val>, Misfit> {
    let mut reader = Reader { decoder: Decoder::from(bytes), length: bytes.len() };
    reader.array(shapes.len())?;
    let values = shapes.map(|shape| reader.value(shape)).collect::<Result<_, _>>()?;
    if reader.decoder.offset() == bytes.len() {
        Ok(values)
    } else {
        Err(Misfit("there is more than the values".to_owned()))
    }
}

type Writer<'b> = Encoder<&'b mut Vec<u8>>;

fn push(encoder: &mut Writer<'_>, header: Header) -> Result<(), Misfit> {
    encoder.push(header).map_err(|_| Misfit("no room".to_owned()))
}

fn number(encoder: &mut Writer<'_>, value: i64) -> Result<(), Misfit> {
    // CBOR keeps a negative number as its complement.
    let header = u64::try_from(value)
        .map_or_else(|_| Header::Negative((!value).cast_unsigned()), Header::Positive);
    push(encoder, header)
}

fn index(encoder: &mut Writer<'_>, index: usize) -> Result<(), Misfit> {
    push(encoder, Header::Positive(index as u64))
}

/// A case: its index, with the payload if it has one.
fn case(
    encoder: &mut Writer<'_>,
    at: usize,
    shape: Option<&Shape>,
    value: Option<&Val>,
) -> Result<(), Misfit> {
    match (shape, value) {
        (None, None) => index(encoder, at),
        (Some(shape), Some(value)) => {
            push(encoder, Header::Array(Some(2)))?;
            index(encoder, at)?;
            write(encoder, shape, value)
        }
        _ => Err(Misfit("a case with or without its payload".to_owned())),
    }
}

fn write(encoder: &mut Writer<'_>, shape: &Shape, value: &Val) -> Result<(), Misfit> {
    match (shape, value) {
        (Shape::Bool, Val::Bool(value)) => {
            push(encoder, Header::Simple(if *value { simple::TRUE } else { simple::FALSE }))
        }
        (Shape::S8, Val::S8(value)) => number(encoder, (*value).into()),
        (Shape::U8, Val::U8(value)) => number(encoder, (*value).into()),
        (Shape::S16, Val::S16(value)) => number(encoder, (*value).into()),
        (Shape::U16, Val::U16(value)) => number(encoder, (*value).into()),
        (Shape::S32, Val::S32(value)) => number(encoder, (*value).into()),
        (Shape::U32, Val::U32(value)) => number(encoder, (*value).into()),
        (Shape::S64, Val::S64(value)) => number(encoder, *value),
        (Shape::U64, Val::U64(value)) => push(encoder, Header::Positive(*value)),
        (Shape::F32, Val::Float32(value)) => push(encoder, Header::Float((*value).into())),
        (Shape::F64, Val::Float64(value)) => push(encoder, Header::Float(*value)),
        (Shape::Char, Val::Char(value)) => number(encoder, u32::from(*value).into()),
        (Shape::String, Val::String(text)) => {
            encoder.text(text, None).map_err(|_| Misfit("no room".to_owned()))
        }
        (Shape::List(inner), Val::List(items) | Val::FixedLengthList(items)) => {
            push(encoder, Header::Array(Some(items.len())))?;
            items.iter().try_for_each(|item| write(encoder, inner, item))
        }
        (Shape::Map(key, value), Val::Map(entries)) => {
            push(encoder, Header::Array(Some(entries.len())))?;
            entries.iter().try_for_each(|(k, v)| {
                push(encoder, Header::Array(Some(2)))?;
                write(encoder, key, k)?;
                write(encoder, value, v)
            })
        }
        (Shape::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
            push(encoder, Header::Array(Some(fields.len())))?;
            fields.iter().zip(values).try_for_each(|((name, shape), (given, value))| {
                if name == given { write(encoder, shape, value) } else { Err(misfit(shape)) }
            })
        }
        (Shape::Tuple(shapes), Val::Tuple(values)) if shapes.len() == values.len() => {
            push(encoder, Header::Array(Some(shapes.len())))?;
            shapes.iter().zip(values).try_for_each(|(shape, value)| write(encoder, shape, value))
        }
        (Shape::Variant(cases), Val::Variant(name, value)) => {
            let found = cases.iter().enumerate().find(|(_, (case, _))| case == name);
            let (at, (_, payload)) = found.ok_or_else(|| misfit(shape))?;
            case(encoder, at, payload.as_ref(), value.as_deref())
        }
        (Shape::Enum(names), Val::Enum(name)) => {
            let at = names.iter().position(|known| known == name);
            index(encoder, at.ok_or_else(|| misfit(shape))?)
        }
        (Shape::Option(_), Val::Option(None)) => push(encoder, Header::Simple(simple::NULL)),
        (Shape::Option(inner), Val::Option(Some(value))) => {
            if may_be_null(inner) {
                push(encoder, Header::Array(Some(1)))?;
            }
            write(encoder, inner, value)
        }
        (Shape::Result(ok, _), Val::Result(Ok(value))) => {
            case(encoder, 0, ok.as_deref(), value.as_deref())
        }
        (Shape::Result(_, err), Val::Result(Err(value))) => {
            case(encoder, 1, err.as_deref(), value.as_deref())
        }
        (Shape::Flags(names), Val::Flags(set)) => {
            push(encoder, Header::Array(Some(set.len())))?;
            set.iter().try_for_each(|name| {
                let at = names.iter().position(|known| known == name);
                index(encoder, at.ok_or_else(|| misfit(shape))?)
            })
        }
        _ => Err(misfit(shape)),
    }
}

fn may_be_null(shape: &Shape) -> bool {
    matches!(shape, Shape::Option(_))
}

/// Each value takes a byte at least, so no honest length is more than the bytes that are left.
struct Reader<'b> {
    decoder: Decoder<&'b [u8]>,
    length: usize,
}

impl Reader<'_> {
    fn pull(&mut self) -> Result<Header, Misfit> {
        self.decoder.pull().map_err(|_| Misfit("no CBOR".to_owned()))
    }

    /// An array of as many as `wanted`.
    fn array(&mut self, wanted: usize) -> Result<(), Misfit> {
        match self.pull()? {
            Header::Array(Some(length)) if length == wanted => Ok(()),
            _ => Err(Misfit(format!("expected {wanted} values"))),
        }
    }

    /// The length of an array, never more than there are bytes left.
    fn length(&mut self, shape: &Shape) -> Result<usize, Misfit> {
        match self.pull()? {
            Header::Array(Some(length)) if length <= self.left() => Ok(length),
            _ => Err(misfit(shape)),
        }
    }

    fn left(&mut self) -> usize {
        self.length.saturating_sub(self.decoder.offset())
    }

    fn number<T: TryFrom<i128>>(&mut self, shape: &Shape) -> Result<T, Misfit> {
        let number = match self.pull()? {
            Header::Positive(value) => i128::from(value),
            Header::Negative(value) => !i128::from(value),
            _ => return Err(misfit(shape)),
        };
        number.try_into().map_err(|_| misfit(shape))
    }

    fn float(&mut self, shape: &Shape) -> Result<f64, Misfit> {
        match self.pull()? {
            Header::Float(value) => Ok(value),
            _ => Err(misfit(shape)),
        }
    }

    fn text(&mut self, shape: &Shape) -> Result<String, Misfit> {
        let Header::Text(Some(length)) = self.pull()? else { return Err(misfit(shape)) };
        if length > self.left() {
            return Err(misfit(shape));
        }
        let mut text = String::with_capacity(length);
        let mut buffer = [0; 4096];
        let mut segments = self.decoder.text(Some(length));
        let broken = |_| Misfit("no text".to_owned());
        while let Some(mut segment) = segments.pull().map_err(broken)? {
            while let Some(chunk) =
                segment.pull(&mut buffer).map_err(|_| Misfit("no text".to_owned()))?
            {
                text.push_str(chunk);
            }
        }
        Ok(text)
    }

    /// The index of a case, and whether a payload follows.
    fn case(&mut self, shape: &Shape) -> Result<(usize, bool), Misfit> {
        match self.pull()? {
            Header::Positive(at) => Ok((usize::try_from(at).map_err(|_| misfit(shape))?, false)),
            Header::Array(Some(2)) => Ok((self.number(shape)?, true)),
            _ => Err(misfit(shape)),
        }
    }

    fn payload(
        &mut self,
        shape: Option<&Shape>,
        follows: bool,
    ) -> Result<Option<Box<Val>>, Misfit> {
        match (shape, follows) {
            (None, false) => Ok(None),
            (Some(shape), true) => Ok(Some(Box::new(self.value(shape)?))),
            _ => Err(Misfit("a case with or without its payload".to_owned())),
        }
    }

    fn value(&mut self, shape: &Shape) -> Result<Val, Misfit> {
        Ok(match shape {
            Shape::Bool => match self.pull()? {
                Header::Simple(simple::TRUE) => Val::Bool(true),
                Header::Simple(simple::FALSE) => Val::Bool(false),
                _ => return Err(misfit(shape)),
            },
            Shape::S8 => Val::S8(self.number(shape)?),
            Shape::U8 => Val::U8(self.number(shape)?),
            Shape::S16 => Val::S16(self.number(shape)?),
            Shape::U16 => Val::U16(self.number(shape)?),
            Shape::S32 => Val::S32(self.number(shape)?),
            Shape::U32 => Val::U32(self.number(shape)?),
            Shape::S64 => Val::S64(self.number(shape)?),
            Shape::U64 => Val::U64(self.number(shape)?),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it was an f32; others are rounded"
            )]
            Shape::F32 => Val::Float32(self.float(shape)? as f32),
            Shape::F64 => Val::Float64(self.float(shape)?),
            Shape::Char => {
                let code: u32 = self.number(shape)?;
                Val::Char(char::from_u32(code).ok_or_else(|| misfit(shape))?)
            }
            Shape::String => Val::String(self.text(shape)?),
            Shape::List(inner) => {
                let length = self.length(shape)?;
                let mut items = Vec::with_capacity(length.min(TRUSTED));
                for _ in 0..length {
                    items.push(self.value(inner)?);
                }
                Val::List(items)
            }
            Shape::Map(key, value) => {
                let length = self.length(shape)?;
                let mut entries = Vec::with_capacity(length.min(TRUSTED));
                for _ in 0..length {
                    self.array(2)?;
                    entries.push((self.value(key)?, self.value(value)?));
                }
                Val::Map(entries)
            }
            Shape::Record(fields) => {
                self.array(fields.len())?;
                let field =
                    |(name, shape): &(String, Shape)| Ok((name.clone(), self.value(shape)?));
                Val::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            Shape::Tuple(shapes) => {
                self.array(shapes.len())?;
                Val::Tuple(shapes.iter().map(|shape| self.value(shape)).collect::<Result<_, _>>()?)
            }
            Shape::Variant(cases) => {
                let (at, follows) = self.case(shape)?;
                let (name, payload) = cases.get(at).ok_or_else(|| misfit(shape))?;
                Val::Variant(name.clone(), self.payload(payload.as_ref(), follows)?)
            }
            Shape::Enum(names) => {
                let at: usize = self.number(shape)?;
                Val::Enum(names.get(at).ok_or_else(|| misfit(shape))?.clone())
            }
            Shape::Option(inner) => match self.pull()? {
                Header::Simple(simple::NULL) => Val::Option(None),
                header => {
                    if may_be_null(inner) {
                        if header != Header::Array(Some(1)) {
                            return Err(misfit(shape));
                        }
                    } else {
                        self.decoder.push(header);
                    }
                    Val::Option(Some(Box::new(self.value(inner)?)))
                }
            },
            Shape::Result(ok, err) => match self.case(shape)? {
                (0, follows) => Val::Result(Ok(self.payload(ok.as_deref(), follows)?)),
                (1, follows) => Val::Result(Err(self.payload(err.as_deref(), follows)?)),
                _ => return Err(misfit(shape)),
            },
            Shape::Flags(names) => {
                let length = self.length(shape)?;
                if length > names.len() {
                    return Err(misfit(shape));
                }
                let mut set = Vec::with_capacity(length);
                for _ in 0..length {
                    let at: usize = self.number(shape)?;
                    set.push(names.get(at).ok_or_else(|| misfit(shape))?.clone());
                }
                Val::Flags(set)
            }
            Shape::Handle(_) => return Err(misfit(shape)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(shapes: &[(&str, Shape)]) -> Vec<(String, Shape)> {
        shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect()
    }

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    }

    fn some(value: Val) -> Val {
        Val::Option(Some(Box::new(value)))
    }

    fn boxed(shape: Shape) -> Box<Shape> {
        Box::new(shape)
    }

    /// Every kind of type, with values at its edges.
    fn table() -> Vec<(Shape, Vec<Val>)> {
        let option = |shape: Shape| Shape::Option(boxed(shape));
        let variant = Shape::Variant(vec![
            ("none".to_owned(), None),
            ("number".to_owned(), Some(Shape::U64)),
            ("maybe".to_owned(), Some(option(Shape::String))),
        ]);
        let case =
            |name: &str, value: Option<Val>| Val::Variant(name.to_owned(), value.map(Box::new));
        let record = Shape::Record(named(&[("a", Shape::U8), ("b", option(Shape::Bool))]));
        let record_of =
            |a: u8, b: Val| Val::Record(vec![("a".to_owned(), Val::U8(a)), ("b".to_owned(), b)]);
        let flags: Vec<String> = (0..70).map(|n| format!("f{n}")).collect();
        vec![
            (Shape::Bool, vec![Val::Bool(true), Val::Bool(false)]),
            (Shape::S8, [i8::MIN, -1, 0, i8::MAX].map(Val::S8).into()),
            (Shape::U8, [0, 23, 24, u8::MAX].map(Val::U8).into()),
            (Shape::S16, [i16::MIN, -257, i16::MAX].map(Val::S16).into()),
            (Shape::U16, [0, 256, u16::MAX].map(Val::U16).into()),
            (Shape::S32, [i32::MIN, -1, i32::MAX].map(Val::S32).into()),
            (Shape::U32, [0, 65_536, u32::MAX].map(Val::U32).into()),
            (Shape::S64, [i64::MIN, -1, 0, i64::MAX].map(Val::S64).into()),
            (Shape::U64, [0, 1 << 32, u64::MAX].map(Val::U64).into()),
            (Shape::F32, [0.0, -0.5, 0.1, f32::MAX, f32::INFINITY].map(Val::Float32).into()),
            (Shape::F64, [0.0, 0.1, f64::MIN_POSITIVE, f64::NEG_INFINITY].map(Val::Float64).into()),
            (Shape::Char, ['\0', 'a', '\u{d7ff}', '\u{10ffff}'].map(Val::Char).into()),
            (
                Shape::String,
                vec![
                    Val::String(String::new()),
                    Val::String("späť \0 🦀".to_owned()),
                    Val::String("🦀".repeat(5_000)),
                ],
            ),
            (
                Shape::List(boxed(Shape::U32)),
                vec![Val::List(vec![]), Val::List((0..1_000).map(Val::U32).collect())],
            ),
            (
                Shape::Map(boxed(Shape::String), boxed(Shape::U8)),
                vec![Val::Map(vec![]), Val::Map(vec![(Val::String("k".to_owned()), Val::U8(1))])],
            ),
            (
                record.clone(),
                vec![record_of(1, Val::Option(None)), record_of(2, some(Val::Bool(false)))],
            ),
            (Shape::Record(vec![]), vec![Val::Record(vec![])]),
            (
                Shape::Tuple(vec![Shape::String, record.clone()]),
                vec![Val::Tuple(vec![
                    Val::String("x".to_owned()),
                    record_of(3, Val::Option(None)),
                ])],
            ),
            (
                variant,
                vec![
                    case("none", None),
                    case("number", Some(Val::U64(7))),
                    case("maybe", Some(Val::Option(None))),
                    case("maybe", Some(some(Val::String("y".to_owned())))),
                ],
            ),
            (
                Shape::Enum(texts(&["a", "b"])),
                vec![Val::Enum("a".to_owned()), Val::Enum("b".to_owned())],
            ),
            (
                option(option(option(Shape::Bool))),
                vec![
                    Val::Option(None),
                    some(Val::Option(None)),
                    some(some(Val::Option(None))),
                    some(some(some(Val::Bool(true)))),
                ],
            ),
            (
                option(Shape::List(boxed(option(Shape::U8)))),
                vec![some(Val::List(vec![])), some(Val::List(vec![Val::Option(None)]))],
            ),
            (Shape::Result(None, None), vec![Val::Result(Ok(None)), Val::Result(Err(None))]),
            (
                Shape::Result(Some(boxed(option(Shape::U8))), Some(boxed(Shape::String))),
                vec![
                    Val::Result(Ok(Some(Box::new(Val::Option(None))))),
                    Val::Result(Err(Some(Box::new(Val::String("no".to_owned()))))),
                ],
            ),
            (
                Shape::Flags(flags.clone()),
                vec![Val::Flags(vec![]), Val::Flags(texts(&["f0", "f69"])), Val::Flags(flags)],
            ),
            (
                Shape::List(boxed(record)),
                vec![Val::List(vec![record_of(9, Val::Option(None)); 300])],
            ),
        ]
    }

    #[test]
    fn every_value_comes_back_as_it_went() {
        for (shape, values) in table() {
            for value in values {
                let bytes = encode([(&shape, &value)].into_iter()).unwrap();
                let back = decode([&shape].into_iter(), &bytes).unwrap();
                assert_eq!(back, [value], "{shape}");
            }
        }
        let nan = encode([(&Shape::F64, &Val::Float64(f64::NAN))].into_iter()).unwrap();
        let back = decode([&Shape::F64].into_iter(), &nan).unwrap();
        assert!(matches!(back[..], [Val::Float64(value)] if value.is_nan()));
    }

    #[test]
    fn all_of_them_together_come_back_as_they_went() {
        let table = table();
        let all: Vec<(&Shape, &Val)> = table
            .iter()
            .flat_map(|(shape, values)| values.iter().map(move |value| (shape, value)))
            .collect();
        let bytes = encode(all.iter().copied()).unwrap();
        let back = decode(all.iter().map(|(shape, _)| *shape), &bytes).unwrap();
        assert!(back.iter().eq(all.iter().map(|(_, value)| *value)));
        assert!(decode(all.iter().skip(1).map(|(shape, _)| *shape), &bytes).is_err());
    }

    #[test]
    fn a_value_of_another_type_is_an_error_on_both_sides() {
        let table = table();
        for (shape, values) in &table {
            for (other, _) in &table {
                if shape == other {
                    continue;
                }
                for value in values {
                    if let Ok(bytes) = encode([(other, value)].into_iter()) {
                        // It fits both, such as an empty list.
                        assert!(decode([other].into_iter(), &bytes).is_ok(), "{shape} as {other}");
                    }
                    let bytes = encode([(shape, value)].into_iter()).unwrap();
                    // What it may be by chance is a value of that type.
                    if let Ok(back) = decode([other].into_iter(), &bytes) {
                        assert!(encode([(other, &back[0])].into_iter()).is_ok());
                    }
                }
            }
        }
        assert!(encode([(&Shape::U8, &Val::U16(1))].into_iter()).is_err());
        assert!(encode([(&Shape::Enum(vec![]), &Val::Enum("a".to_owned()))].into_iter()).is_err());
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        for (shape, values) in table() {
            for value in &values {
                let bytes = encode([(&shape, value)].into_iter()).unwrap();
                let short = bytes.len().min(200);
                for end in 0..short {
                    assert!(decode([&shape].into_iter(), &bytes[..end]).is_err(), "{shape}");
                }
                for at in 0..short {
                    for bit in 0..8 {
                        let mut bytes = bytes.clone();
                        bytes[at] ^= 1 << bit;
                        // A value, or an error.
                        drop(decode([&shape].into_iter(), &bytes));
                    }
                }
                let longer = [&bytes[..], &[0]].concat();
                assert!(decode([&shape].into_iter(), &longer).is_err(), "{shape}");
            }
        }
    }

    #[test]
    fn a_length_that_is_not_there_costs_nothing() {
        let list = Shape::List(boxed(Shape::U8));
        for bytes in [
            &[0x81, 0x9b, 255, 255, 255, 255, 255, 255, 255, 255][..],
            &[0x81, 0x9a, 127, 255, 255, 255],
            &[0x81, 0x9f],
        ] {
            assert!(decode([&list].into_iter(), bytes).is_err());
        }
        let text = [0x81, 0x7b, 0, 0, 255, 255, 255, 255, 255, 255];
        assert!(decode([&Shape::String].into_iter(), &text).is_err());
    }
}
