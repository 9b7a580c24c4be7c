"""The rules of `im.vector.room.access_rules`, without anything of the host: values in, an objection or nothing out."""

ACCESS = "im.vector.room.access_rules"
RESTRICTED, UNRESTRICTED, DIRECT = "restricted", "unrestricted", "direct"
RULES = (RESTRICTED, UNRESTRICTED, DIRECT)

# Events that the rules are about; all others pass without a look at the room.
GUARDED = {
    ACCESS,
    "m.room.member",
    "m.room.third_party_invite",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
}
# What has to be known of the room to judge them.
NEEDED = [ACCESS, "m.room.member", "m.room.third_party_invite", "m.room.join_rules", "m.room.power_levels"]


class Objection(Exception):
    """Why something may not be; the text is for the client."""


def domain(user):
    """The server name in a user id."""
    return user.partition(":")[2].lower()


def rule_of(state):
    """The room's rule; rooms without one are restricted. `state`: (type, state key) → content."""
    rule = state.get((ACCESS, ""), {}).get("rule")
    return rule if rule in RULES else RESTRICTED


def check_creation(request, creator, forbidden):
    """Gives the body of `POST /createRoom` with the rule in it. Raises Objection."""
    direct = request.get("is_direct") is True
    initial = request.get("initial_state")
    initial = list(initial) if isinstance(initial, list) else []
    given = [e for e in initial if isinstance(e, dict) and e.get("type") == ACCESS and not e.get("state_key")]
    if given:
        content = given[-1].get("content")
        rule = content.get("rule") if isinstance(content, dict) else None
        if rule not in RULES:
            raise Objection(f"The rule must be one of {', '.join(RULES)}")
        if (rule == DIRECT) != direct:
            raise Objection("The rule `direct` is for direct rooms, and they have no other")
    else:
        rule = DIRECT if direct else RESTRICTED
        initial.append({"type": ACCESS, "state_key": "", "content": {"rule": rule}})

    joins = [e.get("content") for e in initial if isinstance(e, dict) and e.get("type") == "m.room.join_rules"]
    public = request.get("preset") == "public_chat" or any(
        isinstance(c, dict) and c.get("join_rule") == "public" for c in joins
    )
    if public and rule != RESTRICTED:
        raise Objection(f"A room with the rule `{rule}` cannot be public")
    invited = [user for user in request.get("invite") or [] if isinstance(user, str)]
    if rule == DIRECT and len(set(invited) - {creator}) + len(request.get("invite_3pid") or []) > 1:
        raise Objection("A direct room is for two")
    if rule == RESTRICTED:
        for user in [creator, *invited]:
            _check_domain(user, forbidden)
    return {**request, "initial_state": initial}


def check_event(event, state, forbidden):
    """Judges one event of a room with this state. Raises Objection."""
    kind, content = event.get("type"), event.get("content")
    content = content if isinstance(content, dict) else {}
    rule = rule_of(state)
    if kind == ACCESS:
        _check_change(rule if (ACCESS, "") in state else None, content.get("rule"), state)
    elif kind == "m.room.member":
        if content.get("membership") in ("invite", "join", "knock"):
            if rule == RESTRICTED:
                _check_domain(event.get("state_key", ""), forbidden)
            elif rule == DIRECT:
                _check_third(event.get("state_key", ""), content, state)
    elif kind == "m.room.third_party_invite":
        if rule == DIRECT and content and (_tokens(state) - {event.get("state_key")} or len(_members(state)) > 1):
            raise Objection("A direct room is for two")
    elif kind == "m.room.power_levels":
        if rule == UNRESTRICTED:
            _check_levels(content, forbidden)
    elif kind == "m.room.join_rules":
        if content.get("join_rule") == "public" and rule != RESTRICTED:
            raise Objection(f"A room with the rule `{rule}` cannot be public")
    elif kind in ("m.room.name", "m.room.avatar", "m.room.topic") and rule == DIRECT:
        raise Objection("A direct room has no name, avatar or topic")


def _check_domain(user, forbidden):
    if domain(user) in {name.lower() for name in forbidden}:
        raise Objection(f"Users of {domain(user)} cannot be in restricted rooms")


def _check_change(before, after, state):
    if after not in RULES:
        raise Objection(f"The rule must be one of {', '.join(RULES)}")
    if before is None or before == after:
        return
    if (before, after) != (RESTRICTED, UNRESTRICTED):
        raise Objection(f"The rule cannot change from `{before}` to `{after}`")
    if state.get(("m.room.join_rules", ""), {}).get("join_rule") == "public":
        raise Objection("A public room stays restricted")


def _check_third(target, content, state):
    members = _members(state)
    if target in members:
        return
    tokens = _tokens(state)
    signed = content.get("third_party_invite")
    signed = signed.get("signed") if isinstance(signed, dict) else None
    exchanged = isinstance(signed, dict) and signed.get("token") in tokens
    if len(members) > 1 or (tokens and not exchanged):
        raise Objection("A direct room is for two")


def _check_levels(content, forbidden):
    default = content.get("users_default", 0)
    if default != 0:
        raise Objection("Without restrictions nobody has power by default")
    users = content.get("users")
    names = {name.lower() for name in forbidden}
    for user, level in users.items() if isinstance(users, dict) else ():
        if domain(user) in names and level != default:
            raise Objection(f"Users of {domain(user)} cannot have power in rooms without restrictions")


def _members(state):
    """Whoever the room knows, those who left included: a direct room keeps its two."""
    return {key for kind, key in state if kind == "m.room.member"}


def _tokens(state):
    return {key for (kind, key), content in state.items() if kind == "m.room.third_party_invite" and content}
