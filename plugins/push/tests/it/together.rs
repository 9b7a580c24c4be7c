//! Both consumers at once, as two nodes run them.

use tessera_plugin_push::Plugin;

use crate::world::*;

#[test]
fn receipts_and_events_handled_at_once_leave_the_right_counts() {
    let world = world_with_room();
    for round in 0..12 {
        let read = world.say(ALICE, &format!("{round} read"));
        world.receipt(BOB, "", &read);
        world.say(ALICE, &format!("{round} unread"));
        let both = ["rooms.events", "presence.receipts"].map(|topic| {
            let host = world.host.clone();
            std::thread::spawn(move || {
                host.install();
                host.deliver::<Plugin>("push", topic)
            })
        });
        for consumer in both {
            consumer.join().unwrap();
        }
        assert_eq!(world.unread(BOB), (1, 0), "round {round}");
        assert_eq!(world.unread(CAROL), (2 * (round + 1), 0), "round {round}");
    }
}
