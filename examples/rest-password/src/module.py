"""The login hook of the server in, a question to the service out."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.login import Accepted, LoginType, Verdict_Accept, Verdict_Reject
from wit_world.imports import config, fetch, log

import rest

KIND = "m.login.password"


def _config():
    return json.loads(config.get())


class Lifecycle(exports.Lifecycle):
    def start(self):
        wrong = rest.complaint(_config())
        if wrong:
            raise Err(wrong)


class Login(exports.Login):
    def login_types(self):
        return [LoginType(KIND, ["password"])]

    def check_auth(self, attempt):
        if attempt.kind != KIND or attempt.user is None:
            return None
        password = json.loads(attempt.fields).get("password")
        if not isinstance(password, str):
            return None
        settings = _config()
        try:
            url, body = rest.question(settings, attempt.user, password)
            known = rest.answer(attempt.user, *_post(url, body, settings["timeout-ms"]))
        except rest.Unusable as error:
            log.write(log.Level.WARN, "the password service is no help", [("reason", str(error))])
            return None
        if known is not None:
            return Verdict_Accept(Accepted(attempt.user, known["displayname"], None))
        return Verdict_Reject() if settings["sole"] else None


def _post(url, body, timeout_ms):
    request = fetch.Request(
        "POST",
        url,
        [("content-type", "application/json")],
        fetch.Body_Bytes(body.encode()),
        timeout_ms,
        0,
        None,
        None,
        False,
    )
    try:
        response = fetch.send(request)
    except Err as error:
        raise rest.Unusable(repr(error.value)) from None
    return response.status, response.body.value if isinstance(response.body, fetch.Body_Bytes) else b""
