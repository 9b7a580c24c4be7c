//! The folder of a new module: sources that build and do something, a test, the contract beside them.

mod javascript;
mod python;
mod rust;

use std::path::{Path, PathBuf};

use crate::{
    PackageError,
    contract::{self, hooks::Hook},
    embedded::TEMPLATES,
};

/// What a new module is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateLanguage {
    /// A cargo package.
    Rust,
    /// An npm package without dependencies.
    JavaScript,
    /// Plain Python.
    Python,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// The language.
    pub language: TemplateLanguage,
    /// The module's name, valid as a plug-in's.
    pub name: &'a str,
    /// Hooks that it answers, such as `event-policy`. None: that one, with an example that does something.
    pub hooks: &'a [String],
    /// The folder of the Rust SDK, to build on it in place of the bare contract.
    pub sdk: Option<&'a Path>,
}

/// The hook of the example.
const EXAMPLE: &str = "event-policy";

impl Template<'_> {
    /// Paths below the folder, and their texts.
    ///
    /// # Errors
    /// There is no such hook, or the SDK is of another language.
    pub fn files(&self) -> Result<Vec<(PathBuf, String)>, PackageError> {
        if self.sdk.is_some() && self.language != TemplateLanguage::Rust {
            return Err(PackageError::Malformed("the SDK is for Rust".to_owned()));
        }
        let hooks = self.hooks()?;
        let example = self.hooks.is_empty();
        let words = self.words(&hooks, example);
        let folder = match self.language {
            TemplateLanguage::Rust => "rust/",
            TemplateLanguage::JavaScript => "javascript/",
            TemplateLanguage::Python => "python/",
        };
        let mut made = Vec::new();
        for (path, text) in TEMPLATES {
            let inside = path.strip_prefix(folder).or_else(|| path.strip_prefix("common/"));
            let Some(target) = inside.and_then(|inside| target(inside, example)) else { continue };
            made.push((PathBuf::from(target), fill(text, &words)));
        }
        if self.sdk.is_none() {
            made.push(("wit/world.wit".into(), world(&hooks, example)));
            let deps = |path: &str| Path::new("wit/deps").join(format!("tessera-{path}"));
            made.extend(contract::files().map(|(path, text)| (deps(path), text.to_owned())));
        }
        made.sort();
        Ok(made)
    }

    fn hooks(&self) -> Result<Vec<Hook>, PackageError> {
        let mut known = contract::hooks::hooks()?;
        let short = |name: &str| {
            let name = name.split('@').next().unwrap_or_default();
            name.strip_prefix("tessera:hooks/").unwrap_or(name).to_owned()
        };
        let mut wanted: Vec<String> = self.hooks.iter().map(|name| short(name)).collect();
        if wanted.is_empty() {
            wanted.push(EXAMPLE.to_owned());
        }
        if let Some(unknown) = wanted.iter().find(|name| !known.iter().any(|h| h.name == **name)) {
            let names: Vec<&str> = known.iter().map(|hook| hook.name.as_str()).collect();
            return Err(PackageError::Malformed(format!(
                "there is no hook `{unknown}`; there are {}",
                names.join(", ")
            )));
        }
        known.retain(|hook| wanted.contains(&hook.name));
        Ok(known)
    }

    fn words(&self, hooks: &[Hook], example: bool) -> Vec<(&'static str, String)> {
        let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
        let description = if example {
            "Refuses messages that hold a word of a list".to_owned()
        } else {
            format!("Answers {}", names.join(", "))
        };
        let provides: Vec<String> =
            names.iter().map(|name| format!("\"tessera:hooks/{name}\"")).collect();
        let mut words = vec![
            ("name", self.name.to_owned()),
            ("description", description),
            ("provides", provides.join(", ")),
            ("host-version", contract::version("host").unwrap_or_default()),
        ];
        words.extend(match self.language {
            TemplateLanguage::Rust => rust::words(hooks, example, self.sdk),
            TemplateLanguage::JavaScript => javascript::words(hooks),
            TemplateLanguage::Python => python::words(hooks),
        });
        words
    }
}

