//! What modules say of events of other servers. Nobody is told: what is refused is kept and not shown, as other
//! servers have it in their graphs.

use ruma::state_res::Event as _;
use tessera_sdk::hooks::event_policy::Origin;
use tessera_sdk::hooks::event_rules::Context;
use tessera_sdk::hooks::{self, Objection, Refusal, RequestInfo};
use tessera_sdk::matrix::Error;

use super::look::Look;
use crate::core::incoming::Incoming;
use crate::ids;

const ROOM_POLICY: &str = "tessera:hooks/room-policy";
const EVENT_POLICY: &str = "tessera:hooks/event-policy";
const EVENT_RULES: &str = "tessera:hooks/event-rules";

/// Whether there is anybody to ask.
pub(super) fn asks() -> bool {
    [ROOM_POLICY, EVENT_POLICY, EVENT_RULES].iter().any(|hook| hooks::answered(hook))
}

/// Asks; the error is why the event is not to be shown.
pub(super) fn ask(look: &Look, incoming: &Incoming) -> Result<Result<(), String>, Error> {
    let event = &incoming.event;
    let request =
        RequestInfo { id: String::new(), remote: String::new(), user_agent: String::new() };
    let reason = |refusal: Refusal| Error::from(refusal).message().to_owned();
    if let (Some(user), Some("invite")) = (event.state_key(), event.membership().as_deref())
        && event.kind() == "m.room.member"
        && ids::is_local(user)
        && hooks::answered(ROOM_POLICY)
        && let Err(refusal) = hooks::may_be_invited(user, &incoming.json)
    {
        return Ok(Err(reason(refusal)));
    }
    if hooks::answered(EVENT_POLICY) {
        let origin = Origin {
            sender: event.sender().to_string(),
            room_id: look.room.room_id.clone(),
            local: false,
            admin: false,
            request: request.clone(),
        };
        match hooks::check_event(&incoming.json, &origin) {
            Ok(()) => {}
            Err(Objection::Refuse(refusal)) => return Ok(Err(reason(refusal))),
            Err(Objection::Pretend) => return Ok(Err("a module wants it hidden".to_owned())),
        }
    }
    if hooks::answered(EVENT_RULES) {
        let room_id = &look.room.room_id;
        let context = Context {
            room_id: room_id.clone(),
            room_version: look.room.version.name().to_owned(),
            sender: event.sender().to_string(),
            local: false,
            admin: false,
            auth_state: look.auth.iter().map(|event| event.to_client(room_id)).collect(),
            request,
        };
        let content = event.content().get();
        match hooks::check_allowed(content, &incoming.json, &context) {
            Ok(None) => {}
            // Another content would break its signature.
            Ok(Some(changed)) if changed == content => {}
            Ok(Some(_)) => return Ok(Err("a module wants another content".to_owned())),
            Err(refusal) => return Ok(Err(reason(refusal))),
        }
    }
    Ok(Ok(()))
}
