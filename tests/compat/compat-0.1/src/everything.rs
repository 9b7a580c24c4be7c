//! Every function that a module may call, once.

use crate::bindings::tessera::{
    host::{
        blobs, bus, cache, config, crypto, fetch, limits, log, metrics, peers, storage, timers,
    },
    services::{accounts, presence, push, rooms},
};

/// A JSON object: for each function what came of it, as Rust prints it.
pub(crate) fn used() -> String {
    let mut all = Vec::new();
    let mut note = |name: &str, came: String| all.push(format!("{name:?}:{came:?}"));
    stored(&mut note);
    held(&mut note);
    asked(&mut note);
    format!("{{{}}}", all.join(","))
}

fn select(sql: &str) -> storage::Select {
    storage::Select { sql: sql.to_owned(), params: Vec::new() }
}

fn stored(note: &mut impl FnMut(&str, String)) {
    let notes = select("SELECT id, note FROM compatv01_notes");
    note("storage.query", format!("{:?}", storage::query(&notes).map(|rows| rows.columns)));
    let events = select("SELECT event_id FROM rooms_v1_events LIMIT 1");
    let moment = storage::snapshot(&[notes, events]);
    note("storage.snapshot", format!("{:?}", moment.map(|moment| moment.results.len())));
    note("storage.lock", format!("{:?}", storage::lock(&["a".to_owned()], 10)));
    let committed = storage::commit(&storage::Batch {
        id: None,
        statements: Vec::new(),
        positions: 1,
        messages: vec![storage::Message {
            topic: "compat-v0-1.notes".to_owned(),
            key: "a".to_owned(),
            payload: "a note".to_owned(),
        }],
        done: None,
        wake: vec!["compat-v0-1:emitted".to_owned()],
        text_entries: vec![storage::TextEntry {
            index: "words".to_owned(),
            key: "k".to_owned(),
            group: "g".to_owned(),
            text: Some("a few words".to_owned()),
        }],
        durability: storage::Durability::Durable,
    });
    note(
        "storage.commit",
        format!("{:?}", committed.map(|it| (it.first_position > 0, it.duplicate))),
    );
    storage::unlock();
    note("storage.unlock", "called".to_owned());
    let hits = storage::search("words", "few", None, 10, 0);
    let keys = hits.map(|hits| hits.into_iter().map(|hit| hit.key).collect::<Vec<_>>());
    note("storage.search", format!("{keys:?}"));
}

fn held(note: &mut impl FnMut(&str, String)) {
    let watch = bus::watch(&["compat-v0-1:nothing".to_owned()]);
    note("bus.watch", format!("{}", watch < u64::MAX));
    bus::notify(&["compat-v0-1:nothing".to_owned()]);
    note("bus.notify", "called".to_owned());
    let id = blobs::put(b"some bytes");
    let id = id.unwrap_or_default();
    note("blobs.put", format!("{}", !id.is_empty()));
    note(
        "blobs.read",
        format!("{:?}", blobs::read(&id, 5, 5).map(|it| String::from_utf8_lossy(&it).into_owned())),
    );
    note("blobs.stat", format!("{:?}", blobs::stat(&id).map(|info| info.size)));
    note("blobs.delete", format!("{:?}", blobs::delete(&id)));
    note("crypto.tenant-name", crypto::tenant_name());
    let key = crypto::key();
    note("crypto.key", format!("{}", key.id.starts_with("ed25519:")));
    let signatures = crypto::sign(&["a message".to_owned()]);
    let check = crypto::Check {
        message: "a message".to_owned(),
        signature: signatures.first().cloned().unwrap_or_default(),
        public: key.public,
    };
    note("crypto.sign", format!("{}", signatures.len()));
    note("crypto.verify", format!("{:?}", crypto::verify(&[check])));
    let hash = crypto::hash_password("a password");
    note("crypto.hash-password", format!("{}", hash.starts_with("$argon2id$")));
    note("crypto.verify-password", format!("{}", crypto::verify_password("a password", &hash)));
    cache::put("k", b"v", 60_000, &["compat-v0-1:cache".to_owned()]);
    note("cache.put", "called".to_owned());
    note(
        "cache.get",
        format!("{:?}", cache::get("k").map(|it| String::from_utf8_lossy(&it).into_owned())),
    );
    cache::remove("k");
    note("cache.remove", format!("{:?}", cache::get("k").is_none()));
    note("timers.set", format!("{:?}", timers::set("t", 4_000_000_000_000, "payload")));
    note("timers.cancel", format!("{:?}", timers::cancel("t")));
    note("timers.set now", format!("{:?}", timers::set("now", 1, "payload")));
    note("limits.take", format!("{:?}", limits::take("compat", "k", 1)));
    note("limits.cap", format!("{:?}", limits::cap("compat")));
    log::write(log::Level::Debug, "compat-v0-1", &[("a".to_owned(), "b".to_owned())]);
    note("log.write", "called".to_owned());
    note("log.enabled", format!("{}", log::enabled(log::Level::Error)));
    metrics::count("compat", 1);
    metrics::gauge("compat_gauge", 1.0);
    metrics::observe("compat_seconds", 0.1);
    note("metrics", "called".to_owned());
    note("config.get", config::get());
    let request = fetch::Request {
        method: "GET".to_owned(),
        url: "https://not-granted.example".to_owned(),
        headers: Vec::new(),
        body: fetch::Body::None,
        timeout_ms: 1000,
        max_bytes: 1000,
        connect_to: None,
        server_name: None,
        into_blob: false,
    };
    note(
        "fetch.send",
        format!("{}", matches!(fetch::send(&request), Err(fetch::Error::Refused(_)))),
    );
    note("peers.answered", format!("{}", peers::answered("tessera:hooks/event-policy")));
}

