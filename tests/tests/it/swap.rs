//! Versions that change while the server runs: under load, in part, back again, and not at all where something is wrong.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tessera_tests::{
    api::Session,
    binary, http,
    server::{Options, Server},
    version,
};

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    server: Server,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl House {
    async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tessera.toml");
        let testing = binary::testing_config().unwrap();
        let text = fs::read_to_string(testing).unwrap();
        fs::write(&config, format!("{text}\n{more}")).unwrap();
        let options = Options { config: Some(config), ..Options::testing().unwrap() };
        let server = Server::start_with(options).await.unwrap();
        Self { server, http: http::client().unwrap(), folder }
    }

    async fn user(&self, name: &str) -> Session {
        Session::register(&self.http, &self.server.url(), name).await.unwrap()
    }

    /// A file of a plug-in as it was built, with another manifest.
    fn version(&self, plugin: &str, version: &str, change: impl Fn(String) -> String) -> PathBuf {
        let file = self.folder.path().join(format!("{plugin}-{version}.wasm"));
        version::write(plugin, version, &file, change).unwrap();
        file
    }

    async fn status(&self, plugin: &str) -> Value {
        let said = self.server.tool(&["plugin", "status", "--json"]).await.unwrap();
        let said: Vec<Value> = serde_json::from_str(&said).unwrap();
        said.into_iter().find(|one| one["name"] == plugin).unwrap()
    }

    async fn tool(&self, words: &[&str]) -> String {
        self.server.tool(words).await.unwrap()
    }
}

fn same(text: String) -> String {
    text
}

#[tokio::test]
async fn no_request_fails_while_a_plug_in_is_swapped_and_rolled_back_under_load() {
    let mut house = House::start("").await;
    let user = house.user("busy").await;
    let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let file = house.version("rooms", "0.1.7", same);
    let loads = (0..4).map(|worker| {
        let (user, room) = (user.clone(), room.clone());
        tokio::spawn(async move {
            let end = Instant::now() + Duration::from_secs(8);
            let mut sent = 0;
            while Instant::now() < end {
                user.text(&room, &format!("{worker}-{sent}"), "under load").await.unwrap();
                sent += 1;
            }
            sent
        })
    });
    let loads: Vec<_> = loads.collect();
    // One waits for news all the time, over the changes.
    let waiting = {
        let user = user.clone();
        tokio::spawn(async move {
            let mut since = user.sync_token().await.unwrap();
            let end = Instant::now() + Duration::from_secs(8);
            while Instant::now() < end {
                let sync = user.sync(Some(&since), Duration::from_secs(2), "").await.unwrap();
                since = sync["next_batch"].as_str().unwrap().to_owned();
            }
        })
    };
    let file = file.to_str().unwrap();
    let said = house.tool(&["plugin", "swap", "rooms", file, "--yes"]).await;
    assert!(said.contains("swapped rooms to 0.1.7"), "{said}");
    assert_eq!(house.status("rooms").await["version"], "0.1.7");
    house.tool(&["plugin", "rollback", "rooms", "--yes"]).await;
    assert_eq!(house.status("rooms").await["version"], "0.1.0");
    house.tool(&["plugin", "swap", "rooms", file, "--yes"]).await;
    let mut sent = 0;
    for load in loads {
        sent += load.await.unwrap();
    }
    waiting.await.unwrap();
    assert!(sent > 20, "{sent}");

    // A restart keeps it.
    house.server.stop(PATIENCE).await.unwrap();
    house.server.boot().await.unwrap();
    assert_eq!(house.status("rooms").await["version"], "0.1.7");
    user.text(&room, "after", "of the new one").await.unwrap();
    // And where no server runs, the tool does it.
    house.server.stop(PATIENCE).await.unwrap();
    house.tool(&["plugin", "rollback", "rooms", "--yes"]).await;
    house.server.boot().await.unwrap();
    assert_eq!(house.status("rooms").await["version"], "0.1.0");
}

#[tokio::test]
async fn a_canary_gets_its_share_and_then_all() {
    let house = House::start("").await;
    let user = house.user("canary").await;
    let room = user.create_room(&json!({})).await.unwrap();
    let file = house.version("rooms", "0.1.7", same);
    house
        .tool(&["plugin", "swap", "rooms", file.to_str().unwrap(), "--canary", "25%", "--yes"])
        .await;
    let calls = async || {
        let status = house.status("rooms").await;
        let of = |value: &Value| value["figures"]["calls"].as_u64().unwrap();
        (of(&status), of(&status["trial"]))
    };
    let before = calls().await;
    for n in 0..80 {
        user.text(&room, &format!("t{n}"), "to either").await.unwrap();
    }
    let after = calls().await;
    let (old, new) = (after.0 - before.0, after.1 - before.1);
    assert!(new >= 20 && (old + new) / new == 4, "{old} and {new}");
    house.tool(&["plugin", "swap", "rooms", "--finish"]).await;
    let status = house.status("rooms").await;
    assert_eq!(status["version"], "0.1.7");
    assert!(status["trial"].is_null(), "{status}");
    house.tool(&["plugin", "rollback", "rooms", "--yes"]).await;
    assert_eq!(house.status("rooms").await["version"], "0.1.0");
}

