//! What must hold of the codec of values for any bytes at all, for fuzzers. No part of the crate's interface.

use wasmtime::component::Val;

use crate::contract::Shape;
use crate::remote::values::{decode, encode};

/// Nesting of types that are made.
const DEPTH: usize = 4;
/// Elements of a list that is made.
const ELEMENTS: u8 = 6;

/// A value comes back as it went, and any bytes at all are an error or a value that does. The first bytes choose the
/// type, those after them the value; the same ones are then read as an encoded value.
///
/// Gives whether there was anything to check: a run that refuses all inputs has shown nothing.
///
/// # Panics
/// Where that does not hold.
pub fn values(bytes: &[u8]) -> bool {
    let mut source = Source(bytes.iter());
    let shape = shape(&mut source, DEPTH);
    let encoded = source.0.as_slice();
    let made = value(&mut source, &shape);
    comes_back(&shape, &made);
    for bytes in [encoded, &[&[0x81], encoded].concat()] {
        if let Ok(values) = decode([&shape].into_iter(), bytes) {
            values.iter().for_each(|value| comes_back(&shape, value));
        }
    }
    true
}

fn comes_back(shape: &Shape, value: &Val) {
    let bytes = encode([(shape, value)].into_iter());
    assert!(bytes.is_ok(), "{shape}: {value:?}: {bytes:?}");
    let back = decode([shape].into_iter(), &bytes.unwrap_or_default());
    // As texts: no NaN is equal to itself.
    assert_eq!(format!("{back:?}"), format!("Ok([{value:?}])"), "{shape}");
}

/// Bytes to choose by; zeros when they are used up.
struct Source<'b>(std::slice::Iter<'b, u8>);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn many(&mut self, most: u8) -> std::ops::Range<u8> {
        0..self.byte() % (most + 1)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

fn shape(source: &mut Source<'_>, depth: usize) -> Shape {
    let kind = source.byte() % if depth == 0 { 13 } else { 22 };
    let inner = depth.saturating_sub(1);
    let boxed = |source: &mut Source<'_>| Box::new(shape(source, inner));
    let maybe = |source: &mut Source<'_>| (source.byte() % 2 == 1).then(|| shape(source, inner));
    match kind {
        0 => Shape::Bool,
        1 => Shape::S8,
        2 => Shape::U8,
        3 => Shape::S16,
        4 => Shape::U16,
        5 => Shape::S32,
        6 => Shape::U32,
        7 => Shape::S64,
        8 => Shape::U64,
        9 => Shape::F32,
        10 => Shape::F64,
        11 => Shape::Char,
        12 => Shape::String,
        13 | 14 => Shape::List(boxed(source)),
        15 => Shape::Map(boxed(source), boxed(source)),
        16 => Shape::Record(source.many(4).map(|n| (name(n), shape(source, inner))).collect()),
        17 => Shape::Tuple(source.many(4).map(|_| shape(source, inner)).collect()),
        // At least one case: there is no value of a variant without.
        18 => Shape::Variant((0..=source.byte() % 4).map(|n| (name(n), maybe(source))).collect()),
        19 => Shape::Enum((0..=source.byte() % 40).map(name).collect()),
        20 => Shape::Option(boxed(source)),
        _ if source.byte() % 2 == 1 => Shape::Flags(source.many(40).map(name).collect()),
        _ => Shape::Result(maybe(source).map(Box::new), maybe(source).map(Box::new)),
    }
}

fn name(n: u8) -> String {
    format!("n{n}")
}

/// One of its elements.
fn pick<'a, T>(source: &mut Source<'_>, from: &'a [T]) -> Option<&'a T> {
    from.get(usize::from(source.byte()).checked_rem(from.len())?)
}

fn value(source: &mut Source<'_>, shape: &Shape) -> Val {
    let boxed = |source: &mut Source<'_>, shape: &Shape| Box::new(value(source, shape));
    match shape {
        Shape::Bool | Shape::Handle(_) => Val::Bool(source.byte() % 2 == 1),
        Shape::S8 => Val::S8(i8::from_le_bytes(source.bytes())),
        Shape::U8 => Val::U8(source.byte()),
        Shape::S16 => Val::S16(i16::from_le_bytes(source.bytes())),
        Shape::U16 => Val::U16(u16::from_le_bytes(source.bytes())),
        Shape::S32 => Val::S32(i32::from_le_bytes(source.bytes())),
        Shape::U32 => Val::U32(u32::from_le_bytes(source.bytes())),
        Shape::S64 => Val::S64(i64::from_le_bytes(source.bytes())),
        Shape::U64 => Val::U64(u64::from_le_bytes(source.bytes())),
        Shape::F32 => Val::Float32(f32::from_le_bytes(source.bytes())),
        Shape::F64 => Val::Float64(f64::from_le_bytes(source.bytes())),
        Shape::Char => {
            let code = u32::from_le_bytes(source.bytes()) % 0x11_0000;
            Val::Char(char::from_u32(code).unwrap_or('\u{d7ff}'))
        }
        Shape::String => {
            let bytes: Vec<u8> = source.many(u8::MAX - 1).map(|_| source.byte()).collect();
            Val::String(String::from_utf8_lossy(&bytes).into_owned())
        }
        Shape::List(inner) => {
            Val::List(source.many(ELEMENTS).map(|_| value(source, inner)).collect())
        }
        Shape::Map(key, inner) => {
            let many = source.many(ELEMENTS);
            Val::Map(many.map(|_| (value(source, key), value(source, inner))).collect())
        }
        Shape::Record(fields) => Val::Record(
            fields.iter().map(|(name, inner)| (name.clone(), value(source, inner))).collect(),
        ),
        Shape::Tuple(shapes) => Val::Tuple(shapes.iter().map(|it| value(source, it)).collect()),
        Shape::Variant(cases) => match pick(source, cases) {
            Some((name, inner)) => {
                Val::Variant(name.clone(), inner.as_ref().map(|inner| boxed(source, inner)))
            }
            None => Val::Variant(String::new(), None),
        },
        Shape::Enum(names) => Val::Enum(pick(source, names).cloned().unwrap_or_default()),
        Shape::Option(inner) => Val::Option((source.byte() % 2 == 1).then(|| boxed(source, inner))),
        Shape::Result(ok, err) => {
            let (is_ok, inner) = if source.byte() % 2 == 1 { (true, ok) } else { (false, err) };
            let payload = inner.as_ref().map(|inner| boxed(source, inner));
            Val::Result(if is_ok { Ok(payload) } else { Err(payload) })
        }
        Shape::Flags(names) => {
            Val::Flags(names.iter().filter(|_| source.byte() % 2 == 1).cloned().collect())
        }
    }
}
