//! What a plug-in asks for, what it is allowed of it, and both in words.

use std::fmt::Display;

use tessera_manifest::{
    Allowed, CallName, Covers, Grants as Granted, GrantsTable, InterfaceName, Name, OriginPattern,
    PluginManifest, TopicName, ViewName,
};

/// What a plug-in asks for, or what it is allowed: plain lists, nothing beyond what its manifest has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Services and hooks that it calls, whole or by function.
    pub call: Vec<CallName>,
    /// Hooks that it answers, whole or by function.
    pub answer: Vec<CallName>,
    /// Topics that it consumes.
    pub hear: Vec<TopicName>,
    /// Routes that it serves, by id.
    pub serve: Vec<Name>,
    /// Authenticators that it is.
    pub authenticate: Vec<Name>,
    /// Services that it provides.
    pub provide: Vec<InterfaceName>,
    /// Views of others that it reads.
    pub reads: Vec<ViewName>,
    /// Origins that it fetches from.
    pub fetch: Vec<OriginPattern>,
    /// Whether it signs with the tenant's key, and reads its public part.
    pub sign: bool,
    /// Whether it hashes and checks passwords.
    pub passwords: bool,
    /// Whether it sends mail through the operator's relay.
    pub mail: bool,
}

impl Grants {
    /// All that a plug-in asks for. `exports`: names of all that its component exports, with or without version; what
    /// the host itself calls and hooks are no services.
    #[must_use]
    pub fn asked<'a>(
        manifest: &PluginManifest,
        exports: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut provide: Vec<InterfaceName> = Vec::new();
        for export in exports {
            let Some((name, _)) = InterfaceName::split_versioned(export) else { continue };
            // As in the component's contract: hooks are known by their package.
            let service = !matches!(
                (name.namespace(), name.package()),
                ("tessera", "plugin" | "host") | ("wasi", _) | (_, "hooks")
            );
            if service && !provide.contains(&name) {
                provide.push(name);
            }
        }
        Self {
            call: manifest.grants.call.clone(),
            answer: manifest.hooks.provides.clone(),
            hear: manifest.topics.consumes.iter().map(|consume| consume.topic.clone()).collect(),
            serve: manifest.http.routes.iter().map(|route| route.id.clone()).collect(),
            authenticate: manifest.authenticators.keys().cloned().collect(),
            provide,
            reads: manifest.storage.reads.clone(),
            fetch: manifest.grants.fetch.clone(),
            sign: manifest.grants.sign,
            passwords: manifest.grants.passwords,
            mail: manifest.grants.mail,
        }
    }

    /// What of this is allowed.
    #[must_use]
    pub fn allowed(&self, granted: &Granted) -> Self {
        match granted {
            Granted::Asked => self.clone(),
            Granted::Only(table) => self.within(table),
        }
    }

    /// What of this a table allows.
    #[must_use]
    pub fn within(&self, table: &GrantsTable) -> Self {
        Self {
            call: table.call.of(&self.call),
            answer: table.answer.of(&self.answer),
            hear: table.hear.of(&self.hear),
            serve: table.serve.of(&self.serve),
            authenticate: table.authenticate.of(&self.authenticate),
            provide: table.provide.of(&self.provide),
            reads: table.reads.of(&self.reads),
            fetch: table.fetch.of(&self.fetch),
            sign: self.sign && table.sign,
            passwords: self.passwords && table.passwords,
            mail: self.mail && table.mail,
        }
    }

    /// What of this is not in `allowed`, not even in part of it.
    #[must_use]
    pub fn without(&self, allowed: &Self) -> Self {
        fn rest<T: Covers + Clone>(asked: &[T], allowed: &[T]) -> Vec<T> {
            let missing = |asked: &&T| !allowed.iter().any(|allowed| allowed.covers(asked));
            asked.iter().filter(missing).cloned().collect()
        }
        Self {
            call: rest(&self.call, &allowed.call),
            answer: rest(&self.answer, &allowed.answer),
            hear: rest(&self.hear, &allowed.hear),
            serve: rest(&self.serve, &allowed.serve),
            authenticate: rest(&self.authenticate, &allowed.authenticate),
            provide: rest(&self.provide, &allowed.provide),
            reads: rest(&self.reads, &allowed.reads),
            fetch: rest(&self.fetch, &allowed.fetch),
            sign: self.sign && !allowed.sign,
            passwords: self.passwords && !allowed.passwords,
            mail: self.mail && !allowed.mail,
        }
    }

    /// Whether it is nothing at all.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this function of a service or hook may be called. Names without version.
    #[must_use]
    pub fn allows_call(&self, interface: &str, function: &str) -> bool {
        self.call.iter().any(|call| call.allows(interface, function))
    }

    /// Whether this function of a hook may be answered.
    #[must_use]
    pub fn allows_answer(&self, interface: &str, function: &str) -> bool {
        self.answer.iter().any(|answer| answer.allows(interface, function))
    }

    /// Whether any function of a hook may be answered.
    #[must_use]
    pub fn answers(&self, interface: &str) -> bool {
        self.answer.iter().any(|answer| answer.interface().as_str() == interface)
    }

    /// Whether a topic may be consumed.
    #[must_use]
    pub fn allows_hear(&self, topic: &str) -> bool {
        self.hear.iter().any(|hear| hear.as_str() == topic)
    }

    /// Whether a route may be served.
    #[must_use]
    pub fn allows_serve(&self, route: &str) -> bool {
        self.serve.iter().any(|serve| serve.as_str() == route)
    }

    /// Whether it may be this authenticator.
    #[must_use]
    pub fn allows_authenticate(&self, name: &str) -> bool {
        self.authenticate.iter().any(|own| own.as_str() == name)
    }

    /// Whether a service may be provided. Without version.
    #[must_use]
    pub fn allows_provide(&self, interface: &str) -> bool {
        self.provide.iter().any(|provide| provide.as_str() == interface)
    }

    /// As `[plugins.NAME.grants]` has it.
    #[must_use]
    pub fn table(&self) -> GrantsTable {
        GrantsTable {
            call: Allowed::Only(self.call.clone()),
            answer: Allowed::Only(self.answer.clone()),
            hear: Allowed::Only(self.hear.clone()),
            serve: Allowed::Only(self.serve.clone()),
            authenticate: Allowed::Only(self.authenticate.clone()),
            provide: Allowed::Only(self.provide.clone()),
            reads: Allowed::Only(self.reads.clone()),
            fetch: Allowed::Only(self.fetch.clone()),
            sign: self.sign,
            passwords: self.passwords,
            mail: self.mail,
        }
    }

    /// In words, one line for each kind: `may call: rooms.send-as, accounts`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |what: &str, list: Vec<String>| {
            if !list.is_empty() {
                lines.push(format!("{what}: {}", list.join(", ")));
            }
        };
        line("may read", texts(&self.reads));
        line("may call", self.call.iter().map(short).collect());
        line("may answer", self.answer.iter().map(short).collect());
        line("may hear", texts(&self.hear));
        line("may fetch", texts(&self.fetch));
        line("may serve the routes", texts(&self.serve));
        line("may log people in as", texts(&self.authenticate));
        line("may provide", self.provide.iter().map(short).collect());
        let flags = [
            (self.sign, "may sign in the name of the server"),
            (self.passwords, "may hash and check passwords"),
            (self.mail, "may send mail through the server's relay"),
        ];
        lines.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, text)| text.to_owned()));
        lines
    }

    /// As `tessera plugin grant` takes it: `call=tessera:services/rooms.send-as`.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let lists = [
            ("call", texts(&self.call)),
            ("answer", texts(&self.answer)),
            ("hear", texts(&self.hear)),
            ("serve", texts(&self.serve)),
            ("authenticate", texts(&self.authenticate)),
            ("provide", texts(&self.provide)),
            ("reads", texts(&self.reads)),
            ("fetch", texts(&self.fetch)),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let mut arguments: Vec<String> =
            lists.map(|(key, list)| format!("{key}={}", list.join(","))).collect();
        let flags = [(self.sign, "sign"), (self.passwords, "passwords"), (self.mail, "mail")];
        arguments.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, key)| key.to_owned()));
        arguments
    }

    /// Cuts a manifest down to what is allowed. Routes that ask an authenticator of its own that is not allowed are cut,
    /// too, and so are secret query parameters where neither route nor authenticator is left.
    #[must_use]
    pub fn cut(&self, manifest: &PluginManifest) -> PluginManifest {
        let mut cut = manifest.clone();
        let lost = |name: &Name| {
            manifest.authenticators.contains_key(name) && !self.authenticate.contains(name)
        };
        cut.http.routes.retain(|route| {
            let authenticator = match &route.auth {
                Some(tessera_manifest::Auth::By(name)) => Some(name),
                _ => None,
            };
            self.serve.contains(&route.id) && !authenticator.is_some_and(lost)
        });
        cut.topics.consumes.retain(|consume| self.hear.contains(&consume.topic));
        cut.authenticators.retain(|name, _| self.authenticate.contains(name));
        if cut.http.routes.is_empty() && cut.authenticators.is_empty() {
            // What it may not read is not its to hide from logs.
            cut.http.secret_query.clear();
        }
        cut.hooks.provides.clone_from(&self.answer);
        cut.storage.reads.clone_from(&self.reads);
        cut.grants.call.clone_from(&self.call);
        cut.grants.fetch.clone_from(&self.fetch);
        cut.grants.sign = self.sign;
        cut.grants.passwords = self.passwords;
        cut.grants.mail = self.mail;
        cut
    }
}

