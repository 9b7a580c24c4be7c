"""The protocol of matrix-synapse-rest-password-provider, without anything of the host."""

import json

PATH = "/_matrix-internal/identity/v1/check_credentials"


class Unusable(Exception):
    """The service gave no answer that means anything."""


def complaint(config):
    """What is wrong with a configuration, or None."""
    if not config.get("endpoint", "").startswith(("http://", "https://")):
        return "endpoint must be an http or https URL"
    return None


def question(config, user, password):
    """URL and body of the request that asks whether a password is a user's."""
    url = config["endpoint"].rstrip("/") + PATH
    return url, json.dumps({"user": {"id": user, "password": password}})


def answer(user, status, body):
    """What the service said: None for no, else a dict with the `displayname` (or None).

    Raises Unusable where it said neither.
    """
    if status != 200:
        raise Unusable(f"status {status}")
    try:
        auth = json.loads(body)["auth"]
        success = auth["success"]
    except (ValueError, KeyError, TypeError):
        raise Unusable("no `auth.success` in the answer") from None
    if success is not True:
        return None
    # The service may know the user by another name, but it must not let them in as somebody else.
    if auth.get("mxid", user) != user:
        raise Unusable("the answer is about another user")
    profile = auth.get("profile")
    name = profile.get("display_name") if isinstance(profile, dict) else None
    return {"displayname": name if isinstance(name, str) and name else None}
