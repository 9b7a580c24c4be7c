//! Calls to other plug-ins, linked by the host: one function for each of `tessera:services`. A call is made at most once.

use crate::backend;
pub use crate::bindings::service_caller::accounts::Error as AccountsError;
pub use crate::bindings::service_caller::keys::Error as KeysError;
pub use crate::bindings::service_caller::presence::Error as PresenceError;
pub use crate::bindings::service_caller::push::Error as PushError;
pub use crate::bindings::service_caller::rooms::Error as RoomsError;
pub use crate::bindings::service_caller::thumbnails::Error as ThumbnailsError;
pub use crate::bindings::service_caller::{accounts, keys, presence, push, rooms, thumbnails};

/// Gives the table of all service functions to the macro `$then`: what this crate and the test host make their methods of.
#[doc(hidden)]
#[macro_export]
macro_rules! every_service {
    ($then:ident) => {
        $then! {
            /// Profiles of local users; unknown ones are left out.
            profiles = accounts::profiles(users: &[String]) -> Result<Vec<accounts::Profile>, AccountsError>;
            /// A filter that a user stored, as JSON.
            filter = accounts::filter(user: &str, id: &str) -> Result<String, AccountsError>;
            /// A piece of account data as JSON; `room` none for global.
            account_data = accounts::account_data(user: &str, room: Option<&str>, kind: &str) -> Result<Option<String>, AccountsError>;
            /// Stores account data and wakes the user's syncs.
            put_account_data = accounts::put_account_data(user: &str, room: Option<&str>, kind: &str, content: &str) -> Result<(), AccountsError>;
            /// Stores account data if it is still what was expected; false: it is not.
            swap_account_data = accounts::swap_account_data(user: &str, room: Option<&str>, kind: &str, expected: Option<&str>, content: &str) -> Result<bool, AccountsError>;
            /// Who these local users are; unknown ones are left out.
            users = accounts::users(users: &[String]) -> Result<Vec<accounts::Account>, AccountsError>;
            /// How many users were seen since then (milliseconds since the Unix epoch).
            active_users = accounts::active_users(since_ms: u64) -> Result<u64, AccountsError>;
            /// Makes an account; its full user id.
            register_user = accounts::register(user: &accounts::NewUser) -> Result<String, AccountsError>;
            /// Logs a user in without credentials.
            log_in = accounts::log_in(user: &str, device: Option<&str>, device_name: Option<&str>) -> Result<accounts::Session, AccountsError>;
            /// A token for `POST /login` with `m.login.token`.
            login_token = accounts::login_token(user: &str, lifetime_ms: u64) -> Result<String, AccountsError>;
            /// Ends sessions.
            log_out = accounts::log_out(sessions: &accounts::Sessions) -> Result<(), AccountsError>;
            /// User-interactive authentication for an endpoint of another service.
            prove = accounts::prove(proof: &accounts::Proof) -> Result<accounts::Proven, AccountsError>;

            /// Makes and stores an event on a user's behalf; the event's id.
            send_as = rooms::send_as(user: &str, room_id: &str, kind: &str, state_key: Option<&str>, content: &str) -> Result<String, RoomsError>;
            /// The state before an event, or after it.
            state_at = rooms::state_at(event_id: &str, after: bool, kinds: &[String]) -> Result<Vec<rooms::StateEntry>, RoomsError>;
            /// Current state events of a room, client format with `room_id`; `kinds` empty: all.
            room_state = rooms::state(room_id: &str, kinds: &[String]) -> Result<Vec<String>, RoomsError>;
            /// Makes a room; `request` is the body of `POST /createRoom`. The room's id.
            create_room_as = rooms::create_room(user: &str, request: &str) -> Result<String, RoomsError>;
            /// Changes `target`'s membership of a room, as if `user` had.
            set_membership = rooms::set_membership(user: &str, room_id: &str, target: &str, membership: &str, reason: Option<&str>) -> Result<(), RoomsError>;
            /// Takes local users out of a room; how many are still in it: call again until none is.
            delete_room = rooms::delete_room(user: &str, room_id: &str, block: bool) -> Result<u32, RoomsError>;
            /// The room that an alias of this server names.
            room_of_alias = rooms::room_of_alias(alias: &str) -> Result<Option<String>, RoomsError>;
            /// Puts a room into the public list, or takes it off.
            set_listed = rooms::set_listed(room_id: &str, listed: bool) -> Result<(), RoomsError>;
            /// Tells every room of a user of a changed profile.
            profile_changed = rooms::profile_changed(user: &str, displayname: Option<&str>, avatar_url: Option<&str>) -> Result<(), RoomsError>;
            /// Looks for words in the messages of rooms.
            search_rooms = rooms::search(words: &str, rooms: &[String], newest: bool, limit: u32, offset: u32) -> Result<Vec<rooms::Found>, RoomsError>;
            /// Takes events of other servers into a room.
            receive_events = rooms::receive(room_id: &str, origin: &str, events: &[String]) -> Result<Vec<rooms::Received>, RoomsError>;
            /// Takes events without a place in a room's timeline.
            receive_outliers = rooms::receive_outliers(room_id: &str, room_version: &str, events: &[String]) -> Result<Vec<rooms::Received>, RoomsError>;
            /// Takes an event with the state before it.
            receive_with_state = rooms::receive_with_state(room_id: &str, room_version: &str, origin: &str, event: &str, state: &[String]) -> Result<rooms::Received, RoomsError>;
            /// What events rest on by way of their auth events.
            auth_chain = rooms::auth_chain(room_id: &str, events: &[String]) -> Result<Vec<String>, RoomsError>;
            /// Whether a server may take part in a room.
            acl_allows = rooms::acl_allows(room_id: &str, server: &str) -> Result<bool, RoomsError>;

            /// A local user's push rules as the content of `m.push_rules`.
            push_rules = push::rules(user: &str) -> Result<String, PushError>;
            /// Sets what one of a local user's push rules does; `actions` is a JSON array.
            set_push_actions = push::set_actions(user: &str, kind: &str, rule_id: &str, actions: &str) -> Result<(), PushError>;

            /// Presence of local users; those who never told any are left out.
            presence_of = presence::get(users: &[String]) -> Result<Vec<presence::Status>, PresenceError>;
            /// Sets a local user's presence.
            set_presence = presence::set(user: &str, presence: &str, status_msg: Option<&str>) -> Result<(), PresenceError>;

            /// Messages to a device have reached it.
            acknowledge_to_device = keys::acknowledge(user: &str, device: &str, position: u64) -> Result<(), KeysError>;
            /// Sends messages to devices of this server; `messages` as in `PUT /sendToDevice`.
            send_to_device = keys::send_to_device(sender: &str, kind: &str, id: &str, messages: &str) -> Result<(), KeysError>;
            /// Keys of users of this server: the answer of `POST /keys/query`.
            query_keys = keys::query(request: &str, viewer: Option<&str>) -> Result<String, KeysError>;
            /// One-time keys of devices of this server: the answer of `POST /keys/claim`.
            claim_keys = keys::claim(request: &str) -> Result<String, KeysError>;

            /// Decodes the picture in a blob and makes thumbnails of it.
            make_thumbnails = thumbnails::make(blob: &str, wishes: &[thumbnails::Wish]) -> Result<thumbnails::Picture, ThumbnailsError>;
        }
    };
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $interface:ident::$function:ident($($arg:ident: $ty:ty),*) -> $answer:ty;)*) => {
        /// Services of a [`crate::backend::Backend`], one method for each function.
        pub trait ServiceBackend {
            $($(#[$doc])* fn $name(&self, $($arg: $ty),*) -> $answer;)*
        }

        #[cfg(target_arch = "wasm32")]
        impl ServiceBackend for backend::wasm::Wasm {
            $(fn $name(&self, $($arg: $ty),*) -> $answer {
                $interface::$function($($arg),*)
            })*
        }

        $($(#[$doc])*
        ///
        /// # Errors
        /// See `wit/services`.
        pub fn $name($($arg: $ty),*) -> $answer {
            backend::with(|host| host.$name($($arg),*))
        })*
    };
}

every_service!(functions);
