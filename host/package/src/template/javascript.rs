//! What differs in JavaScript.

use super::{camel, comment};
use crate::contract::hooks::{Hook, Kind};

pub(super) fn words(hooks: &[Hook]) -> Vec<(&'static str, String)> {
    let exports: Vec<String> =
        hooks.iter().map(|hook| format!("'{}'", camel(&hook.name, false))).collect();
    vec![
        ("exports", exports.join(", ")),
        ("stubs", hooks.iter().map(stub).collect::<Vec<_>>().join("\n")),
        ("own-tests", "its tests are in `tests/`, run by `node --test`".to_owned()),
        ("more", String::new()),
    ]
}

fn stub(hook: &Hook) -> String {
    let mut text =
        format!("{}export const {} = {{\n", comment(&hook.docs, "//"), camel(&hook.name, false));
    for function in &hook.functions {
        let params: Vec<String> =
            function.params.iter().map(|(name, _)| camel(name, false)).collect();
        let body = match &function.result {
            Some(Kind::List(_)) => "    return [];\n",
            // Nothing is allowed, none, or unchanged; an objection is thrown.
            _ => "",
        };
        text += &comment(&function.docs, "  //");
        text +=
            &format!("  {}({}) {{\n{body}  }},\n", camel(&function.name, false), params.join(", "));
    }
    text + "};\n"
}
