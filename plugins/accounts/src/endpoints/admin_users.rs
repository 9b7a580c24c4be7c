//! `/_synapse/admin/v2/users`: users as a list and one by one.
//!
//! Not in the Matrix specification; dashboards and test suites speak it.
//! https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::admin::list::{self, Deactivated};
use crate::admin::{self, change, user};
use crate::uia::Object;
use crate::{ids, registration, threepids};

/// `GET /v2/users`: deactivated ones only if they are asked for. `M_INVALID_PARAM`.
pub fn list(request: &Request) -> Result {
    admin::only(request)?;
    Answer::json(&list::page(request, Deactivated::Adds)?)
}

/// `GET /v3/users`: deactivated ones, too, unless they are not wanted, or nobody else is. `M_INVALID_PARAM`.
pub fn list_v3(request: &Request) -> Result {
    admin::only(request)?;
    Answer::json(&list::page(request, Deactivated::Only)?)
}

/// `GET /v2/users/{userId}`. `M_NOT_FOUND`, `M_INVALID_PARAM`.
pub fn get(request: &Request) -> Result {
    Answer::json(&change::now(admin::target(request)?)?)
}

/// `PUT /v2/users/{userId}`: makes a user (201) or changes one (200). Errors as for [`change::Wish`].
pub fn put(request: &Request) -> Result {
    admin::only(request)?;
    let target = admin::local(request.param("userId"))?;
    let body: Object = request.json()?;
    let wish = change::Wish::read(&body)?;
    let status = match user::find(target)? {
        Some(now) => {
            wish.change(target, &now, request)?;
            200
        }
        None => {
            wish.make(target, request)?;
            201
        }
    };
    Answer::json_with_status(status, &change::now(target)?)
}

/// `GET /v1/username_available`: whether a name is free, whoever may register. `M_MISSING_PARAM`, `M_INVALID_USERNAME`, `M_USER_IN_USE`.
pub fn available(request: &Request) -> Result {
    admin::only(request)?;
    let name = request.query("username");
    let name = name.ok_or_else(|| Error::missing_param("username is missing"))?;
    registration::free(&ids::small(name))?;
    Answer::json(&json!({ "available": true }))
}

/// `GET /v1/threepid/{medium}/users/{address}`: whose address it is. `M_NOT_FOUND`.
pub fn by_address(request: &Request) -> Result {
    admin::only(request)?;
    let medium = request.param("medium");
    let address = threepids::canonical(medium, request.param("address"));
    match threepids::owner(medium, &address)? {
        Some(user) => Answer::json(&json!({ "user_id": user })),
        None => Err(Error::not_found("this address is nobody's")),
    }
}

/// `GET /v1/server_version`: for everybody, so that dashboards know before they log in.
pub fn version(_: &Request) -> Result {
    Answer::json(&json!({ "server_version": concat!("Tessera ", env!("CARGO_PKG_VERSION")) }))
}
