//! JSON schemas of plug-ins' configuration: which of their keywords are understood, and whether a configuration fits.
//!
//! The keywords are those that say what a value must be; what only describes is passed over. A keyword that is not
//! understood is refused where the manifest is read: a check that is silently left out is none.

use regex::RegexBuilder;
use serde_json::{Map, Value};

/// Schemas within schemas.
const DEPTH: usize = 32;

/// Bytes that a compiled `pattern` may take.
const PATTERN: usize = 1 << 18;

/// Keywords that say nothing about what fits.
const PASSED_OVER: [&str; 9] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
];

/// Keywords that are checked.
const CHECKED: [&str; 19] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "anyOf",
    "allOf",
    "not",
];

const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];

/// A place in a configuration, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Keys and places of lists (from 1) down to the value; empty: the configuration itself.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What is expected.
    pub expected: String,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.message)?;
        if !self.expected.is_empty() {
            write!(f, "; expected: {}", self.expected)?;
        }
        Ok(())
    }
}

/// Checks that a schema uses only what is understood. The error names the place and the keyword.
pub(crate) fn understood(schema: &Map<String, Value>) -> Result<(), String> {
    walk(schema, "schema", 0)
}

fn walk(schema: &Map<String, Value>, place: &str, depth: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("{place} lies more than {DEPTH} deep"));
    }
    for (key, value) in schema {
        let here = format!("{place}.{key}");
        let wrong = |expected: &str| Err(format!("{here} is no {expected}"));
        let sub = |value: &Value, here: &str| match value {
            Value::Object(schema) => walk(schema, here, depth + 1),
            Value::Bool(_) => Ok(()),
            _ => Err(format!("{here} is no schema")),
        };
        match key.as_str() {
            key if PASSED_OVER.contains(&key) => {}
            "format" => {}
            "type" => {
                let one = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
                let good = match value {
                    Value::Array(list) => list.iter().all(one),
                    value => one(value),
                };
                if !good {
                    return Err(format!("{here} is none of {}", TYPES.join(", ")));
                }
            }
            "enum" | "required" if !value.is_array() => return wrong("list"),
            "minItems" | "maxItems" | "minLength" | "maxLength" if !value.is_u64() => {
                return wrong("count");
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum"
                if !value.is_number() =>
            {
                return wrong("number");
            }
            "properties" => {
                let Value::Object(properties) = value else { return wrong("table") };
                for (name, value) in properties {
                    sub(value, &format!("{here}.{name}"))?;
                }
            }
            "items" | "additionalProperties" | "not" => sub(value, &here)?,
            "anyOf" | "allOf" => {
                let Value::Array(list) = value else { return wrong("list") };
                list.iter().try_for_each(|value| sub(value, &here))?;
            }
            "pattern" => {
                let Value::String(pattern) = value else { return wrong("text") };
                compile(pattern).map_err(|error| format!("{here}: {error}"))?;
            }
            key if CHECKED.contains(&key) => {}
            _ => {
                return Err(format!(
                    "{here} is not understood; a schema may have: {}",
                    CHECKED.join(", ")
                ));
            }
        }
    }
    Ok(())
}

fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let compiled = RegexBuilder::new(pattern).size_limit(PATTERN).build();
    compiled.map_err(|error| error.to_string().replace('\n', " "))
}

/// Finds what does not fit; the first of it.
pub(crate) fn check(schema: &Map<String, Value>, config: &Value) -> Result<(), ConfigProblem> {
    fits(schema, config, &mut Vec::new(), 0)
}

