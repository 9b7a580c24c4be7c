//! Two users with matrix-sdk for Rust: room list, timelines and encryption over simplified sliding sync.
//!
//! `tessera-e2e-rust --url http://127.0.0.1:8008`. See README.md beside the client folders.

// The futures of the SDK lie deep in one another.
#![recursion_limit = "512"]

mod person;
mod report;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use matrix_sdk::{
    RoomState,
    ruma::{
        api::client::room::create_room::v3::{Request, RoomPreset},
        assign,
        events::{
            AnyMessageLikeEventContent, InitialStateEvent,
            room::{encryption::RoomEncryptionEventContent, message::RoomMessageEventContent},
        },
    },
};
use matrix_sdk_ui::{Timeline, sync_service::State};

use person::{PAGE, Person, reads};
use report::{check, finish, need, until};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--url").skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8008".to_owned());
    let tag = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let alice = Person::register(&url, &format!("ralice-{tag}")).await;
    let alice = need("the client finds sliding sync and registers", alice);
    let bob = need("a second user", Person::register(&url, &format!("rbob-{tag}")).await);
    for (name, person) in [("alice", &alice), ("bob", &bob)] {
        let runs = until("a running sync", async || {
            matches!(person.sync.state().get(), State::Running).then_some(())
        });
        check(format!("{name}'s sync service runs"), runs.await);
    }
    if let Err(error) = play(&alice, &bob).await {
        check::<()>("the job ran to its end", Err(error));
    }
    check("no sync service has failed", [&alice, &bob].into_iter().try_for_each(well));
    finish();
}

fn well(person: &Person) -> Result<()> {
    let state = person.sync.state().get();
    ensure!(matches!(state, State::Running), "{state:?}");
    Ok(())
}

async fn say(timeline: &Timeline, text: &str) -> Result<()> {
    let content = RoomMessageEventContent::text_plain(text);
    timeline.send(AnyMessageLikeEventContent::RoomMessage(content)).await?;
    Ok(())
}

async fn play(alice: &Person, bob: &Person) -> Result<()> {
    let bob_id = bob.client.user_id().context("no user id")?.to_owned();
    let encryption = InitialStateEvent::with_empty_state_key(
        RoomEncryptionEventContent::with_recommended_defaults(),
    );
    let room = alice
        .client
        .create_room(assign!(Request::new(), {
            name: Some("Sliding".to_owned()),
            preset: Some(RoomPreset::PrivateChat),
            invite: vec![bob_id.clone()],
            initial_state: vec![encryption.to_raw_any()],
        }))
        .await?;
    let id = room.room_id().to_owned();
    let named = |room: &matrix_sdk::Room| {
        room.cached_display_name().is_some_and(|name| name.to_string() == "Sliding")
    };
    check("a new room comes into the list by its name", alice.sees("the room", &id, named).await);

    let invited = |room: &matrix_sdk::Room| room.state() == RoomState::Invited;
    let invite = need("an invite comes into the list", bob.sees("the invite", &id, invited).await);
    invite.join().await?;
    let joined = |room: &matrix_sdk::Room| room.state() == RoomState::Joined && named(room);
    let his = need("the room is joined in the list", bob.sees("the room", &id, joined).await);
    let both = until("two members", async || (room.joined_members_count() == 2).then_some(()));
    check("who made it sees the other come in", both.await);

    let (hers, his_timeline) = (alice.open(&room).await?, bob.open(&his).await?);
    say(&hers, "over sliding sync").await?;
    check("an encrypted message is read", reads(&his_timeline, "over sliding sync").await);
    let counted =
        until("an unread message", async || (his.num_unread_messages() > 0).then_some(()));
    check("it counts as unread", counted.await);
    say(&his_timeline, "and back").await?;
    check("an answer is read", reads(&hers, "and back").await);
    let latest = his_timeline.latest_event_id().await.context("no latest event")?;
    let receipt = matrix_sdk::ruma::api::client::receipt::create_receipt::v3::ReceiptType::Read;
    his_timeline.mark_as_read(receipt).await?;
    let seen = until("a read receipt", async || {
        let read = hers.latest_user_read_receipt_timeline_event_id(&bob_id).await;
        (read.as_deref() == Some(&*latest)).then_some(())
    });
    check("a read receipt arrives", seen.await);

    typing(alice, &room, &his).await;

    // The list is longer than its first page.
    for number in 0..PAGE + 5 {
        let request = assign!(Request::new(), { name: Some(format!("Room {number}")) });
        alice.client.create_room(request).await?;
    }
    let page = until("a full page", async || (alice.shown.borrow().len() == PAGE).then_some(()));
    check("the list shows a page of the newest rooms", page.await);
    alice.more.send(())?;
    let rest = until("the rest", async || (alice.shown.borrow().len() == PAGE + 6).then_some(()));
    check("scrolling shows the rest", rest.await);

    // Back after a pause: what happened meanwhile is told.
    bob.sync.stop().await;
    say(&hers, "while you were away").await?;
    reads(&hers, "while you were away").await?;
    bob.sync.start().await;
    check("what was missed is told on return", reads(&his_timeline, "while you were away").await);
    Ok(())
}

async fn typing(alice: &Person, hers: &matrix_sdk::Room, his: &matrix_sdk::Room) {
    let Some(user) = alice.client.user_id() else { return };
    let (_guard, mut told) = his.subscribe_to_typing_notifications();
    let outcome = async {
        hers.typing_notice(true).await?;
        until("a typing notice", async || {
            told.try_recv().ok().filter(|users| users.iter().any(|one| one == user)).map(drop)
        })
        .await
    };
    check("typing is told", outcome.await);
}
