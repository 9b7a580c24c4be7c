//! Shows what a module asks for, in words, and asks whether it may have it.

pub(crate) mod limits;
pub(crate) mod routes;

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use anyhow::{Result, bail};
use tessera_engine::Grants;
use tessera_manifest::{Descriptor, Grants as Granted, PluginName, Route};

use super::{change::granted, source::Found};
use crate::{
    commands::plugin::size,
    manifests::Described,
    plain::{clean, plain},
};

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
            let _ = writeln!(text, "  {name:<11} {}", plain(value));
        }
    };
    let provenance = &found.package.provenance;
    line("about", &manifest.description);
    line("signature", &found.trust.to_string());
    line("sha256", found.sha256.as_str());
    let said = [
        ("source", &provenance.source),
        ("revision", &provenance.revision),
        ("built by", &provenance.built_by),
        ("created", &provenance.created),
    ];
    if said.iter().any(|(_, value)| value.is_some()) {
        text.push_str("Its package says (not signed):\n");
    }
    for (name, value) in said {
        let Some(value) = value else { continue };
        let _ = writeln!(text, "  {name:<11} {}", plain(value));
    }
    text.push_str(&asks(&found.described, descriptor));
    text
}

/// What a module asks for, and the limits that it sets for itself.
fn asks(described: &Described, descriptor: &Descriptor) -> String {
    let mut text = String::new();
    let manifest = &described.manifest;
    let limits = limits::of(manifest, descriptor);
    let own = limits::words(&limits, &limits::without(manifest, descriptor));
    if !own.is_empty() {
        let _ = writeln!(
            text,
            "It sets limits of its own ([plugins.{}.limits] cuts them):",
            manifest.name
        );
        own.iter().for_each(|line| _ = writeln!(text, "  {line}"));
    }
    let words = described.asked.words();
    if words.is_empty() {
        let _ = writeln!(text, "It asks for nothing.");
        return text;
    }
    let _ = writeln!(text, "It asks for this, and gets nothing that you do not allow:");
    for word in words {
        let _ = writeln!(text, "  {}", clean(&word));
    }
    let asked = |route: &&Route| described.asked.serve.contains(&route.id);
    for route in manifest.http.routes.iter().filter(asked) {
        let _ = writeln!(text, "    {}", routes::words(route, descriptor));
    }
    if !described.asked.answer.is_empty() {
        let entry = descriptor.plugins.get(&manifest.name).cloned().unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use tessera_engine::Grants;
    use tessera_manifest::{Descriptor, PluginManifest};

    use super::{Described, asks};

    fn told(descriptor: &str, manifest: &str) -> String {
        let manifest = format!("name = 'a'\nversion = '1.0.0'\n{manifest}");
        let manifest = PluginManifest::parse("plugin.toml", &manifest).unwrap();
        let asked = Grants::asked(&manifest, []);
        asks(&Described { manifest, asked }, &Descriptor::parse("t", descriptor).unwrap())
    }

    #[test]
    fn routes_are_told_with_methods_paths_and_who_stands_before_them() {
        let routes = "[[http.routes]]\nid = 'one'\nmethods = ['POST', 'PUT']\n\
            paths = ['/login', '/v1/login']\nauth = 'none'\n\
            [[http.routes]]\nid = 'two'\nmethods = ['GET']\npaths = ['/two']\n\
            auth = 'token'\nauth-optional = true\n\
            [[http.routes]]\nid = 'three'\nmethods = ['GET']\npaths = ['/three']\n";
        let said = told("[http]\ndefault-authenticator = 'door'", routes);
        assert_eq!(
            said,
            "It asks for this, and gets nothing that you do not allow:\n  \
             may serve the routes: one, two, three\n    \
             one: POST, PUT /login, /v1/login WITHOUT authentication (it sees credentials)\n    \
             two: GET /two, authenticated by token, or nobody\n    \
             three: GET /three, authenticated by door\n"
        );
        let open = told("", routes);
        assert!(open.contains("three: GET /three WITHOUT authentication"), "{open}");
    }

    #[test]
    fn limits_of_its_own_are_told_where_they_differ_from_the_operators() {
        let limits = "[limits]\nmemory = '1GiB'\nhook = '1s'";
        let said = "It sets limits of its own ([plugins.a.limits] cuts them):\n  \
                    memory: 1GiB instead of 128MiB\nIt asks for nothing.\n";
        assert_eq!(told("[engine.limits]\nmemory = '128MiB'\nhook = '1s'", limits), said);
        assert_eq!(told("", ""), "It asks for nothing.\n");
    }
}