fn fits(
    schema: &Map<String, Value>,
    value: &Value,
    path: &mut Vec<String>,
    depth: usize,
) -> Result<(), ConfigProblem> {
    let problem = |path: &[String], message: String, expected: String| {
        Err(ConfigProblem { path: path.to_vec(), message, expected })
    };
    if depth > DEPTH {
        return problem(path, format!("lies more than {DEPTH} deep"), String::new());
    }
    for (key, rule) in schema {
        let limit = rule.as_u64().and_then(|limit| usize::try_from(limit).ok());
        let bound = rule.as_f64();
        let list = rule.as_array().map_or(&[][..], Vec::as_slice);
        match (key.as_str(), value) {
            ("type", value) => {
                let one = std::slice::from_ref(rule);
                let names = if rule.is_array() { list } else { one };
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                if !names.iter().any(|name| is_a(value, name)) {
                    return problem(path, format!("this is {}", named(value)), names.join(" or "));
                }
            }
            ("enum", value) if !list.contains(value) => {
                let allowed: Vec<String> = list.iter().map(Value::to_string).collect();
                return problem(path, format!("{value} is not allowed"), allowed.join(", "));
            }
            ("const", value) if value != rule => {
                return problem(path, format!("{value} is not allowed"), rule.to_string());
            }
            ("required", Value::Object(table)) => {
                let missing =
                    list.iter().filter_map(Value::as_str).find(|name| !table.contains_key(*name));
                if let Some(name) = missing {
                    return problem(path, format!("the key `{name}` is missing"), String::new());
                }
            }
            ("properties", Value::Object(table)) => {
                for (name, rule) in rule.as_object().into_iter().flatten() {
                    if let Some(value) = table.get(name) {
                        path.push(name.clone());
                        fits_rule(rule, value, path, depth)?;
                        path.pop();
                    }
                }
            }
            ("additionalProperties", Value::Object(table)) => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in table {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    path.push(name.clone());
                    if *rule == Value::Bool(false) {
                        let names: Vec<&str> =
                            known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                        return problem(path, "unknown key".to_owned(), names.join(", "));
                    }
                    fits_rule(rule, value, path, depth)?;
                    path.pop();
                }
            }
            ("items", Value::Array(items)) => {
                for (at, value) in items.iter().enumerate() {
                    path.push((at + 1).to_string());
                    fits_rule(rule, value, path, depth)?;
                    path.pop();
                }
            }
            ("minItems", Value::Array(items)) if limit.is_some_and(|least| items.len() < least) => {
                return problem(
                    path,
                    format!("{} entries", items.len()),
                    format!("at least {rule}"),
                );
            }
            ("maxItems", Value::Array(items)) if limit.is_some_and(|most| items.len() > most) => {
                return problem(
                    path,
                    format!("{} entries", items.len()),
                    format!("at most {rule}"),
                );
            }
            ("minLength", Value::String(text))
                if limit.is_some_and(|least| text.chars().count() < least) =>
            {
                return problem(
                    path,
                    "too short".to_owned(),
                    format!("at least {rule} characters"),
                );
            }
            ("maxLength", Value::String(text))
                if limit.is_some_and(|most| text.chars().count() > most) =>
            {
                return problem(path, "too long".to_owned(), format!("at most {rule} characters"));
            }
            ("minimum", Value::Number(number)) if number.as_f64() < bound => {
                return problem(path, format!("{number} is too small"), format!("at least {rule}"));
            }
            ("maximum", Value::Number(number)) if number.as_f64() > bound => {
                return problem(path, format!("{number} is too large"), format!("at most {rule}"));
            }
            ("exclusiveMinimum", Value::Number(number)) if number.as_f64() <= bound => {
                return problem(
                    path,
                    format!("{number} is too small"),
                    format!("more than {rule}"),
                );
            }
            ("exclusiveMaximum", Value::Number(number)) if number.as_f64() >= bound => {
                return problem(
                    path,
                    format!("{number} is too large"),
                    format!("less than {rule}"),
                );
            }
            ("pattern", Value::String(text)) => {
                let pattern = rule.as_str().unwrap_or_default();
                let fits = compile(pattern).is_ok_and(|regex| regex.is_match(text));
                if !fits {
                    return problem(
                        path,
                        format!("`{text}` does not fit"),
                        format!("a text like {pattern}"),
                    );
                }
            }
            ("anyOf", value)
                if !list.iter().any(|rule| fits_rule(rule, value, path, depth).is_ok()) =>
            {
                let first =
                    list.first().map(|rule| fits_rule(rule, value, &mut path.clone(), depth));
                let expected = match first {
                    Some(Err(problem)) => problem.expected,
                    _ => String::new(),
                };
                return problem(path, format!("{value} fits none of what is allowed"), expected);
            }
            ("allOf", value) => {
                for rule in list {
                    fits_rule(rule, value, path, depth)?;
                }
            }
            ("not", value) if fits_rule(rule, value, &mut path.clone(), depth).is_ok() => {
                return problem(path, format!("{value} is not allowed"), String::new());
            }
            _ => {}
        }
    }
    Ok(())
}

