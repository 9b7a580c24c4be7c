//! The contract as a reference: what the WIT files say, an interface at a time.

use std::fmt::Write as _;

use super::files;

/// One interface of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `tessera:hooks/event-policy`.
    pub name: String,
    /// `0.1.0`.
    pub version: String,
    /// Its documentation.
    pub docs: String,
    /// The text between its braces, with the comments.
    pub body: String,
}

impl Page {
    /// Its first sentence.
    #[must_use]
    pub fn summary(&self) -> &str {
        self.docs.lines().next().unwrap_or_default()
    }

    /// The name of its file: `hooks-event-policy.md`.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.md", self.name.trim_start_matches("tessera:").replace('/', "-"))
    }

    /// Names of its functions.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let functions = items(&self.body).into_iter().filter(|item| item.code.contains(": func("));
        functions.map(|item| item.title).collect()
    }

    /// The page in Markdown: a heading for each function and type.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}@{}\n\n{}\n", self.name, self.version, self.docs);
        for item in items(&self.body) {
            let _ = write!(text, "\n## {}\n\n", item.title);
            if !item.docs.is_empty() {
                let _ = writeln!(text, "{}\n", item.docs);
            }
            let _ = writeln!(text, "```wit\n{}\n```", item.code);
        }
        text
    }
}

/// Every interface, ordered by name.
#[must_use]
pub fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    for (path, text) in files() {
        let folder = path.split('/').next().unwrap_or_default();
        found.extend(interfaces(text).map(|(name, docs, body)| Page {
            name: format!("tessera:{folder}/{name}"),
            version: version(folder).unwrap_or_default(),
            docs,
            body,
        }));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The interface of this name: `tessera:hooks/event-policy`, `hooks/event-policy` or `event-policy`, with its version
/// or without.
#[must_use]
pub fn page(name: &str) -> Option<Page> {
    let wanted = name.split('@').next().unwrap_or_default();
    pages().into_iter().find(|page| {
        page.name == wanted
            || page.name.strip_suffix(wanted).is_some_and(|rest| rest.ends_with([':', '/']))
    })
}

/// The version that one of the package's files tells.
pub(crate) fn version(package: &str) -> Option<String> {
    let line = format!("package tessera:{package}@");
    files()
        .filter(|(path, _)| path.split('/').next() == Some(package))
        .flat_map(|(_, text)| text.lines())
        .find_map(|text| Some(text.strip_prefix(&line)?.trim_end_matches(';').to_owned()))
}

/// Name, documentation and body of each interface in a file. Interfaces begin and end at the margin.
fn interfaces(text: &str) -> impl Iterator<Item = (String, String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let begins: Vec<(usize, String)> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| {
            let name = line.strip_prefix("interface ")?.strip_suffix('{')?;
            Some((at, name.trim().to_owned()))
        })
        .collect();
    begins.into_iter().map(move |(at, name)| {
        let (before, after) = lines.split_at(at);
        let body: Vec<&str> =
            after.iter().skip(1).take_while(|line| !line.starts_with('}')).copied().collect();
        (name, docs_before(before), body.join("\n"))
    })
}

/// The comment that ends the lines; attributes may stand between.
fn docs_before(lines: &[&str]) -> String {
    let mut docs: Vec<&str> = lines
        .iter()
        .rev()
        .take_while(|line| line.starts_with("///") || line.starts_with('@'))
        .filter_map(|line| line.strip_prefix("///"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    docs.reverse();
    docs.join("\n")
}

struct Item {
    title: String,
    docs: String,
    code: String,
}

/// The functions and types of a body, each with its comment.
fn items(body: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut docs, mut code) = (Vec::new(), Vec::new());
    for line in body.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)) {
        if code.is_empty() {
            if let Some(text) = line.strip_prefix("///") {
                docs.push(text.strip_prefix(' ').unwrap_or(text));
                continue;
            }
            if line.trim().is_empty() || line.starts_with('@') || line.starts_with("//") {
                continue;
            }
        }
        code.push(line);
        let count =
            |brace: char| code.iter().flat_map(|line| line.chars()).filter(|c| *c == brace).count();
        let ends = count('{') == count('}') && line.ends_with([';', '}']);
        if ends {
            let first = code.first().copied().unwrap_or_default();
            items.push(Item { title: title(first), docs: docs.join("\n"), code: code.join("\n") });
            docs.clear();
            code.clear();
        }
    }
    items
}

/// `check-event` of a function, `record origin` of a type, `use types`.
fn title(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, _)) if !name.contains(' ') => name.to_owned(),
        _ => line
            .split(['{', '=', ';'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('.')
            .trim()
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_has_a_page_with_words() {
        let pages = pages();
        assert!(pages.len() > 20, "{}", pages.len());
        for page in &pages {
            assert!(!page.summary().is_empty(), "{}", page.name);
            assert!(!page.version.is_empty(), "{}", page.name);
            assert!(!items(&page.body).is_empty(), "{}", page.name);
        }
    }

    #[test]
    fn page_is_found_by_short_and_long_names() {
        let whole = page("tessera:hooks/event-policy@0.1.0").unwrap();
        assert_eq!(page("event-policy"), Some(whole.clone()));
        assert_eq!(page("hooks/event-policy"), Some(whole));
        assert_eq!(page("policy"), None);
        assert_eq!(page("event-policy").unwrap().functions(), ["check-event"]);
    }

    #[test]
    fn functions_and_types_have_headings_and_comments() {
        let body = "    /// What.\n    record a {\n        /// Inner.\n        b: string,\n    }\n\n    enum c { d, e }\n    /// Does.\n    f: func(a: a)\n        -> bool;\n    g: func();";
        let items = items(body);
        let titles: Vec<&str> = items.iter().map(|item| item.title.as_str()).collect();
        assert_eq!(titles[..2], ["record a", "enum c"]);
        assert_eq!(items[0].docs, "What.");
        assert!(items[0].code.contains("/// Inner."));
        assert_eq!(items.last().unwrap().title, "g");
    }
}
