//! What differs in Rust.

use std::path::Path;

use super::{camel, comment, snake};
use crate::contract::hooks::{Function, Hook, Kind};

pub(super) fn words(
    hooks: &[Hook],
    example: bool,
    sdk: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let mut dependencies = match sdk {
        Some(folder) => format!("tessera-sdk = {{ path = {:?} }}", folder.display().to_string()),
        None => "wit-bindgen = \"0.61\"".to_owned(),
    };
    if example {
        dependencies
            .push_str("\nserde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"");
    }
    let root = if sdk.is_some() { "tessera_sdk::module" } else { "exports::tessera::hooks" };
    let bindings = match sdk {
        Some(_) => String::new(),
        None => {
            "wit_bindgen::generate!({ path: \"wit\", world: \"module\", generate_all });".to_owned()
        }
    };
    let export = match sdk {
        Some(_) => {
            let lines = hooks.iter().map(|hook| {
                let name = snake(&hook.name);
                format!("tessera_sdk::export_{name}!(Module);")
            });
            lines.collect::<Vec<_>>().join("\n#[cfg(target_arch = \"wasm32\")]\n")
        }
        None => "export!(Module);".to_owned(),
    };
    let refusal = if sdk.is_some() {
        "tessera_sdk::hooks::Refusal"
    } else {
        "tessera::hooks::types::Refusal"
    };
    let config = match sdk {
        Some(_) => "tessera_sdk::config::get()",
        None => "serde_json::from_str(&tessera::host::config::get())",
    };
    vec![
        ("dependencies", dependencies),
        ("bindings", bindings),
        ("hooks", root.to_owned()),
        ("refusal", refusal.to_owned()),
        ("config", config.to_owned()),
        ("export", export),
        ("stubs", hooks.iter().map(|hook| stub(hook, root)).collect::<Vec<_>>().join("\n")),
        ("own-tests", "its tests run by `cargo test`".to_owned()),
        ("more", String::new()),
    ]
}

fn stub(hook: &Hook, root: &str) -> String {
    let module = format!("{root}::{}", snake(&hook.name));
    let mut text = format!("{}impl {module}::Guest for Module {{\n", comment(&hook.docs, "//"));
    for (number, function) in hook.functions.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text += &comment(&function.docs, "    ///");
        text += &method(function, &module);
    }
    text + "}\n"
}

fn method(function: &Function, module: &str) -> String {
    let params: Vec<String> = function
        .params
        .iter()
        .map(|(name, kind)| format!("_{}: {}", snake(name), ty(kind, module)))
        .collect();
    let (answer, body) = match &function.result {
        None => (String::new(), ""),
        Some(kind) => (format!(" -> {}", ty(kind, module)), nothing(kind)),
    };
    let body =
        if body.is_empty() { "{}".to_owned() } else { format!("{{\n        {body}\n    }}") };
    format!("    fn {}({}){answer} {body}\n", snake(&function.name), params.join(", "))
}

/// The answer that changes nothing.
fn nothing(kind: &Kind) -> &'static str {
    match kind {
        Kind::Result(None, _) => "Ok(())",
        Kind::Result(Some(_), _) => "Ok(None)",
        Kind::Option(_) => "None",
        Kind::List(_) => "Vec::new()",
        _ => "Default::default()",
    }
}

fn ty(kind: &Kind, module: &str) -> String {
    let of = |kind: &Option<Box<Kind>>| match kind {
        Some(kind) => ty(kind, module),
        None => "()".to_owned(),
    };
    match kind {
        Kind::Plain("string") => "String".to_owned(),
        Kind::Plain(name) => match name.strip_prefix('s') {
            Some(bits) => format!("i{bits}"),
            None => (*name).to_owned(),
        },
        Kind::Named(name) => format!("{module}::{}", camel(name, true)),
        Kind::List(inner) => format!("Vec<{}>", ty(inner, module)),
        Kind::Option(inner) => format!("Option<{}>", ty(inner, module)),
        Kind::Result(ok, error) => format!("Result<{}, {}>", of(ok), of(error)),
        Kind::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(|part| ty(part, module)).collect();
            format!("({})", parts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::hooks::hooks;

    #[test]
    fn stubs_have_the_types_of_the_contract() {
        let hooks = hooks().unwrap();
        let rules = hooks.iter().find(|hook| hook.name == "event-rules").unwrap();
        let stub = stub(rules, "exports::tessera::hooks");
        let signature = "fn check_allowed(_content: String, _event: String, _context: exports::tessera::hooks::event_rules::Context) -> Result<Option<String>, exports::tessera::hooks::event_rules::Refusal> {\n        Ok(None)";
        assert!(stub.contains(signature), "{stub}");
    }

    #[test]
    fn numbers_keep_their_size() {
        assert_eq!(ty(&Kind::Plain("s64"), "m"), "i64");
        assert_eq!(ty(&Kind::Plain("u32"), "m"), "u32");
        assert_eq!(ty(&Kind::List(Box::new(Kind::Plain("string"))), "m"), "Vec<String>");
    }
}