/// Where a template goes, if it is used: `x.event-policy.y.in` are of the example, and stand for `x.y.in`.
fn target(path: &str, example: bool) -> Option<String> {
    let marker = format!(".{EXAMPLE}.");
    let plain = path.strip_suffix(".in")?;
    let target = match (plain.contains(&marker), example) {
        (true, true) => plain.replace(&marker, "."),
        (true, false) => return None,
        (false, true) if has_example(path, &marker) => return None,
        (false, _) => plain.to_owned(),
    };
    Some(match target.as_str() {
        "gitignore" => ".gitignore".to_owned(),
        "tests/module.test.js" | "tests/test_module.py" if example => return None,
        _ => target,
    })
}

/// Whether the example has a file of its own in place of `path`.
fn has_example(path: &str, marker: &str) -> bool {
    TEMPLATES
        .iter()
        .filter_map(|(other, _)| other.split_once('/'))
        .any(|(_, other)| other.contains(marker) && other.replace(marker, ".") == path)
}

fn fill(text: &str, words: &[(&'static str, String)]) -> String {
    words
        .iter()
        .fold(text.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
}

fn world(hooks: &[Hook], example: bool) -> String {
    let host = contract::version("host").unwrap_or_default();
    let mut text = "package local:module;\n\n/// What the module asks of the server, and what it answers.\nworld module {\n".to_owned();
    if example {
        text += &format!("    import tessera:host/config@{host};\n");
    }
    for hook in hooks {
        text += &format!("    export tessera:hooks/{}@{};\n", hook.name, hook.version);
    }
    text + "}\n"
}

/// `eventPolicy` of `event-policy`, or `EventPolicy`.
fn camel(name: &str, upper: bool) -> String {
    let mut text = String::new();
    for (number, part) in name.split('-').enumerate() {
        let mut letters = part.chars();
        match letters.next() {
            Some(first) if number > 0 || upper => text.push(first.to_ascii_uppercase()),
            Some(first) => text.push(first),
            None => {}
        }
        text.push_str(letters.as_str());
    }
    text
}

/// `event_policy` of `event-policy`.
fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// The lines of a comment, each with `before` in front.
fn comment(docs: &str, before: &str) -> String {
    docs.lines().map(|line| format!("{before} {line}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: [TemplateLanguage; 3] =
        [TemplateLanguage::Rust, TemplateLanguage::JavaScript, TemplateLanguage::Python];

    fn made(language: TemplateLanguage, hooks: &[&str]) -> Vec<(PathBuf, String)> {
        let hooks: Vec<String> = hooks.iter().map(|name| (*name).to_owned()).collect();
        Template { language, name: "tried", hooks: &hooks, sdk: None }.files().unwrap()
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let all: Vec<String> =
            contract::hooks::hooks().unwrap().into_iter().map(|hook| hook.name).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for language in LANGUAGES {
            for hooks in [&[][..], &["login"], &all] {
                for (path, text) in made(language, hooks) {
                    assert!(!text.contains("{{"), "{}: {text}", path.display());
                    assert!(!path.to_string_lossy().contains(EXAMPLE), "{}", path.display());
                }
            }
        }
    }

    #[test]
    fn folder_is_a_module_of_its_language() {
        for language in LANGUAGES {
            let folder = tempfile::tempdir().unwrap();
            for (path, text) in made(language, &[]) {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            let module = crate::build::Module::open(folder.path()).unwrap();
            assert_eq!(module.language.to_string(), format!("{language:?}"));
            assert!(folder.path().join("wit/world.wit").is_file());
            let text = std::fs::read_to_string(folder.path().join("plugin.toml")).unwrap();
            let manifest = tessera_manifest::PluginManifest::parse("plugin.toml", &text).unwrap();
            assert_eq!(manifest.name.as_str(), "tried");
        }
    }

    #[test]
    fn unknown_hook_is_told_what_there_is() {
        let hooks = ["even-policy".to_owned()];
        let template =
            Template { language: TemplateLanguage::Rust, name: "x", hooks: &hooks, sdk: None };
        let error = template.files().unwrap_err().to_string();
        assert!(error.contains("event-policy"), "{error}");
    }

    #[test]
    fn names_follow_each_language() {
        assert_eq!(camel("event-policy", false), "eventPolicy");
        assert_eq!(camel("event-policy", true), "EventPolicy");
        assert_eq!(snake("event-policy"), "event_policy");
    }
}
