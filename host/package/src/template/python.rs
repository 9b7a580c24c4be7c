//! What differs in Python.

use super::{camel, comment, snake};
use crate::contract::hooks::{Hook, Kind};

pub(super) fn words(hooks: &[Hook]) -> Vec<(&'static str, String)> {
    let exports: Vec<String> =
        hooks.iter().map(|hook| format!("\"{}\"", camel(&hook.name, true))).collect();
    vec![
        ("exports", exports.join(", ")),
        ("stubs", hooks.iter().map(stub).collect::<Vec<_>>().join("\n\n")),
        (
            "own-tests",
            "its tests are in `tests/`, run by `PYTHONPATH=src python3 -m unittest discover -s tests`".to_owned(),
        ),
        ("more", String::new()),
    ]
}

fn stub(hook: &Hook) -> String {
    let name = camel(&hook.name, true);
    let mut text = format!("{}class {name}(exports.{name}):\n", comment(&hook.docs, "#"));
    for (number, function) in hook.functions.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let params: String =
            function.params.iter().map(|(name, _)| format!(", {}", snake(name))).collect();
        let answer = match &function.result {
            Some(Kind::List(_)) => "[]",
            // None is allowed, nothing, or unchanged; an objection is raised as componentize_py_types.Err.
            _ => "None",
        };
        text += &comment(&function.docs, "    #");
        text +=
            &format!("    def {}(self{params}):\n        return {answer}\n", snake(&function.name));
    }
    text
}
