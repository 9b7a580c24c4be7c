//! Asking modules: one function for each of `tessera:hooks`. The host asks every module that answers and makes one
//! answer of theirs; where nobody answers, the answer is the neutral one (allowed, no opinion, nothing to add).
//!
//! To answer a hook, see [`crate::module`].

use crate::backend;
pub use crate::bindings::hook_caller::tessera::hooks::{
    account_policy, account_rules, account_validity, background_pace, directory_policy,
    event_policy, event_rules, login, media_limits, media_policy, presence_routes, presentation,
    rate_limits, registration_names, room_policy, room_rules, types,
};
pub use types::{Objection, Profile, Refusal, RequestInfo, Requester, Threepid};

/// Gives the table of all hook functions to the macro `$then`: what this crate and the test host make their methods of.
#[doc(hidden)]
#[macro_export]
macro_rules! every_hook {
    ($then:ident) => {
        $then! {
            /// Whether an event may be; it is JSON, complete but unsigned.
            check_event = event_policy::check_event(event: &str, origin: &event_policy::Origin) -> Result<(), Objection>;
            /// Whether an event may say this; some: another content instead.
            check_allowed = event_rules::check_allowed(content: &str, event: &str, context: &event_rules::Context) -> Result<Option<String>, Refusal>;
            /// Fields for the `unsigned` of events that `viewer` will see; at most 200 events.
            unsigned_fields = presentation::unsigned_fields(events: &[String], viewer: &str) -> Vec<presentation::Field>;

            /// Whether a user may join a room.
            may_join = room_policy::may_join(who: &Requester, room_id: &str, invited: bool) -> Result<(), Refusal>;
            /// Whether a user may invite another.
            may_invite = room_policy::may_invite(who: &Requester, invitee: &str, room_id: &str) -> Result<(), Refusal>;
            /// Whether a local user may be invited from another server; `event` is JSON.
            may_be_invited = room_policy::may_be_invited(invitee: &str, event: &str) -> Result<(), Refusal>;
            /// Whether a user may invite somebody by an identifier.
            may_invite_threepid = room_policy::may_invite_threepid(who: &Requester, invitee: &Threepid, room_id: &str) -> Result<(), Refusal>;
            /// Whether a user may give a room an alias.
            may_create_alias = room_policy::may_create_alias(who: &Requester, alias: &str, room_id: &str) -> Result<(), Refusal>;
            /// Whether a user may put a room into the public list.
            may_publish = room_policy::may_publish(who: &Requester, room_id: &str) -> Result<(), Refusal>;
            /// Whether a user may send this state event; `content` is JSON.
            may_send_state = room_policy::may_send_state(who: &Requester, room_id: &str, kind: &str, state_key: &str, content: &str) -> Result<(), Refusal>;

            /// Whether a room may be created; some: another request instead (JSON).
            create_room = room_rules::create_room(request: &str, who: &Requester) -> Result<Option<String>, Refusal>;
            /// Whether an identifier may be invited to a room.
            threepid_can_be_invited = room_rules::threepid_can_be_invited(invitee: &Threepid, room_id: &str) -> Result<(), Refusal>;
            /// Whether a room may become `public` or `private` in the public list.
            visibility_can_be_modified = room_rules::visibility_can_be_modified(who: &Requester, room_id: &str, visibility: &str) -> Result<(), Refusal>;
            /// Whether a user may shut a room down.
            can_shut_down = room_rules::can_shut_down(who: &Requester, room_id: &str) -> Result<(), Refusal>;

            /// Whether an account may be made.
            check_registration = account_policy::check_registration(registration: &account_policy::Registration, requests: &[RequestInfo]) -> Result<(), account_policy::RegistrationObjection>;
            /// Whether a user whose credentials proved right may log in.
            check_login = account_policy::check_login(login: &account_policy::Login, request: &RequestInfo) -> Result<(), Refusal>;
            /// Whether an account may be deactivated.
            can_deactivate = account_rules::can_deactivate(user: &str, who: &Requester, by_admin: bool) -> Result<(), Refusal>;
            /// Whether an identifier may be bound to an account.
            threepid_allowed = account_rules::threepid_allowed(threepid: &Threepid, registering: bool) -> Result<(), Refusal>;
            /// Login types that modules check.
            login_types = login::login_types() -> Vec<login::LoginType>;
            /// What modules say of credentials; none: no opinion.
            check_auth = login::check_auth(attempt: &login::Attempt) -> Option<login::Verdict>;
            /// The localpart that a module chooses for a new user.
            new_username = registration_names::username(stages: &str, body: &str) -> Option<String>;
            /// The display name that a module chooses for a new user.
            new_displayname = registration_names::displayname(stages: &str, body: &str) -> Option<String>;
            /// Whether an account has run out; none: no opinion.
            is_expired = account_validity::is_expired(user: &str) -> Option<bool>;
            /// Rates of one user in place of the descriptor's.
            rate_overrides = rate_limits::overrides(user: &str) -> Vec<rate_limits::Override>;
            /// Who is to be hidden from `viewer` in the user directory; at most 200 profiles.
            hide_from_directory = directory_policy::hide(profiles: &[Profile], viewer: &str) -> Vec<String>;

            /// Where changed presence goes beside those who share a room; at most 200 states.
            presence_routes = presence_routes::routes(states: &[presence_routes::State]) -> Vec<presence_routes::Route>;
            /// Whose presence a user wants to know beside those with whom they share a room.
            presence_interests = presence_routes::interests(user: &str) -> Vec<String>;

            /// Whether a file may be served.
            check_media = media_policy::check_media(file: &media_policy::File, who: Option<&Requester>) -> Result<(), Refusal>;
            /// The answer of `GET /media/config` for a user, JSON; none: no opinion.
            media_config = media_limits::config(user: &str) -> Option<String>;
            /// Whether a user may upload this many bytes.
            may_upload = media_limits::may_upload(user: &str, bytes: u64) -> Result<(), Refusal>;
            /// A user's limits of uploads; none: the server's.
            upload_limits = media_limits::upload_limits(user: &str) -> Option<Vec<media_limits::Limit>>;
            /// Tells that an upload was refused by a limit.
            upload_limit_exceeded = media_limits::limit_exceeded(user: &str, bytes: u64, limit: media_limits::Limit) -> ();

            /// The pace of a job's next batch; none: its own.
            background_pace = background_pace::next(job: &str, items: u32, took_ms: u32) -> Option<background_pace::Pace>;
        }
    };
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $interface:ident::$function:ident($($arg:ident: $ty:ty),*) -> $answer:ty;)*) => {
        /// Hooks of a [`crate::backend::Backend`], one method for each function.
        pub trait HookBackend {
            $($(#[$doc])* fn $name(&self, $($arg: $ty),*) -> $answer;)*
        }

        #[cfg(target_arch = "wasm32")]
        impl HookBackend for backend::wasm::Wasm {
            $(fn $name(&self, $($arg: $ty),*) -> $answer {
                $interface::$function($($arg),*)
            })*
        }

        $($(#[$doc])*
        pub fn $name($($arg: $ty),*) -> $answer {
            backend::with(|host| host.$name($($arg),*))
        })*
    };
}

every_hook!(functions);

/// Whether any module of this tenant answers a hook that the plug-in imports, such as `tessera:hooks/presentation`. Where
/// none does, the parameters need not be made.
pub fn answered(hook: &str) -> bool {
    backend::with(|host| host.answered(hook))
}
