//! Every hook, answered so that it lets all pass but what says "compat".

use crate::{
    Module,
    bindings::{
        exports::tessera::hooks::{
            account_policy, account_rules, account_validity, background_pace, directory_policy,
            event_policy, event_rules, login, media_limits, media_policy, presence_routes,
            presentation, rate_limits, registration_names, room_policy, room_rules,
        },
        tessera::hooks::types::{Objection, Profile, Refusal, RequestInfo, Requester, Threepid},
    },
};

fn refusal() -> Refusal {
    Refusal {
        status: 403,
        errcode: "M_FORBIDDEN".to_owned(),
        error: "compat-v0-1 said no".to_owned(),
    }
}

fn unless(said: bool) -> Result<(), Refusal> {
    match said {
        true => Err(refusal()),
        false => Ok(()),
    }
}

impl event_policy::Guest for Module {
    fn check_event(event: String, _origin: event_policy::Origin) -> Result<(), Objection> {
        unless(event.contains("compat: no")).map_err(Objection::Refuse)
    }
}

impl event_rules::Guest for Module {
    fn check_allowed(
        content: String,
        _event: String,
        _context: event_rules::Context,
    ) -> Result<Option<String>, Refusal> {
        unless(content.contains("compat: forbidden"))?;
        Ok(content
            .contains("compat: change")
            .then(|| content.replace("compat: change", "compat: changed")))
    }
}

impl presentation::Guest for Module {
    fn unsigned_fields(events: Vec<String>, _viewer: String) -> Vec<presentation::Field> {
        let field = |(n, _): (usize, &String)| presentation::Field {
            event: u32::try_from(n).unwrap_or(u32::MAX),
            name: "com.example.compat".to_owned(),
            value: "true".to_owned(),
        };
        events
            .iter()
            .enumerate()
            .filter(|(_, event)| event.contains("compat: field"))
            .map(field)
            .collect()
    }
}

impl room_policy::Guest for Module {
    fn may_join(_who: Requester, _room_id: String, _invited: bool) -> Result<(), Refusal> {
        Ok(())
    }

    fn may_invite(_who: Requester, invitee: String, _room_id: String) -> Result<(), Refusal> {
        unless(invitee.starts_with("@compat-no:"))
    }

    fn may_be_invited(invitee: String, _event: String) -> Result<(), Refusal> {
        unless(invitee.starts_with("@compat-no:"))
    }

    fn may_invite_threepid(
        _who: Requester,
        invitee: Threepid,
        _room_id: String,
    ) -> Result<(), Refusal> {
        unless(invitee.address.contains("compat-no"))
    }

    fn may_create_alias(_who: Requester, alias: String, _room_id: String) -> Result<(), Refusal> {
        unless(alias.starts_with("#compat-no:"))
    }

    fn may_publish(_who: Requester, _room_id: String) -> Result<(), Refusal> {
        Ok(())
    }

    fn may_send_state(
        _who: Requester,
        _room_id: String,
        kind: String,
        _state_key: String,
        _content: String,
    ) -> Result<(), Refusal> {
        unless(kind == "com.example.compat.no")
    }
}

impl room_rules::Guest for Module {
    fn create_room(request: String, _who: Requester) -> Result<Option<String>, Refusal> {
        unless(request.contains("compat: no room"))?;
        Ok(None)
    }

    fn threepid_can_be_invited(invitee: Threepid, _room_id: String) -> Result<(), Refusal> {
        unless(invitee.address.contains("compat-no"))
    }

    fn visibility_can_be_modified(
        _who: Requester,
        _room_id: String,
        _visibility: String,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    fn can_shut_down(_who: Requester, _room_id: String) -> Result<(), Refusal> {
        Ok(())
    }
}

impl account_policy::Guest for Module {
    fn check_registration(
        registration: account_policy::Registration,
        _requests: Vec<RequestInfo>,
    ) -> Result<(), account_policy::RegistrationObjection> {
        let no = registration.username.is_some_and(|name| name == "compat-no");
        unless(no).map_err(account_policy::RegistrationObjection::Refuse)
    }

    fn check_login(login: account_policy::Login, _request: RequestInfo) -> Result<(), Refusal> {
        unless(login.device_name.is_some_and(|name| name == "compat: no"))
    }
}

impl account_rules::Guest for Module {
    fn can_deactivate(user: String, _who: Requester, _by_admin: bool) -> Result<(), Refusal> {
        unless(user.starts_with("@compat-stays:"))
    }

    fn threepid_allowed(_threepid: Threepid, _registering: bool) -> Result<(), Refusal> {
        Ok(())
    }
}

impl login::Guest for Module {
    fn login_types() -> Vec<login::LoginType> {
        vec![login::LoginType {
            kind: "com.example.compat".to_owned(),
            fields: vec!["compat".to_owned()],
        }]
    }

    fn check_auth(attempt: login::Attempt) -> Option<login::Verdict> {
        if attempt.kind != "com.example.compat" {
            return None;
        }
        match (attempt.user, attempt.fields.contains("compat secret")) {
            (Some(user), true) => Some(login::Verdict::Accept(login::Accepted {
                user,
                displayname: Some("Compat".to_owned()),
                extra: Some("{\"com.example.compat\":true}".to_owned()),
            })),
            _ => Some(login::Verdict::Reject),
        }
    }
}

impl registration_names::Guest for Module {
    fn username(_stages: String, _body: String) -> Option<String> {
        None
    }

    fn displayname(_stages: String, _body: String) -> Option<String> {
        Some("Named by compat".to_owned())
    }
}

impl account_validity::Guest for Module {
    fn is_expired(user: String) -> Option<bool> {
        user.starts_with("@compat-expired:").then_some(true)
    }
}

impl rate_limits::Guest for Module {
    fn overrides(_user: String) -> Vec<rate_limits::Override> {
        vec![rate_limits::Override { class: "messages".to_owned(), per_second: 0.0, burst: 1 }]
    }
}

impl directory_policy::Guest for Module {
    fn hide(profiles: Vec<Profile>, _viewer: String) -> Vec<String> {
        profiles
            .into_iter()
            .map(|profile| profile.user)
            .filter(|user| user.contains("compat-no"))
            .collect()
    }
}

impl presence_routes::Guest for Module {
    fn routes(_states: Vec<presence_routes::State>) -> Vec<presence_routes::Route> {
        Vec::new()
    }

    fn interests(_user: String) -> Vec<String> {
        Vec::new()
    }
}

impl media_policy::Guest for Module {
    fn check_media(_file: media_policy::File, _who: Option<Requester>) -> Result<(), Refusal> {
        Ok(())
    }
}

impl media_limits::Guest for Module {
    fn config(_user: String) -> Option<String> {
        None
    }

    fn may_upload(_user: String, _bytes: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn upload_limits(_user: String) -> Option<Vec<media_limits::Limit>> {
        None
    }

    fn limit_exceeded(_user: String, _bytes: u64, _limit: media_limits::Limit) {}
}

impl background_pace::Guest for Module {
    fn next(_job: String, _items: u32, _took_ms: u32) -> Option<background_pace::Pace> {
        None
    }
}