#[tokio::test]
async fn a_version_that_traps_is_taken_back_by_itself() {
    let house = House::start("").await;
    let user = house.user("typist").await;
    let room = user.create_room(&json!({})).await.unwrap();
    let typing = format!("/rooms/{room}/typing/{}", user.user_id);
    let body = json!({"typing": true, "timeout": 1000});
    user.put(&typing, &body).await.unwrap();
    // It starts, and then each of its calls takes more than it may.
    let starved = |text: String| format!("limits.host-calls = 1\n{text}");
    let file = house.version("presence", "0.1.7", starved);
    house.tool(&["plugin", "swap", "presence", file.to_str().unwrap(), "--yes"]).await;
    let end = Instant::now() + PATIENCE;
    let mut failed = 0;
    while house.status("presence").await["version"] != "0.1.0" {
        assert!(Instant::now() < end, "it was not taken back");
        for _ in 0..5 {
            let answer = user.call(reqwest::Method::PUT, &typing, Some(&body)).await.unwrap();
            failed += u32::from(answer.ok().is_err());
        }
    }
    assert!(failed >= 5, "{failed}");
    user.put(&typing, &body).await.unwrap();
    assert!(house.server.log().contains("the new version is taken back"));
    let kept = fs::read_to_string(house.server.data().join("modules.toml")).unwrap_or_default();
    assert!(!kept.contains("presence-0.1.7"), "{kept}");
}

#[tokio::test]
async fn a_version_that_does_not_start_is_not_put_in() {
    let house = House::start("").await;
    let starved = |text: String| format!("limits.memory = \"64KiB\"\n{text}");
    let file = house.version("presence", "0.1.7", starved);
    let tool = ["plugin", "swap", "presence", file.to_str().unwrap(), "--yes"];
    let refused = house.server.try_tool(&tool).await.unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("does not start"), "{text}");
    assert_eq!(house.status("presence").await["version"], "0.1.0");
    assert!(!house.server.data().join("modules.toml").exists());
}

#[tokio::test]
async fn a_broken_descriptor_changes_nothing_and_a_good_one_is_taken_up() {
    let house = House::start("").await;
    let user = house.user("steady").await;
    let room = user.create_room(&json!({})).await.unwrap();
    let config = house.folder.path().join("tessera.toml");
    let good = fs::read_to_string(&config).unwrap();
    for (bad, said) in [
        ("nonsense = 1", "nonsense"),
        ("[plugins.rooms]\nenabled = false", "no loaded plug-in exposes"),
        ("[plugins.rooms]\nsource = 'nowhere.wasm'", "nowhere.wasm"),
        ("[plugins.absent]", "absent.wasm"),
    ] {
        fs::write(&config, format!("{good}\n{bad}\n")).unwrap();
        let refused = house.server.try_tool(&["reload"]).await.unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(said), "{bad}: {text}");
        user.text(&room, said, "as before").await.unwrap();
    }
    let calls = house.status("rooms").await["figures"]["calls"].as_u64().unwrap();
    assert!(calls > 4);
    // Others' limits change: rooms keeps its instances.
    let limits = "[plugins.push.limits]\ninstances = 3\n[http]\nmax-parked = 77\n";
    fs::write(&config, format!("{good}\n{limits}")).unwrap();
    let said = house.tool(&["reload"]).await;
    assert!(said.contains("[http] changed, which takes effect at the next start"), "{said}");
    assert!(house.status("rooms").await["figures"]["calls"].as_u64().unwrap() >= calls);
    user.text(&room, "last", "after").await.unwrap();
}

#[tokio::test]
async fn a_shadow_that_differs_is_told_and_the_answer_stays() {
    let policy = "[plugins.keyword-policy]\ngrants = \"asked\"\n";
    let house = House::start(policy).await;
    let user = house.user("watched").await;
    let room = user.create_room(&json!({})).await.unwrap();
    user.text(&room, "before", "a harmless text").await.unwrap();
    let harsh = |text: String| format!("config.default.words = [\"harmless\"]\n{text}");
    let file = house.version("keyword-policy", "0.9.9", harsh);
    let file = file.to_str().unwrap();
    house.tool(&["plugin", "shadow", "keyword-policy", file, "--yes"]).await;
    user.text(&room, "both", "a harmless text").await.unwrap();
    let end = Instant::now() + PATIENCE;
    let different = async || {
        let status = house.status("keyword-policy").await;
        let seen = status["trial"]["compared"].as_object().unwrap().clone();
        seen.values().map(|one| one["different"].as_u64().unwrap()).sum::<u64>()
    };
    while different().await == 0 {
        assert!(Instant::now() < end, "no difference is seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = house.tool(&["plugin", "shadow", "keyword-policy", "--end"]).await;
    assert!(said.contains("different") && said.contains("the other version:"), "{said}");
    assert!(house.status("keyword-policy").await["trial"].is_null());
}
