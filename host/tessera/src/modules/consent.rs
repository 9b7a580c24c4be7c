//! Shows what a module asks for, in words, and asks whether it may have it.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use anyhow::{Result, bail};
use tessera_engine::{Grants, PluginLimits};
use tessera_manifest::{Descriptor, Grants as Granted, PluginName};

use super::{change::granted, source::Found};
use crate::commands::plugin::size;

/// What is shown before a module is taken in: who it is, who stands for it, what it asks for.
pub(crate) fn show(found: &Found, descriptor: &Descriptor) -> String {
    let manifest = &found.described.manifest;
    let mut text = format!(
        "{} {}  {}  {}\n",
        manifest.name,
        manifest.version,
        size(found.package.component().len()),
        found.source
    );
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<11} {value}");
        }
    };
    let said = |value: &Option<String>| value.clone().unwrap_or_default();
    let provenance = &found.package.provenance;
    line("about", &manifest.description);
    line("signature", &found.trust.to_string());
    line("sha256", found.sha256.as_str());
    line("source", &said(&provenance.source));
    line("revision", &said(&provenance.revision));
    line("built by", &said(&provenance.built_by));
    line("created", &said(&provenance.created));
    let words = found.described.asked.words();
    if words.is_empty() {
        let _ = writeln!(text, "It asks for nothing.");
        return text;
    }
    let _ = writeln!(text, "It asks for this, and gets nothing that you do not allow:");
    for word in words {
        let _ = writeln!(text, "  {word}");
    }
    if !found.described.asked.answer.is_empty() {
        let entry = descriptor.plugins.get(&manifest.name).cloned().unwrap_or_default();
        let limits = PluginLimits::default()
            .with(&descriptor.engine.limits)
            .with(&manifest.limits)
            .with(&entry.limits);
        let on_error = match entry.on_error {
            tessera_manifest::OnError::Allow => "as if it had no objection",
            tessera_manifest::OnError::Deny => "as a refusal",
        };
        let _ = writeln!(
            text,
            "  A hook waits for its answer up to {:?}; none in that time, or a fault, counts {on_error}.",
            limits.hook
        );
    }
    text
}

/// What is allowed: by what was said on the command line, else by whoever sits at the terminal.
pub(crate) fn ask(
    name: &PluginName,
    asked: &Grants,
    words: &[String],
    yes: bool,
) -> Result<Granted> {
    if words.iter().any(|word| word == "nothing") && words.len() == 1 {
        return Ok(Granted::default());
    }
    // Exactly what was shown; what a later version asks for beyond that needs consent of its own.
    let shown = || Granted::Only(Box::new(asked.table()));
    if words.iter().any(|word| word == "asked") && words.len() == 1 {
        return Ok(shown());
    }
    if !words.is_empty() {
        return granted(name, asked, &Granted::default(), words);
    }
    if yes {
        return Ok(shown());
    }
    if !io::stdin().is_terminal() {
        bail!(
            "nobody can be asked; say --yes to allow all of this, or --grant for each thing (--grant nothing for none)"
        );
    }
    loop {
        eprint!("Install it, and allow all of this? [y]es, with [n]othing of it, [q]uit: ");
        io::stderr().flush()?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            bail!("not installed");
        }
        match answer.trim() {
            "y" | "yes" => return Ok(shown()),
            "n" | "nothing" => return Ok(Granted::default()),
            "q" | "quit" => bail!("not installed"),
            _ => {}
        }
    }
}
