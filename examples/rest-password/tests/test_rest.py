import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rest  # noqa: E402

CONFIG = {"endpoint": "http://id.example.org:8090/", "sole": False}
USER = "@alice:hs1"


def said(**auth):
    return json.dumps({"auth": auth}).encode()


class Question(unittest.TestCase):
    def test_user_and_password_go_to_the_path_of_the_protocol(self):
        url, body = rest.question(CONFIG, USER, "päss")
        self.assertEqual(url, "http://id.example.org:8090/_matrix-internal/identity/v1/check_credentials")
        self.assertEqual(json.loads(body), {"user": {"id": USER, "password": "päss"}})


class Answer(unittest.TestCase):
    def test_yes_brings_the_display_name(self):
        body = said(success=True, mxid=USER, profile={"display_name": "Alice"})
        self.assertEqual(rest.answer(USER, 200, body), {"displayname": "Alice"})

    def test_yes_may_be_short(self):
        self.assertEqual(rest.answer(USER, 200, said(success=True)), {"displayname": None})
        self.assertEqual(rest.answer(USER, 200, said(success=True, profile=None)), {"displayname": None})

    def test_no_is_no(self):
        self.assertIsNone(rest.answer(USER, 200, said(success=False)))

    def test_only_true_is_yes(self):
        self.assertIsNone(rest.answer(USER, 200, said(success="true")))

    def test_yes_to_another_user_is_none(self):
        with self.assertRaises(rest.Unusable):
            rest.answer(USER, 200, said(success=True, mxid="@bob:hs1"))

    def test_anything_else_is_no_answer(self):
        for status, body in [(500, said(success=True)), (200, b"<html>"), (200, b"{}"), (200, b'{"auth": 7}')]:
            with self.subTest(body=body), self.assertRaises(rest.Unusable):
                rest.answer(USER, status, body)


class Configuration(unittest.TestCase):
    def test_endpoint_must_be_a_url(self):
        self.assertIsNone(rest.complaint(CONFIG))
        self.assertIn("endpoint", rest.complaint({}))
        self.assertIn("endpoint", rest.complaint({"endpoint": "id.example.org"}))


if __name__ == "__main__":
    unittest.main()
