//! A user with what Element X is made of: the sync service over sliding sync, a room list, timelines.

use std::{pin::pin, sync::Arc};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use matrix_sdk::{
    Client, Room,
    encryption::EncryptionSettings,
    ruma::{
        OwnedRoomId, RoomId,
        api::client::{
            account::register,
            uiaa::{AuthData, Dummy},
        },
    },
    sliding_sync::VersionBuilder,
};
use matrix_sdk_ui::{
    Timeline,
    eyeball_im::Vector,
    room_list_service::{RoomListItem, filters},
    sync_service::SyncService,
    timeline::RoomExt as _,
};
use tokio::sync::watch;

use crate::report::until;

/// Rooms that the list shows before it is scrolled.
pub const PAGE: usize = 10;

/// One device of one user.
pub struct Person {
    pub client: Client,
    pub sync: Arc<SyncService>,
    /// The rooms of the list as it stands.
    pub shown: watch::Receiver<Vec<OwnedRoomId>>,
    /// Scrolls down.
    pub more: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Person {
    /// Registers a user and starts to sync. The client asks the server whether it has sliding sync.
    pub async fn register(url: &str, name: &str) -> Result<Self> {
        let client = Client::builder()
            .homeserver_url(url)
            .sliding_sync_version_builder(VersionBuilder::DiscoverNative)
            .with_encryption_settings(EncryptionSettings {
                auto_enable_cross_signing: true,
                ..EncryptionSettings::default()
            })
            .build()
            .await
            .context("a client with sliding sync")?;
        let mut request = register::v3::Request::new();
        request.username = Some(name.to_owned());
        request.password = Some(format!("{name}'s password"));
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        client.matrix_auth().register(request).await.context("registering")?;
        client.encryption().wait_for_e2ee_initialization_tasks().await;

        let sync = Arc::new(SyncService::builder(client.clone()).build().await?);
        sync.start().await;
        let list = sync.room_list_service().all_rooms().await?;
        let (say, shown) = watch::channel(Vec::new());
        let (more, mut scroll) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, controller) = list.entries_with_dynamic_adapters(PAGE);
            controller.set_filter(Box::new(filters::new_filter_non_left()));
            let mut stream = pin!(stream);
            let mut rooms: Vector<RoomListItem> = Vector::new();
            loop {
                tokio::select! {
                    Some(changes) = stream.next() => {
                        for change in changes {
                            change.apply(&mut rooms);
                        }
                        say.send_replace(rooms.iter().map(|room| room.room_id().to_owned()).collect());
                    }
                    Some(()) = scroll.recv() => controller.add_one_page(),
                    else => break,
                }
            }
        });
        Ok(Self { client, sync, shown, more })
    }

    /// Waits until the list shows a room that fits.
    pub async fn sees(
        &self,
        what: &str,
        room: &RoomId,
        fits: impl Fn(&Room) -> bool,
    ) -> Result<Room> {
        until(what, async || {
            let listed = self.shown.borrow().iter().any(|id| id == room);
            self.client.get_room(room).filter(|room| listed && fits(room))
        })
        .await
    }

    /// A timeline of a room that is open on the screen.
    pub async fn open(&self, room: &Room) -> Result<Timeline> {
        self.sync.room_list_service().subscribe_to_rooms(&[room.room_id()]).await;
        Ok(room.timeline().await?)
    }
}

/// Waits until a timeline shows this text, decrypted.
pub async fn reads(timeline: &Timeline, text: &str) -> Result<()> {
    until(&format!("{text:?} in the timeline"), async || {
        let (items, _stream) = timeline.subscribe().await;
        items
            .iter()
            .filter_map(|item| item.as_event())
            .any(|event| event.content().as_message().is_some_and(|message| message.body() == text))
            .then_some(())
    })
    .await
}
