//! `tessera plugin swap`

use anyhow::{Result, bail};
use clap::Args;
use tessera_engine::Grants;
use tessera_manifest::{Descriptor, Percent, PluginName, TenantName};

use super::confirm;
use crate::{
    cli::Settings,
    manifests::Described,
    modules::{
        change::{Change, described},
        consent::{limits, routes},
        source::{self, Found},
        version::VersionChange,
    },
    plain::clean,
};

#[derive(Debug, Args)]
pub(crate) struct Swap {
    /// The plug-in.
    name: PluginName,
    /// The new version: a plug-in's file, a package, or oci://HOST/REPOSITORY:TAG.
    #[arg(required_unless_present = "finish")]
    file: Option<String>,
    /// The part of calls that it gets at first, such as 5%.
    #[arg(long, value_name = "PERCENT")]
    canary: Option<Percent>,
    /// Only this tenant gets it at first; may be repeated.
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<TenantName>,
    /// End a canary: all calls go to the new version.
    #[arg(long, conflicts_with_all = ["file", "canary", "tenants"])]
    finish: bool,
    /// Swap although migrations stop the old version from running.
    #[arg(long)]
    yes_stop: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Puts another version in the place of a plug-in, while it runs.
pub(crate) fn run(arguments: &Swap) -> Result<()> {
    let (name, settings) = (&arguments.name, &arguments.settings);
    let Some(file) = &arguments.file else {
        let change = Change::Version(VersionChange::Finish { name: name.clone() });
        let notes = change.carry_out(settings)?;
        println!("all calls of {name} go to the new version");
        notes.iter().for_each(|note| println!("note: {note}"));
        return Ok(());
    };
    let descriptor = settings.descriptor()?;
    let found = newer(name, file, &descriptor, arguments.yes)?;
    let version = &found.described.manifest.version;
    let staged = source::stage(&descriptor.server.data, &found)?;
    let (file, sha256, stop) = (staged.file, staged.sha256, arguments.yes_stop);
    let name = name.clone();
    let part = arguments.canary.is_some() || !arguments.tenants.is_empty();
    let change = if part {
        let share = arguments.canary.unwrap_or(Percent::WHOLE);
        let tenants = arguments.tenants.clone();
        VersionChange::Canary { name: name.clone(), file, sha256, share, tenants, stop }
    } else {
        VersionChange::Swap { name: name.clone(), file, sha256, stop }
    };
    let notes = Change::Version(change).carry_out(settings)?;
    if part {
        println!(
            "{name} {version} gets its part of the calls; `tessera plugin swap {name} --finish` gives it all, `tessera plugin rollback {name}` none"
        );
    } else {
        println!("swapped {name} to {version}; `tessera plugin rollback {name}` goes back");
    }
    notes.iter().for_each(|note| println!("note: {note}"));
    Ok(())
}

/// Another version of a plug-in that is there; what it asks for beyond the one that runs needs consent.
pub(super) fn newer(
    name: &PluginName,
    file: &str,
    descriptor: &Descriptor,
    yes: bool,
) -> Result<Found> {
    let found = source::find(file, descriptor, false)?;
    let own = &found.described.manifest.name;
    if own != name {
        bail!("{file} holds the plug-in `{own}`, not `{name}`");
    }
    let before = described(descriptor, name)?;
    let allowed = found.described.allowed(descriptor);
    println!("{name} {}  {}", found.described.manifest.version, found.trust);
    let news = news(&before, &found.described, &allowed, descriptor);
    if !news.is_empty() {
        news.iter().for_each(|line| println!("{line}"));
        if !yes {
            confirm("Take it, and allow this?")?;
        }
    }
    let missing = found.described.asked.without(&allowed);
    if !missing.is_nothing() {
        println!(
            "It asks for this, too, and is not allowed it (tessera plugin grant {name} {}):",
            missing.arguments().join(" ")
        );
        missing.words().iter().for_each(|words| println!("  {}", clean(words)));
    }
    Ok(found)
}

/// What somebody must consent to who consented to the version before, in lines.
fn news(
    before: &Described,
    now: &Described,
    allowed: &Grants,
    descriptor: &Descriptor,
) -> Vec<String> {
    let mut lines = Vec::new();
    // What is allowed already is no news, whichever version asks.
    let more = allowed.without(&before.asked);
    if !more.is_nothing() {
        lines.push(
            "It asks for more than the version that runs, and would be allowed it:".to_owned(),
        );
        lines.extend(more.words().iter().map(|words| format!("  {}", clean(words))));
        let added = now.manifest.http.routes.iter().filter(|route| more.serve.contains(&route.id));
        lines.extend(added.map(|route| format!("    {}", routes::words(route, descriptor))));
    }
    let moved: Vec<_> = routes::moved(&before.manifest, &now.manifest)
        .filter(|(_, now)| allowed.serve.contains(&now.id))
        .collect();
    if !moved.is_empty() {
        lines.push("Routes that it is allowed to serve are others than before:".to_owned());
    }
    for (was, is) in moved {
        lines.push(format!("  {}", routes::words(is, descriptor)));
        lines.push(format!("    before: {}", routes::words(was, descriptor)));
    }
    let of = |described: &Described| limits::of(&described.manifest, descriptor);
    let limits = limits::words(&of(now), &of(before));
    if !limits.is_empty() {
        lines.push(format!(
            "It sets other limits than the version before ([plugins.{}.limits] cuts them):",
            now.manifest.name
        ));
        lines.extend(limits.iter().map(|line| format!("  {line}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use tessera_engine::Grants;
    use tessera_manifest::{Descriptor, PluginManifest};

    use super::{Described, news};

    const BEFORE: &str = "name = 'a'\nversion = '1.0.0'\n\
        [limits]\nmemory = '32MiB'\n\
        [[http.routes]]\nid = 'one'\nmethods = ['GET']\npaths = ['/a/one']\nauth = 'token'\n\
        [[http.routes]]\nid = 'two'\nmethods = ['GET']\npaths = ['/a/two']\nauth = 'token'\n";

    fn described(text: &str) -> Described {
        let manifest = PluginManifest::parse("plugin.toml", text).unwrap();
        let asked = Grants::asked(&manifest, []);
        Described { manifest, asked }
    }

    fn told(descriptor: &str, now: &str) -> Vec<String> {
        let descriptor = Descriptor::parse("t", descriptor).unwrap();
        let now = described(now);
        let allowed = now.allowed(&descriptor);
        news(&described(BEFORE), &now, &allowed, &descriptor)
    }

    #[test]
    fn a_version_that_wants_the_same_is_no_news() {
        let later = BEFORE.replace("1.0.0", "1.0.1");
        assert_eq!(told("[plugins.a]\ngrants = 'asked'", &later), Vec::<String>::new());
    }

    #[test]
    fn granted_routes_that_move_are_news() {
        let moved = BEFORE
            .replace("['/a/one']\nauth = 'token'", "['/login']\nauth = 'none'")
            .replace("['GET']\npaths = ['/a/two']", "['GET', 'PUT']\npaths = ['/a/two']");
        let said = [
            "Routes that it is allowed to serve are others than before:",
            "  one: GET /login WITHOUT authentication (it sees credentials)",
            "    before: one: GET /a/one, authenticated by token",
            "  two: GET, PUT /a/two, authenticated by token",
            "    before: two: GET /a/two, authenticated by token",
        ];
        assert_eq!(told("[plugins.a]\ngrants = 'asked'", &moved), said);
        let two = told("[plugins.a]\ngrants.serve = ['two']", &moved);
        assert_eq!(two, [said[0], said[3], said[4]]);
        assert_eq!(told("[plugins.a]", &moved), Vec::<String>::new(), "it may serve none");
    }

    #[test]
    fn routes_that_are_added_are_told_with_their_paths() {
        let more = format!(
            "{BEFORE}[[http.routes]]\nid = 'three'\nmethods = ['POST']\npaths = ['/a/\u{202e}']"
        );
        let said = told("[plugins.a]\ngrants = 'asked'", &more);
        assert_eq!(
            said,
            [
                "It asks for more than the version that runs, and would be allowed it:",
                "  may serve the routes: three",
                "    three: POST /a/\u{fffd} WITHOUT authentication (it sees credentials)"
            ]
        );
    }

    #[test]
    fn other_limits_are_news_unless_the_operator_has_set_them() {
        let wide = BEFORE.replace("32MiB", "1GiB");
        let said = [
            "It sets other limits than the version before ([plugins.a.limits] cuts them):",
            "  memory: 1GiB instead of 32MiB",
        ];
        assert_eq!(told("[plugins.a]", &wide), said);
        assert_eq!(told("[plugins.a.limits]\nmemory = '16MiB'", &wide), Vec::<String>::new());
    }
}
