//! The body of POST /createRoom.

use serde::Deserialize;
use serde_json::{Map, Value};
use tessera_sdk::crypto;
use tessera_sdk::matrix::Error;

use crate::api::membership::threepid::Invite3pid;
use crate::ids;

/// Most users that one request invites; each is an event in the first commit.
const MAX_INVITES: usize = 200;
/// Most pieces of initial state.
const MAX_STATE: usize = 100;

/// A piece of state to begin with.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StateWish {
    /// Event type.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// State key; empty if absent.
    #[serde(default)]
    pub(super) state_key: String,
    /// Content.
    pub(super) content: Map<String, Value>,
}

/// What a client asks for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CreateRoom {
    #[serde(default)]
    pub(super) creation_content: Map<String, Value>,
    #[serde(default)]
    pub(super) initial_state: Vec<StateWish>,
    #[serde(default)]
    pub(super) invite: Vec<String>,
    #[serde(default)]
    pub(super) invite_3pid: Vec<Invite3pid>,
    #[serde(default)]
    pub(super) is_direct: bool,
    pub(super) name: Option<String>,
    pub(super) power_level_content_override: Option<Map<String, Value>>,
    pub(super) preset: Option<String>,
    pub(super) room_alias_name: Option<String>,
    pub(super) room_version: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) visibility: Option<String>,
}

impl CreateRoom {
    /// Reads a request.
    ///
    /// # Errors
    /// `M_BAD_JSON`.
    pub(super) fn read(body: Map<String, Value>) -> Result<Self, Error> {
        serde_json::from_value(Value::Object(body))
            .map_err(|error| Error::bad_json(error.to_string()))
    }

    /// Checks what can be checked without looking.
    ///
    /// # Errors
    /// `M_INVALID_PARAM`.
    pub(super) fn check(&self, creator: &str) -> Result<(), Error> {
        if self.invite.len() + self.invite_3pid.len() > MAX_INVITES {
            return Err(Error::invalid_param(format!("more than {MAX_INVITES} invites")));
        }
        if self.initial_state.len() > MAX_STATE {
            return Err(Error::invalid_param(format!(
                "more than {MAX_STATE} pieces of initial state"
            )));
        }
        for user in &self.invite {
            ids::user(user)?;
            if user == creator {
                return Err(Error::invalid_param("the creator cannot be invited"));
            }
        }
        for invite in &self.invite_3pid {
            invite.check()?;
        }
        let own = ["m.room.create", "m.room.member"];
        if let Some(state) = self.initial_state.iter().find(|s| own.contains(&s.kind.as_str())) {
            return Err(Error::invalid_param(format!("{} cannot be initial state", state.kind)));
        }
        self.preset_name().map(|_| ())
    }

    /// Whether it is to be listed in the public directory.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` for another visibility than `public` and `private`.
    pub(super) fn is_published(&self) -> Result<bool, Error> {
        match self.visibility.as_deref() {
            None | Some("private") => Ok(false),
            Some("public") => Ok(true),
            Some(other) => Err(Error::invalid_param(format!("visibility {other:?} is unknown"))),
        }
    }

    /// The preset, by default after the visibility.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if there is none of this name.
    pub(super) fn preset_name(&self) -> Result<&str, Error> {
        match self.preset.as_deref() {
            Some(name @ ("private_chat" | "trusted_private_chat" | "public_chat")) => Ok(name),
            Some(other) => Err(Error::invalid_param(format!("preset {other:?} is unknown"))),
            None if self.is_published()? => Ok("public_chat"),
            None => Ok("private_chat"),
        }
    }

    /// The whole alias that `room_alias_name` stands for.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if that is no alias.
    pub(super) fn alias(&self) -> Result<Option<String>, Error> {
        let Some(name) = &self.room_alias_name else {
            return Ok(None);
        };
        if name.contains(':') {
            return Err(Error::invalid_param("room_alias_name is without server name"));
        }
        let alias = format!("#{name}:{}", crypto::tenant_name());
        ids::alias(&alias)?;
        Ok(Some(alias))
    }
}