fn asked(note: &mut impl FnMut(&str, String)) {
    let nobody = "@nobody:elsewhere";
    let profiles = accounts::profiles(&[nobody.to_owned()]);
    note("accounts.profiles", format!("{:?}", profiles.map(|it| it.len())));
    note("accounts.filter", format!("{:?}", accounts::filter(nobody, "none").is_err()));
    note(
        "accounts.account-data",
        format!("{:?}", accounts::account_data(nobody, None, "a").ok().flatten()),
    );
    note(
        "accounts.put-account-data",
        format!("{}", accounts::put_account_data(nobody, None, "a", "no JSON").is_err()),
    );
    note("rooms.state-at", format!("{}", rooms::state_at("$none", false, &[]).is_err()));
    note("rooms.send-as", format!("{}", rooms::send_as(nobody, "!none", "a", None, "{}").is_err()));
    note(
        "rooms.profile-changed",
        format!("{:?}", rooms::profile_changed(nobody, None, None).is_ok()),
    );
    note("push.rules", format!("{}", push::rules(nobody).is_ok()));
    note(
        "push.set-actions",
        format!("{}", push::set_actions(nobody, "override", "none", "[]").is_err()),
    );
    note("presence.get", format!("{:?}", presence::get(&[nobody.to_owned()]).map(|it| it.len())));
    note("presence.set", format!("{}", presence::set(nobody, "asleep", None).is_err()));
    note("rooms.state", format!("{}", rooms::state("!none", &[]).is_err()));
    note("rooms.create-room", format!("{}", rooms::create_room(nobody, "{}").is_err()));
    note(
        "rooms.set-membership",
        format!("{}", rooms::set_membership(nobody, "!none", nobody, "join", None).is_err()),
    );
    note("rooms.delete-room", format!("{}", rooms::delete_room(nobody, "!none", false).is_err()));
    note("rooms.room-of-alias", format!("{:?}", rooms::room_of_alias("#none:hs1").ok().flatten()));
    note("rooms.set-listed", format!("{}", rooms::set_listed("!none", true).is_err()));
    note(
        "accounts.users",
        format!("{:?}", accounts::users(&[nobody.to_owned()]).map(|it| it.len())),
    );
    note("accounts.active-users", format!("{:?}", accounts::active_users(4_000_000_000_000)));
    let new = accounts::NewUser {
        localpart: "made-by-compat".to_owned(),
        password: None,
        displayname: None,
        admin: false,
    };
    let made = accounts::register(&new);
    note("accounts.register", format!("{made:?}"));
    let made = made.unwrap_or_default();
    let session = accounts::log_in(&made, None, None);
    let token = session.map(|session| session.access_token);
    note("accounts.log-in", format!("{}", token.as_ref().is_ok_and(|token| !token.is_empty())));
    note("accounts.login-token", format!("{}", accounts::login_token(&made, 1000).is_ok()));
    let gone = token.map(|token| accounts::log_out(&accounts::Sessions::Token(token)).is_ok());
    note("accounts.log-out", format!("{}", gone.unwrap_or_default()));
}
