use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tessera_bus::{Bus, BusConfig, Cluster, Fired, TenantWake};
use tessera_storage::Wake;

use super::support::{Mortal, bus, own_server, server, until};

#[test]
fn buses_with_one_seed_agree_on_topics_and_others_do_not() {
    assert_eq!(bus().topic("t", "a"), bus().topic("t", "a"));
    assert_ne!(bus().topic("t", "a"), Bus::default().topic("t", "a"));
    let other = BusConfig { seed: Some(*b"another seed 123"), ..BusConfig::default() };
    assert_ne!(bus().topic("t", "a"), Bus::new(other).topic("t", "a"));
}

#[test]
fn a_watch_of_hashes_stands_for_the_topics_of_another_node() {
    let (here, there) = (bus(), bus());
    let mark = here.mark();
    let hashes = there.watch("t", &["a", "b"]).unwrap().topics_hashes();
    let watch = here.watch_hashes_since(mark, "t", &hashes).unwrap();
    here.notify("t", &["c"]);
    assert!(!watch.is_fired());
    here.notify("t", &["b"]);
    assert!(watch.is_fired());
    let late = here.watch_hashes_since(mark, "t", &hashes).unwrap();
    assert!(late.is_fired(), "it fired between the mark and the watch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_here_fires_there_and_tells_its_horizon_first() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let (here, there) = (bus(), bus());
    let attached = one.attach(&here, "example.org").await.unwrap();
    let other = two.attach(&there, "example.org").await.unwrap();
    let stranger = two.attach(&there, "other.org").await.unwrap();
    let horizon = Arc::new(AtomicU64::new(0));
    let watch = Arc::new(there.watch("example.org", &["room:a"]).unwrap());
    let theirs = there.watch("other.org", &["room:a"]).unwrap();
    other.on_horizon({
        let (horizon, watch) = (Arc::clone(&horizon), Arc::clone(&watch));
        move |seen| {
            assert!(!watch.is_fired(), "the horizon comes first");
            horizon.store(seen, Ordering::SeqCst);
        }
    });
    let wake = TenantWake::shared(&attached);
    wake.committed(&["room:a".into(), "user:b".into()], 42);
    until("the watch has fired", || watch.is_fired()).await;
    assert_eq!(horizon.load(Ordering::SeqCst), 42);
    assert!(!theirs.is_fired(), "another tenant's topic of the same name");
    drop(stranger);
    other.detach();
    assert_eq!(two.attached(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_notified_without_a_commit_reaches_other_nodes_while_attached() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let (here, there) = (bus(), bus());
    let attached = one.attach(&here, "t").await.unwrap();
    let _other = two.attach(&there, "t").await.unwrap();
    let watch = there.watch("t", &["typing"]).unwrap();
    here.notify("t", &["typing"]);
    until("it has fired there", || watch.is_fired()).await;
    let again = one.attach(&here, "t").await.unwrap();
    attached.detach();
    let watch = there.watch("t", &["typing"]).unwrap();
    here.notify("t", &["typing"]);
    until("the newer attachment stands", || watch.is_fired()).await;
    let sent = one.stats().wakes_sent;
    again.detach();
    here.notify("t", &["typing"]);
    assert_eq!(one.stats().wakes_sent, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_wake_ups_do_not_come_back() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let (here, there) = (bus(), bus());
    let attached = one.attach(&here, "t").await.unwrap();
    let other = two.attach(&there, "t").await.unwrap();
    let fired = Arc::new(AtomicU32::new(0));
    let _listening = here.listen({
        let fired = Arc::clone(&fired);
        move |_| {
            fired.fetch_add(1, Ordering::SeqCst);
        }
    });
    let back = here.watch("t", &["back"]).unwrap();
    TenantWake::shared(&attached).committed(&["a".into()], 1);
    // The answer of the other node comes after our own message would have come.
    let watch = there.watch("t", &["b"]).unwrap();
    TenantWake::shared(&attached).committed(&["b".into()], 2);
    until("it is there", || watch.is_fired()).await;
    TenantWake::shared(&other).committed(&["back".into()], 3);
    until("its answer is here", || back.is_fired()).await;
    assert_eq!(fired.load(Ordering::SeqCst), 3, "two of our own, one of the other's");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wake_ups_under_load_arrive_or_everything_fires() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let (here, there) = (bus(), bus());
    let attached = one.attach(&here, "t").await.unwrap();
    let _other = two.attach(&there, "t").await.unwrap();
    let names: Vec<String> = (0..20_000).map(|number| format!("topic:{number}")).collect();
    let watches: Vec<_> =
        names.iter().map(|name| there.watch("t", &[name.as_str()]).unwrap()).collect();
    let wake = TenantWake::shared(&attached);
    // Far faster than any database commits, without giving way: the queue runs over.
    for name in &names {
        wake.committed(std::slice::from_ref(name), 1);
    }
    until("every watch has fired", || watches.iter().all(|watch| watch.is_fired())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_every_watch_fires_and_caches_are_told() {
    let Some(mut server) = own_server() else { return };
    let one = server.join("one").await;
    let bus = bus();
    let attached = one.attach(&bus, "t").await.unwrap();
    let watches: Vec<_> =
        (0..100).map(|number| bus.watch("t", &[format!("topic:{number}")]).unwrap()).collect();
    let elsewhere = bus.watch("not attached", &["a"]).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let _listening = bus.listen({
        let told = Arc::clone(&told);
        move |fired| {
            if let Fired::All { tenant } = fired {
                told.lock().unwrap().push(tenant.to_owned());
            }
        }
    });
    let mark = bus.mark();
    server.nats().kill();
    until("the loss is noticed", || !one.connection().borrow().connected).await;
    assert!(!watches[0].is_fired());
    server.nats().restart().unwrap();
    until("every watch has fired", || watches.iter().all(|watch| watch.is_fired())).await;
    assert!(!elsewhere.is_fired());
    assert_eq!(*told.lock().unwrap(), ["t"]);
    assert!(
        bus.watch_since(mark, "t", &["late"]).unwrap().is_fired(),
        "its look was before the loss"
    );
    // Wake-ups go on.
    let other = server.join("two").await;
    let there = super::support::bus();
    let _there = other.attach(&there, "t").await.unwrap();
    let watch = there.watch("t", &["a"]).unwrap();
    TenantWake::shared(&attached).committed(&["a".into()], 1);
    until("it fires there", || watch.is_fired()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_fires_every_watch_for_what_it_did_not_tell() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let bus = bus();
    let _attached = one.attach(&bus, "t").await.unwrap();
    let (mortal, config) = (Mortal::new(), server.config("two"));
    let _two = mortal.run(async { Cluster::connect(config).await.unwrap() }).await;
    until("two is there", || one.live() == 2).await;
    let watch = bus.watch("t", &["a"]).unwrap();
    mortal.kill();
    until("the watch has fired", || watch.is_fired()).await;
}
