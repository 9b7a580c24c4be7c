"""Hooks of the server in, the rules out."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import config, rooms
from wit_world.imports.types import Refusal

import rules


def _forbidden():
    return json.loads(config.get())["domains-forbidden-when-restricted"]


def _refuse(objection):
    return Err(Refusal(403, "M_FORBIDDEN", str(objection)))


class Lifecycle(exports.Lifecycle):
    def start(self):
        _forbidden()


class RoomRules(exports.RoomRules):
    def create_room(self, request, who):
        try:
            return json.dumps(rules.check_creation(json.loads(request), who.user, _forbidden()))
        except rules.Objection as objection:
            raise _refuse(objection) from None

    def threepid_can_be_invited(self, invitee, room_id):
        pass

    def visibility_can_be_modified(self, who, room_id, visibility):
        pass

    def can_shut_down(self, who, room_id):
        pass


class EventRules(exports.EventRules):
    def check_allowed(self, content, event, context):
        event = json.loads(event)
        if event.get("type") not in rules.GUARDED:
            return None
        state = _state(context.room_id)
        if state is None:
            return None
        try:
            rules.check_event({**event, "content": json.loads(content)}, state, _forbidden())
        except rules.Objection as objection:
            raise _refuse(objection) from None
        return None


def _state(room_id):
    """(type, state key) → content; None while the room is being made, which `create_room` has judged as a whole."""
    try:
        events = rooms.state(room_id, rules.NEEDED)
    except Err as error:
        if isinstance(error.value, rooms.Error_NotFound):
            return None
        raise RuntimeError(f"the room cannot be read: {error.value}") from None
    parsed = map(json.loads, events)
    return {(event["type"], event["state_key"]): event["content"] for event in parsed}