fn texts<T: Display>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Without the package where it is one of the project's own.
fn short(name: &impl Display) -> String {
    let text = name.to_string();
    for package in ["tessera:services/", "tessera:hooks/"] {
        if let Some(short) = text.strip_prefix(package) {
            return short.to_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tessera_manifest::{Grants as Granted, GrantsTable, PluginManifest};

    use super::Grants;

    const MANIFEST: &str = r#"
        name = "spam-filter"
        version = "1.2.3"
        http.secret-query = ["token"]
        http.routes = [
            { id = "list", methods = ["GET"], paths = ["/list"], auth = "own" },
            { id = "show", methods = ["GET"], paths = ["/show"] },
        ]
        storage.reads = ["rooms_v1_events"]
        topics.consumes = [{ topic = "rooms.events" }]
        authenticators.own.reads = "head"
        hooks.provides = ["tessera:hooks/event-policy"]
        [grants]
        call = ["tessera:services/rooms", "other:calls/all.one"]
        fetch = ["https://*"]
        sign = true
    "#;

    const EXPORTS: [&str; 4] = [
        "tessera:plugin/http@0.1.0",
        "tessera:hooks/event-policy@0.1.0",
        "tessera:services/presence@0.1.0",
        "tessera:services/presence@0.2.0",
    ];

    fn asked() -> Grants {
        Grants::asked(&PluginManifest::parse("plugin.toml", MANIFEST).unwrap(), EXPORTS)
    }

    fn granted(words: &[&str]) -> Grants {
        let mut table = GrantsTable::default();
        words.iter().for_each(|word| table.add(word).unwrap());
        asked().allowed(&Granted::Only(Box::new(table)))
    }

    #[test]
    fn what_is_asked_is_said_in_words() {
        assert_eq!(
            asked().words(),
            [
                "may read: rooms_v1_events",
                "may call: rooms, other:calls/all.one",
                "may answer: event-policy",
                "may hear: rooms.events",
                "may fetch: https://*",
                "may serve the routes: list, show",
                "may log people in as: own",
                "may provide: presence",
                "may sign in the name of the server",
            ]
        );
    }

    #[test]
    fn nothing_is_allowed_by_default_and_nothing_that_is_not_asked() {
        assert!(asked().allowed(&Granted::default()).is_nothing());
        assert_eq!(asked().allowed(&Granted::Asked), asked());
        let more = granted(&["call=a:b/c", "reads=keys_v1_devices", "passwords", "fetch=http://*"]);
        assert!(more.is_nothing(), "{more:?}");
    }

    #[test]
    fn a_function_is_allowed_alone() {
        let grants = granted(&["call=tessera:services/rooms.send-as", "answer=*"]);
        assert!(grants.allows_call("tessera:services/rooms", "send-as"));
        assert!(!grants.allows_call("tessera:services/rooms", "create"));
        assert!(!grants.allows_call("other:calls/all", "one"));
        assert!(grants.allows_answer("tessera:hooks/event-policy", "check-event"));
        assert_eq!(grants.words(), ["may call: rooms.send-as", "may answer: event-policy"]);
    }

    #[test]
    fn what_is_missing_is_what_grants_would_bring() {
        let some =
            granted(&["call=tessera:services/rooms.send-as", "fetch=https://a.org", "serve=*"]);
        let missing = asked().without(&some);
        assert!(missing.serve.is_empty() && missing.sign);
        assert_eq!(missing.fetch, asked().fetch);
        let arguments = missing.arguments();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(words.contains(&"call=tessera:services/rooms,other:calls/all.one"), "{words:?}");
        assert_eq!(granted(&words), missing);
        assert_eq!(asked().within(&some.table()), some);
    }

    #[test]
    fn what_serves_nothing_hides_nothing_from_logs() {
        let manifest = PluginManifest::parse("plugin.toml", MANIFEST).unwrap();
        let secrets = |words: &[&str]| granted(words).cut(&manifest).http.secret_query;
        assert!(secrets(&["hear=*"]).is_empty());
        // `list` asks an authenticator that is not allowed.
        assert!(secrets(&["serve=list"]).is_empty());
        assert_eq!(secrets(&["serve=show"]), ["token"]);
        // It may read them.
        assert_eq!(secrets(&["authenticate=*"]), ["token"]);
    }

    #[test]
    fn a_manifest_is_cut_to_what_is_allowed() {
        let manifest = PluginManifest::parse("plugin.toml", MANIFEST).unwrap();
        let cut = granted(&["serve=*", "hear=*"]).cut(&manifest);
        // `list` would ask an authenticator that is not allowed.
        let routes: Vec<String> =
            cut.http.routes.iter().map(|route| route.id.to_string()).collect();
        assert_eq!(routes, ["show"]);
        assert_eq!(cut.topics, manifest.topics);
        assert!(cut.authenticators.is_empty() && cut.hooks.provides.is_empty());
        assert!(cut.storage.reads.is_empty() && cut.grants.call.is_empty() && !cut.grants.sign);
        assert_eq!(Grants::asked(&manifest, EXPORTS).cut(&manifest), manifest);
    }
}
