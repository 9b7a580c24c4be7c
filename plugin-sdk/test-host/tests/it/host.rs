use tessera_sdk::http::WakeReason;
use tessera_sdk::storage::{Batch, Error, query};
use tessera_sdk::{cache, clock, crypto, limits, params, random};
use tessera_test_host::TestHost;

use crate::fixture::{GREETER, Greeter, READER, Reader};

fn start() -> TestHost {
    TestHost::builder().plugin(GREETER).plugin(READER).start()
}

fn greet(host: &TestHost, name: &str) {
    let answer = host.request("PUT", "greet").param("name", name).user("@a:hs1").send::<Greeter>();
    assert_eq!(answer.ok()["hello"], name);
}

#[test]
fn request_reaches_its_handler_and_storage_is_counted() {
    let host = start();
    greet(&host, "ann");
    assert_eq!(host.calls(), 1);
    assert_eq!(host.calls(), 0);
    assert_eq!(host.wakes(), ["greeter:all"]);
    assert_eq!(host.messages("greeter.greeted")[0]["name"], "ann");
    let names = query("SELECT name FROM greeter_names", params![]).unwrap();
    assert_eq!(names.all::<(String,)>().unwrap(), [("ann".to_owned(),)]);
}

#[test]
fn grants_are_those_of_the_acting_plugin() {
    let host = start();
    host.act_as("reader");
    let refused = query("SELECT name FROM greeter_names", params![]);
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    assert!(query("SELECT name FROM greeter_v1_names", params![]).is_ok());
    let refused = Batch::new().emit("greeter.greeted", "k", "{}".to_owned()).commit();
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[test]
fn messages_are_delivered_once_and_tried_again() {
    let host = start();
    greet(&host, "ann");
    greet(&host, "stubborn");
    assert!(host.deliver_once::<Reader>("reader", "greeter.greeted").is_err());
    host.deliver::<Reader>("reader", "greeter.greeted");
    assert_eq!(host.deliver::<Reader>("reader", "greeter.greeted"), 0);
    host.act_as("reader");
    let seen = query("SELECT name, attempt FROM reader_seen ORDER BY name", params![]).unwrap();
    let expected = [("ann".to_owned(), 1), ("stubborn".to_owned(), 2)];
    assert_eq!(seen.all::<(String, i64)>().unwrap(), expected);
}

#[test]
fn parked_request_is_woken_and_goes_on() {
    let host = start();
    let waiting = host.request("GET", "wait").user("@a:hs1").send::<Greeter>();
    let watch = waiting.parked().unwrap().watch;
    assert!(!host.watch_fired(watch));
    greet(&host, "ann");
    assert!(host.watch_fired(watch));
    assert_eq!(waiting.resume::<Greeter>(WakeReason::Woken).ok()["timed_out"], false);
}

#[test]
fn something_may_happen_between_read_and_commit() {
    let host = start();
    host.before_next_commit(|host| greet(host, "ann"));
    let answer = host.request("PUT", "greet").param("name", "ann").user("@a:hs1").send::<Greeter>();
    assert_eq!(answer.status(), 503, "the unique key was taken meanwhile");
}

#[test]
fn clock_cache_limits_and_passwords_work() {
    let host = start();
    host.set_now(5_000);
    cache::put("k", b"v", 100, &["t".to_owned()]);
    assert_eq!(cache::get("k").unwrap(), b"v");
    host.advance(100);
    assert_eq!((cache::get("k"), clock::now_ms()), (None, 5_100));
    host.limit("class", 1);
    assert!(limits::take("class", "a", 1).is_ok());
    assert!(limits::take("class", "a", 1).is_err());
    assert_eq!(limits::cap("users"), None);
    host.cap("users", Some(3));
    assert_eq!(limits::cap("users"), Some(3));
    let hash = crypto::hash_password("secret");
    assert!(crypto::verify_password("secret", &hash) && !crypto::verify_password("x", &hash));
    assert_ne!(random::token(), random::token());
}
