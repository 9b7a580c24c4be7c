//! What types alone cannot say: names that must be there, and must not be there twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Auth, BlobsStore, BusEngine, Descriptor, MailSecurity, PluginManifest, PluginName, Problem,
    Quotas, StorageEngine, TenantName,
    descriptor::Answer,
    locate::{Step, problem_at},
};

type Found = Result<(), Problem>;

/// Checks a manifest in itself.
pub(crate) fn manifest(file: &str, text: &str, manifest: &PluginManifest) -> Found {
    let problem =
        |path: &[Step<'_>], message: String| Err(problem_at(file, text, path, message, Vec::new()));
    let mut ids = BTreeSet::new();
    for (at, route) in manifest.http.routes.iter().enumerate() {
        let path =
            |key| [Step::from("http"), Step::from("routes"), Step::from(at), Step::from(key)];
        if !ids.insert(&route.id) {
            return problem(&path("id"), format!("the route `{}` is there twice", route.id));
        }
        if route.methods.is_empty() {
            return problem(&path("methods"), format!("the route `{}` has no method", route.id));
        }
        if route.paths.is_empty() {
            return problem(&path("paths"), format!("the route `{}` has no path", route.id));
        }
        if route.auth_optional && route.auth == Some(Auth::None) {
            let message = "`auth-optional` says nothing where `auth` is \"none\"".to_owned();
            return problem(&path("auth-optional"), message);
        }
    }
    for (at, view) in manifest.storage.exposes.iter().enumerate() {
        if !view.is_of(&manifest.name) {
            let message = format!(
                "`{view}` is not a view of its own; those begin with `{}_v`",
                manifest.name.table_prefix()
            );
            return problem(&["storage".into(), "exposes".into(), at.into()], message);
        }
    }
    for (at, topic) in manifest.topics.emits.iter().enumerate() {
        if topic.plugin() != manifest.name.as_str() {
            let message = format!(
                "`{topic}` is not a topic of its own; those begin with `{}.`",
                manifest.name
            );
            return problem(&["topics".into(), "emits".into(), at.into()], message);
        }
    }
    let mut topics = BTreeSet::new();
    for (at, consume) in manifest.topics.consumes.iter().enumerate() {
        let path =
            |key| [Step::from("topics"), Step::from("consumes"), Step::from(at), Step::from(key)];
        if !topics.insert(&consume.topic) {
            return problem(&path("topic"), format!("`{}` is consumed twice", consume.topic));
        }
        for (key, number) in [("batch", consume.batch), ("max-attempts", consume.max_attempts)] {
            if number == 0 {
                return problem(&path(key), format!("`{key}` is at least 1"));
            }
        }
    }
    if let Err(message) = crate::config_schema::understood(&manifest.config.schema) {
        return problem(&["config".into(), "schema".into()], message);
    }
    for interface in manifest.requires.keys() {
        if !manifest.grants.call.iter().any(|call| call.interface() == interface) {
            let message = format!("`{interface}` is not among the calls of `[grants] call`");
            return problem(&["requires".into(), interface.as_str().into()], message);
        }
    }
    Ok(())
}

/// Checks a descriptor in itself.
pub(crate) fn descriptor(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    answers(file, text, descriptor)?;
    classes(file, text, descriptor)?;
    prefixes(file, text, descriptor)?;
    let known: Vec<&str> = descriptor.plugins.keys().map(PluginName::as_str).collect();
    let check = |path: &[Step<'_>], plugin: &PluginName, seen: &mut BTreeSet<PluginName>| {
        if !descriptor.plugins.contains_key(plugin) {
            let help = Problem::allowed(plugin.as_str(), &known);
            return Err(problem_at(file, text, path, format!("no plug-in `{plugin}`"), help));
        }
        if !seen.insert(plugin.clone()) {
            let message = format!("`{plugin}` is named twice");
            return Err(problem_at(file, text, path, message, Vec::new()));
        }
        Ok(())
    };
    for (hook, order) in &descriptor.hooks.order {
        let mut seen = BTreeSet::new();
        for (at, plugin) in order.iter().enumerate() {
            check(
                &["hooks".into(), "order".into(), hook.as_str().into(), at.into()],
                plugin,
                &mut seen,
            )?;
        }
    }
    cluster(file, text, descriptor)?;
    services(file, text, descriptor)?;
    tenants(file, text, descriptor)?;
    for (node, what) in &descriptor.nodes {
        let mut seen = BTreeSet::new();
        for (at, plugin) in what.run.iter().enumerate() {
            check(
                &["nodes".into(), node.as_str().into(), "run".into(), at.into()],
                plugin,
                &mut seen,
            )?;
        }
    }
    if descriptor.listeners.is_empty() {
        let message = "without a listener nobody can reach the server".to_owned();
        return Err(problem_at(file, text, &["listeners".into()], message, Vec::new()));
    }
    Ok(())
}

/// Nodes, and what they need: one database and one bus for all.
fn cluster(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    let problem = |path: &[Step<'_>], message: String, help: Vec<String>| {
        Err(problem_at(file, text, path, message, help))
    };
    let bus = &descriptor.bus;
    if bus.engine == BusEngine::Nats && bus.tls.certificate.is_some() != bus.tls.key.is_some() {
        let message = "`certificate` and `key` belong together".to_owned();
        return problem(&["bus".into(), "tls".into()], message, Vec::new());
    }
    let tracing = &descriptor.tracing;
    if !(0.0..=1.0).contains(&tracing.sample) {
        let message = format!("{} is no part of a whole; expected 0 to 1", tracing.sample);
        return problem(&["tracing".into(), "sample".into()], message, Vec::new());
    }
    if descriptor.nodes.is_empty() {
        return Ok(());
    }
    if bus.engine != BusEngine::Nats {
        let help = vec!["set `[bus] engine = \"nats\"` and its `servers`".to_owned()];
        return problem(&["nodes".into()], "nodes need a bus between them".to_owned(), help);
    }
    if descriptor.storage.engine != StorageEngine::Postgres {
        let help = vec!["set `[storage] engine = \"postgres\"` and its `url`".to_owned()];
        return problem(
            &["nodes".into()],
            "nodes need a database that they share".to_owned(),
            help,
        );
    }
    for (name, _) in descriptor.enabled_plugins() {
        if !descriptor.nodes.values().any(|node| node.run.contains(name)) {
            let help = vec![format!("add `{name}` to a node's `run`, or switch it off")];
            return problem(&["nodes".into()], format!("no node runs `{name}`"), help);
        }
    }
    if descriptor.nodes.values().all(|node| node.listeners.as_ref().is_some_and(Vec::is_empty)) {
        let message = "without a listener nobody can reach the server".to_owned();
        return problem(&["nodes".into()], message, Vec::new());
    }
    Ok(())
}

/// Tenants: hosts that are theirs alone, plug-ins that are there, quotas that are numbers.
fn tenants(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    quotas(file, text, &["quotas".into()], &descriptor.quotas)?;
    let known: Vec<&str> = descriptor.plugins.keys().map(PluginName::as_str).collect();
    let mut hosts: BTreeMap<String, &TenantName> = BTreeMap::new();
    for (name, tenant) in &descriptor.tenants {
        let path = |key: &'static str| [Step::from("tenants"), name.as_str().into(), key.into()];
        for host in &tenant.hosts {
            if let Some(other) = hosts.insert(host.to_string(), name) {
                let message = format!("`{host}` is a host of `{other}` as well");
                return Err(problem_at(file, text, &path("hosts"), message, Vec::new()));
            }
        }
        let listed = tenant.plugins.iter().flatten().map(|plugin| ("plugins", plugin));
        let ordered = tenant.hooks.values().flatten().map(|plugin| ("hooks", plugin));
        let configured = tenant.config.keys().map(|plugin| ("config", plugin));
        for (key, plugin) in listed.chain(ordered).chain(configured) {
            if !descriptor.plugins.contains_key(plugin) {
                let help = Problem::allowed(plugin.as_str(), &known);
                let message = format!("no plug-in `{plugin}`");
                return Err(problem_at(file, text, &path(key), message, help));
            }
        }
        quotas(file, text, &path("quotas"), &tenant.quotas)?;
    }
    Ok(())
}

/// Services of others: a relay for mail, a bucket for blobs.
fn services(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    let problem = |path: [Step<'_>; 2], message: &str| {
        Err(problem_at(file, text, &path, message.to_owned(), Vec::new()))
    };
    let mail = &descriptor.mail;
    if let Some(relay) = &mail.relay {
        if mail.from.is_none() {
            return problem(["mail".into(), "relay".into()], "a relay needs the sender: `from`");
        }
        if mail.user.is_some() && relay.security == MailSecurity::None && !mail.insecure {
            let message = "the password would travel in the clear; use `smtps://` or `starttls://`";
            return problem(["mail".into(), "relay".into()], message);
        }
    }
    let blobs = &descriptor.blobs;
    if blobs.store == BlobsStore::S3 {
        if blobs.bucket.as_deref().is_none_or(str::is_empty) {
            return problem(["blobs".into(), "store".into()], "S3 needs a `bucket`");
        }
        let known = ["http://", "https://"];
        let endpoint = blobs.endpoint.as_deref();
        if endpoint.is_some_and(|url| !known.iter().any(|scheme| url.starts_with(scheme))) {
            let message = "is no URL; expected one such as \"https://s3.example.org\"";
            return problem(["blobs".into(), "endpoint".into()], message);
        }
    }
    Ok(())
}

fn quotas(file: &str, text: &str, path: &[Step<'_>], quotas: &Quotas) -> Found {
    let rates = [
        ("requests-per-second", quotas.requests_per_second),
        ("cpu", quotas.cpu),
        ("fetches-per-minute", quotas.fetches_per_minute),
        ("mails-per-minute", quotas.mails_per_minute),
    ];
    for (key, rate) in rates {
        if let Some(rate) = rate.filter(|rate| !rate.is_finite() || *rate <= 0.0) {
            let mut path = path.to_vec();
            path.push(key.into());
            let message = format!("{rate} is no quota; expected more than 0");
            return Err(problem_at(file, text, &path, message, Vec::new()));
        }
    }
    Ok(())
}

fn answers(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    let table = &descriptor.http.answers;
    let named: [(&str, &Answer); 13] = [
        ("not-found", &table.not_found),
        ("unknown-host", &table.unknown_host),
        ("misdirected", &table.misdirected),
        ("suspended", &table.suspended),
        ("method-not-allowed", &table.method_not_allowed),
        ("bad-request", &table.bad_request),
        ("not-utf8", &table.not_utf8),
        ("too-large", &table.too_large),
        ("too-many", &table.too_many),
        ("slow-body", &table.slow_body),
        ("internal", &table.internal),
        ("unavailable", &table.unavailable),
        ("timeout", &table.timeout),
    ];
    for (name, answer) in named {
        if !(200..=599).contains(&answer.status) {
            let path = ["http".into(), "answers".into(), name.into(), "status".into()];
            let message = format!("{} is no status; expected 200 to 599", answer.status);
            return Err(problem_at(file, text, &path, message, Vec::new()));
        }
    }
    Ok(())
}

/// Rates and limits that are numbers.
fn classes(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    let rates = descriptor.rates.iter().map(|(name, rate)| ("rates", name, rate.per_second));
    let limits = descriptor.limits.iter().map(|(name, limit)| ("limits", name, limit.per_second));
    for (table, name, per_second) in rates.chain(limits) {
        if !per_second.is_finite() || per_second < 0.0 {
            let path = [table.into(), name.as_str().into(), "per-second".into()];
            let message = format!("{per_second} is no rate; expected 0 or more each second");
            return Err(problem_at(file, text, &path, message, Vec::new()));
        }
    }
    Ok(())
}

/// Table prefixes of which none is another: `a-b` and `ab` would share their tables.
fn prefixes(file: &str, text: &str, descriptor: &Descriptor) -> Found {
    let mut taken = BTreeMap::new();
    for (name, _) in descriptor.enabled_plugins() {
        if let Some(other) = taken.insert(name.table_prefix(), name) {
            let message = format!("the tables of `{name}` would be those of `{other}`");
            let help = vec!["choose names that differ in more than dashes".to_owned()];
            return Err(problem_at(
                file,
                text,
                &["plugins".into(), name.as_str().into()],
                message,
                help,
            ));
        }
    }
    Ok(())
}
