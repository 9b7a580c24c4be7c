//! Under which names nodes find one another.

use std::fmt::Write as _;

use semver::Version;

use crate::{
    contract::{Function, Interface, Shape},
    plugin::Plugin,
    pool::functions_of,
};

/// Calls of the host's own interfaces: requests, messages, timers.
#[must_use]
pub fn edge_service(plugin: &str) -> String {
    format!("edge.{plugin}")
}

/// Every service that a node offers which runs this plug-in.
///
/// A function's name holds its interface's version as far as it tells what fits, and a digest of its type: two
/// versions of a plug-in that run side by side get the calls that they can answer, and no others.
#[must_use]
pub fn services(plugin: &Plugin) -> Vec<String> {
    let name = plugin.name();
    let function = |(interface, function): (&Interface, &str)| {
        interface.functions.get(function).map(|ty| call_service(name, interface, function, ty))
    };
    std::iter::once(edge_service(name))
        .chain(functions_of(&plugin.exports).filter_map(function))
        .collect()
}

/// One function of a service or hook.
pub(crate) fn call_service(
    plugin: &str,
    interface: &Interface,
    function: &str,
    ty: &Function,
) -> String {
    let base = interface.base.replace([':', '/'], "-");
    let version = interface.version.as_ref().map_or_else(|| "any".to_owned(), compatible);
    let digest = blake3::hash(canonical(function, ty).as_bytes());
    let digest: String = digest.to_hex().chars().take(16).collect();
    format!("call.{plugin}.{base}.{version}.{digest}")
}

/// What versions that fit one another share.
fn compatible(version: &Version) -> String {
    match (version.major, version.minor, version.patch) {
        (0, 0, patch) => format!("v0-0-{patch}"),
        (0, minor, _) => format!("v0-{minor}"),
        (major, ..) => format!("v{major}"),
    }
}

/// A function's type as text, the same in every version of the host.
fn canonical(name: &str, function: &Function) -> String {
    let mut text = format!("{name}(");
    for (name, shape) in &function.params {
        let _ = write!(text, "{name}:");
        spell(&mut text, shape);
        text.push(',');
    }
    text.push_str(")->");
    if let Some(shape) = &function.result {
        spell(&mut text, shape);
    }
    text
}

fn spell(text: &mut String, shape: &Shape) {
    let named = |text: &mut String, items: &[(String, Option<&Shape>)]| {
        for (name, shape) in items {
            let _ = write!(text, "{name}:");
            if let Some(shape) = shape {
                spell(text, shape);
            }
            text.push(',');
        }
        text.push('>');
    };
    match shape {
        Shape::List(inner) => {
            text.push_str("list<");
            spell(text, inner);
            text.push('>');
        }
        Shape::Option(inner) => {
            text.push_str("option<");
            spell(text, inner);
            text.push('>');
        }
        Shape::Map(key, value) => {
            text.push_str("map<");
            spell(text, key);
            text.push(',');
            spell(text, value);
            text.push('>');
        }
        Shape::Record(fields) => {
            text.push_str("record<");
            let fields: Vec<_> =
                fields.iter().map(|(name, shape)| (name.clone(), Some(shape))).collect();
            named(text, &fields);
        }
        Shape::Variant(cases) => {
            text.push_str("variant<");
            let cases: Vec<_> =
                cases.iter().map(|(name, shape)| (name.clone(), shape.as_ref())).collect();
            named(text, &cases);
        }
        Shape::Tuple(shapes) => {
            text.push_str("tuple<");
            for shape in shapes {
                spell(text, shape);
                text.push(',');
            }
            text.push('>');
        }
        Shape::Result(ok, err) => {
            text.push_str("result<");
            for side in [ok, err] {
                if let Some(shape) = side {
                    spell(text, shape);
                }
                text.push(',');
            }
            text.push('>');
        }
        // These spell themselves whole.
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(version: &str, function: &Function) -> String {
        let interface = Interface {
            name: format!("demo:services/calc@{version}"),
            base: "demo:services/calc".to_owned(),
            version: Version::parse(version).ok(),
            functions: std::collections::BTreeMap::new(),
            resources: Vec::new(),
        };
        call_service("sums", &interface, "add", function)
    }

    fn function(result: Shape) -> Function {
        let record = Shape::Record(vec![("n".to_owned(), Shape::U32)]);
        Function { params: vec![("a".to_owned(), record)], result: Some(result) }
    }

    #[test]
    fn compatible_versions_of_one_type_share_a_name() {
        let ty = function(Shape::U32);
        assert_eq!(name("1.2.3", &ty), name("1.9.0", &ty));
        assert_eq!(name("0.2.3", &ty), name("0.2.9", &ty));
        assert_ne!(name("0.2.3", &ty), name("0.3.0", &ty));
        assert_ne!(name("1.2.3", &ty), name("2.0.0", &ty));
        let name = name("1.2.3", &ty);
        assert!(name.starts_with("call.sums.demo-services-calc.v1."), "{name}");
    }

    #[test]
    fn another_type_has_another_name() {
        let base = name("1.0.0", &function(Shape::U32));
        assert_ne!(base, name("1.0.0", &function(Shape::U64)));
        assert_ne!(base, name("1.0.0", &function(Shape::Option(Box::new(Shape::U32)))));
        let enums =
            |names: &[&str]| function(Shape::Enum(names.iter().map(ToString::to_string).collect()));
        assert_ne!(name("1.0.0", &enums(&["a"])), name("1.0.0", &enums(&["a", "b"])));
    }
}