fn fits_rule(
    rule: &Value,
    value: &Value,
    path: &mut Vec<String>,
    depth: usize,
) -> Result<(), ConfigProblem> {
    match rule {
        Value::Object(schema) => fits(schema, value, path, depth + 1),
        Value::Bool(false) => Err(ConfigProblem {
            path: path.clone(),
            message: "nothing is allowed here".to_owned(),
            expected: String::new(),
        }),
        _ => Ok(()),
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match (name, value) {
        ("integer", Value::Number(number)) => number.is_i64() || number.is_u64(),
        ("number", Value::Number(_))
        | ("object", Value::Object(_))
        | ("array", Value::Array(_))
        | ("string", Value::String(_))
        | ("boolean", Value::Bool(_))
        | ("null", Value::Null) => true,
        _ => false,
    }
}

fn named(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check, understood};

    fn object(value: Value) -> serde_json::Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn wrong(schema: &Value, config: Value) -> String {
        understood(&object(schema.clone())).unwrap();
        check(&object(schema.clone()), &config).unwrap_err().to_string()
    }

    #[test]
    fn each_keyword_is_checked_and_its_place_named() {
        let schema = json!({
            "type": "object",
            "description": "passed over",
            "required": ["url"],
            "additionalProperties": false,
            "properties": {
                "url": { "type": "string", "pattern": "^https?://", "maxLength": 12 },
                "words": { "type": "array", "items": { "type": "string", "minLength": 2 }, "maxItems": 2, "minItems": 1 },
                "ms": { "type": "integer", "minimum": 10, "exclusiveMaximum": 20 },
                "mode": { "enum": ["a", "b"] },
                "many": { "anyOf": [{ "type": "boolean" }, { "const": "some" }] },
                "deep": { "type": "object", "additionalProperties": { "type": ["null", "number"] } },
                "odd": { "allOf": [{ "type": "string" }, { "not": { "const": "x" } }] },
            },
        });
        let good = json!({
            "url": "https://a.b", "words": ["aa"], "ms": 10, "mode": "b", "many": "some",
            "deep": { "a": null, "b": 1.5 }, "odd": "y",
        });
        check(&object(schema.clone()), &good).unwrap();
        for (key, value, said) in [
            ("url", json!(5), "url: this is 5; expected: string"),
            (
                "url",
                json!("ftp://a"),
                "url: `ftp://a` does not fit; expected: a text like ^https?://",
            ),
            ("url", json!("https://a.b.c.d"), "url: too long; expected: at most 12 characters"),
            ("words", json!(["aa", 1]), "words.2: this is 1; expected: string"),
            ("words", json!(["a"]), "words.1: too short; expected: at least 2 characters"),
            ("words", json!([]), "words: 0 entries; expected: at least 1"),
            ("words", json!(["aa", "bb", "cc"]), "words: 3 entries; expected: at most 2"),
            ("ms", json!(9), "ms: 9 is too small; expected: at least 10"),
            ("ms", json!(20), "ms: 20 is too large; expected: less than 20"),
            ("ms", json!(10.5), "ms: this is 10.5; expected: integer"),
            ("mode", json!("c"), "mode: \"c\" is not allowed; expected: \"a\", \"b\""),
            (
                "many",
                json!("none"),
                "many: \"none\" fits none of what is allowed; expected: boolean",
            ),
            (
                "deep",
                json!({ "a": "b" }),
                "deep.a: this is the text \"b\"; expected: null or number",
            ),
            ("odd", json!("x"), "odd: \"x\" is not allowed"),
            (
                "more",
                json!(1),
                "more: unknown key; expected: deep, many, mode, ms, odd, url, words",
            ),
        ] {
            let mut config = good.clone();
            config[key] = value;
            assert_eq!(wrong(&schema, config), said);
        }
        assert_eq!(wrong(&schema, json!({})), "the key `url` is missing");
    }

    #[test]
    fn what_is_not_understood_is_refused_before_it_is_relied_on() {
        for (schema, said) in [
            (json!({ "patternProperties": {} }), "schema.patternProperties is not understood"),
            (json!({ "properties": { "a": { "$ref": "#" } } }), "schema.properties.a.$ref is not"),
            (json!({ "type": "text" }), "schema.type is none of object"),
            (json!({ "pattern": "(" }), "schema.pattern: regex"),
            (json!({ "pattern": "(a{1000}){1000}" }), "size limit"),
            (json!({ "items": [] }), "schema.items is no schema"),
            (json!({ "required": "a" }), "schema.required is no list"),
        ] {
            let error = understood(&object(schema)).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
