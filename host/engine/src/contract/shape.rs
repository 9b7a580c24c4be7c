//! Component types as plain data.

use std::{collections::BTreeMap, fmt};

use semver::Version;
use wasmtime::{
    Engine,
    component::types::{ComponentInstance, ComponentItem, Type},
};

/// A type of the component model, by structure. Names of records and variants are no part of it; names of
/// fields and cases are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the WIT type of the same name")]
pub enum Shape {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
    Record(Vec<(String, Shape)>),
    Tuple(Vec<Shape>),
    Variant(Vec<(String, Option<Shape>)>),
    Enum(Vec<String>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    Flags(Vec<String>),
    /// A resource, stream, future or error context: no plain value.
    Handle(&'static str),
}

impl Shape {
    /// Reads a wasmtime type.
    #[must_use]
    pub fn of(ty: &Type) -> Self {
        let boxed = |ty: &Type| Box::new(Self::of(ty));
        match ty {
            Type::Bool => Self::Bool,
            Type::S8 => Self::S8,
            Type::U8 => Self::U8,
            Type::S16 => Self::S16,
            Type::U16 => Self::U16,
            Type::S32 => Self::S32,
            Type::U32 => Self::U32,
            Type::S64 => Self::S64,
            Type::U64 => Self::U64,
            Type::Float32 => Self::F32,
            Type::Float64 => Self::F64,
            Type::Char => Self::Char,
            Type::String => Self::String,
            Type::List(list) => Self::List(boxed(&list.ty())),
            Type::FixedLengthList(list) => Self::List(boxed(&list.ty())),
            Type::Map(map) => Self::Map(boxed(&map.key()), boxed(&map.value())),
            Type::Record(record) => Self::Record(
                record.fields().map(|field| (field.name.to_owned(), Self::of(&field.ty))).collect(),
            ),
            Type::Tuple(tuple) => Self::Tuple(tuple.types().map(|ty| Self::of(&ty)).collect()),
            Type::Variant(variant) => Self::Variant(
                variant
                    .cases()
                    .map(|case| (case.name.to_owned(), case.ty.as_ref().map(Self::of)))
                    .collect(),
            ),
            Type::Enum(names) => Self::Enum(names.names().map(str::to_owned).collect()),
            Type::Option(option) => Self::Option(boxed(&option.ty())),
            Type::Result(result) => {
                Self::Result(result.ok().as_ref().map(boxed), result.err().as_ref().map(boxed))
            }
            Type::Flags(flags) => Self::Flags(flags.names().map(str::to_owned).collect()),
            Type::Own(_) | Type::Borrow(_) => Self::Handle("resource"),
            Type::Future(_) => Self::Handle("future"),
            Type::Stream(_) => Self::Handle("stream"),
            Type::ErrorContext => Self::Handle("error-context"),
        }
    }

    /// Calls `visit` for this type and all within it, outermost first.
    pub(crate) fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match self {
            Self::List(inner) | Self::Option(inner) => inner.walk(visit),
            Self::Map(key, value) => {
                key.walk(visit);
                value.walk(visit);
            }
            Self::Record(fields) => fields.iter().for_each(|(_, ty)| ty.walk(visit)),
            Self::Tuple(types) => types.iter().for_each(|ty| ty.walk(visit)),
            Self::Variant(cases) => {
                cases.iter().filter_map(|(_, ty)| ty.as_ref()).for_each(|ty| ty.walk(visit));
            }
            Self::Result(ok, err) => {
                ok.iter().chain(err).for_each(|ty| ty.walk(visit));
            }
            _ => {}
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::List(inner) => write!(f, "list<{inner}>"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Record(fields) => {
                let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "record {{ {} }}", names.join(", "))
            }
            Self::Tuple(types) => {
                let types: Vec<_> = types.iter().map(ToString::to_string).collect();
                write!(f, "tuple<{}>", types.join(", "))
            }
            Self::Variant(cases) => {
                let names: Vec<_> = cases.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "variant {{ {} }}", names.join(", "))
            }
            Self::Enum(names) => write!(f, "enum {{ {} }}", names.join(", ")),
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Result(ok, err) => match (ok, err) {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
            Self::Flags(names) => write!(f, "flags {{ {} }}", names.join(", ")),
            Self::Handle(kind) => f.write_str(kind),
        }
    }
}

/// A function's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Names and types, in order.
    pub params: Vec<(String, Shape)>,
    /// What it gives, if anything.
    pub result: Option<Shape>,
}

/// An interface that a component imports or exports, with the functions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// As the component says it, `ns:package/name@1.2.3`.
    pub name: String,
    /// Without version, `ns:package/name`.
    pub base: String,
    /// Absent where the component names none.
    pub version: Option<Version>,
    /// By name. Empty: the interface only lends its types.
    pub functions: BTreeMap<String, Function>,
    /// Names of resource types that it defines.
    pub resources: Vec<String>,
}

impl Interface {
    /// Reads an instance type.
    #[must_use]
    pub fn of(engine: &Engine, name: &str, instance: &ComponentInstance) -> Self {
        let mut functions = BTreeMap::new();
        let mut resources = Vec::new();
        for (item, ty) in instance.exports(engine) {
            match ty.ty {
                ComponentItem::ComponentFunc(func) => {
                    let params =
                        func.params().map(|(name, ty)| (name.to_owned(), Shape::of(&ty))).collect();
                    let result = func.results().next().map(|ty| Shape::of(&ty));
                    functions.insert(item.to_owned(), Function { params, result });
                }
                ComponentItem::Resource(_) => resources.push(item.to_owned()),
                _ => {}
            }
        }
        let (base, version) = match name.split_once('@') {
            Some((base, version)) => (base.to_owned(), Version::parse(version).ok()),
            None => (name.to_owned(), None),
        };
        Self { name: name.to_owned(), base, version, functions, resources }
    }

    /// Whether this is a contract between plug-ins: neither the host's nor WASI's, nor one without a package, which
    /// is what tools of a language add for themselves.
    #[must_use]
    pub fn is_between_plugins(&self) -> bool {
        self.base.contains(':')
            && !["wasi:", "tessera:host/", "tessera:plugin/"]
                .iter()
                .any(|prefix| self.base.starts_with(prefix))
    }

    /// Whether this is a hook: many may answer.
    #[must_use]
    pub fn is_hook(&self) -> bool {
        self.base.split_once(':').is_some_and(|(_, rest)| rest.starts_with("hooks/"))
    }
}
