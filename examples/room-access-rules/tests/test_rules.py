import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rules  # noqa: E402
from rules import Objection  # noqa: E402

ALICE, BOB, CAROL, STRANGER = "@alice:hs1", "@bob:hs1", "@carol:hs1", "@eve:bad.example.org"
FORBIDDEN = ["bad.example.org"]


def room(rule, members=(ALICE,)):
    state = {("m.room.member", user): {"membership": "join"} for user in members}
    if rule:
        state[(rules.ACCESS, "")] = {"rule": rule}
    return state


def invite(user, **content):
    return {"type": "m.room.member", "state_key": user, "content": {"membership": "invite", **content}}


def event(kind, key="", **content):
    return {"type": kind, "state_key": key, "content": content}


class Rules(unittest.TestCase):
    def passes(self, event, state):
        rules.check_event(event, state, FORBIDDEN)

    def fails(self, event, state, text=""):
        with self.assertRaises(Objection) as caught:
            rules.check_event(event, state, FORBIDDEN)
        self.assertIn(text, str(caught.exception))

    def test_restricted_room_keeps_a_server_out(self):
        self.fails(invite(STRANGER), room("restricted"), "bad.example.org")
        self.passes(invite(BOB), room("restricted"))

    def test_room_without_a_rule_is_restricted(self):
        self.fails(invite(STRANGER), room(None))

    def test_whoever_is_kept_out_may_leave(self):
        self.passes(event("m.room.member", STRANGER, membership="leave"), room("restricted"))

    def test_unrestricted_room_takes_anybody_but_gives_them_no_power(self):
        self.passes(invite(STRANGER), room("unrestricted"))
        self.fails(event("m.room.power_levels", users={STRANGER: 50}), room("unrestricted"))
        self.fails(event("m.room.power_levels", users_default=50), room("unrestricted"))
        self.passes(event("m.room.power_levels", users={ALICE: 100, STRANGER: 0}), room("unrestricted"))

    def test_direct_room_is_for_two(self):
        self.passes(invite(BOB), room("direct"))
        self.fails(invite(CAROL), room("direct", (ALICE, BOB)), "two")
        self.passes(event("m.room.member", BOB, membership="join"), room("direct", (ALICE, BOB)))

    def test_invite_by_mail_takes_the_second_place(self):
        state = room("direct") | {("m.room.third_party_invite", "token"): {"display_name": "b…"}}
        self.fails(invite(CAROL), state)
        self.fails(event("m.room.third_party_invite", "other", display_name="c…"), state)
        self.passes(invite(BOB, third_party_invite={"signed": {"token": "token"}}), state)

    def test_direct_room_has_no_name(self):
        for kind in ("m.room.name", "m.room.avatar", "m.room.topic"):
            self.fails(event(kind), room("direct"))
            self.passes(event(kind), room("restricted"))

    def test_only_restricted_rooms_are_public(self):
        self.passes(event("m.room.join_rules", join_rule="public"), room("restricted"))
        self.fails(event("m.room.join_rules", join_rule="public"), room("unrestricted"))

    def test_rule_changes_one_way_only(self):
        self.passes(event(rules.ACCESS, rule="unrestricted"), room("restricted"))
        self.fails(event(rules.ACCESS, rule="restricted"), room("unrestricted"))
        self.fails(event(rules.ACCESS, rule="direct"), room("restricted"))
        self.fails(event(rules.ACCESS, rule="open"), room(None), "one of")
        self.passes(event(rules.ACCESS, rule="direct"), room(None))

    def test_public_room_stays_restricted(self):
        self.fails(event(rules.ACCESS, rule="unrestricted"), room("restricted") | {("m.room.join_rules", ""): {"join_rule": "public"}})


class Creation(unittest.TestCase):
    def made(self, **request):
        made = rules.check_creation(request, ALICE, FORBIDDEN)
        return next(e["content"]["rule"] for e in made["initial_state"] if e["type"] == rules.ACCESS)

    def fails(self, **request):
        with self.assertRaises(Objection):
            rules.check_creation(request, ALICE, FORBIDDEN)

    def test_rule_is_added(self):
        self.assertEqual(self.made(), "restricted")
        self.assertEqual(self.made(is_direct=True, invite=[BOB]), "direct")

    def test_given_rule_stays(self):
        given = [{"type": rules.ACCESS, "content": {"rule": "unrestricted"}}]
        self.assertEqual(self.made(initial_state=given, invite=[STRANGER]), "unrestricted")

    def test_what_the_rule_forbids_is_refused_at_once(self):
        given = [{"type": rules.ACCESS, "content": {"rule": "unrestricted"}}]
        self.fails(initial_state=given, preset="public_chat")
        self.fails(initial_state=[{"type": rules.ACCESS, "content": {"rule": "direct"}}])
        self.fails(initial_state=[{"type": rules.ACCESS, "content": {}}])
        self.fails(invite=[STRANGER])
        self.fails(is_direct=True, invite=[BOB, CAROL])

    def test_rest_of_the_request_stays(self):
        made = rules.check_creation({"name": "x", "initial_state": [{"type": "a"}]}, ALICE, FORBIDDEN)
        self.assertEqual((made["name"], made["initial_state"][0]), ("x", {"type": "a"}))


if __name__ == "__main__":
    unittest.main()
