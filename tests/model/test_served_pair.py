"""Base and tuned as two servers write them, word by word: what is shown, and what a failure says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product

import pytest

from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.model.chat import messages
from lib.model.served_pair import served_reply, stream_served_pair

TURNS = messages("Reply to: {tweet}", "my bike broke")
SAMPLING = SamplingConfig(max_new_tokens=40)


def words(*pieces):
    return [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]


@pytest.fixture
def server():
    """Two models: says[name] is the events of its stream, or the whole answer."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            events = server.says[body["model"]]
            if isinstance(events, int):
                self.send_error(events)
                return
            self.send_response(200)
            self.end_headers()
            if not body.get("stream"):
                self.wfile.write(json.dumps(events).encode())
                return
            for event in events:
                said = event if isinstance(event, str) else json.dumps(event)
                self.wfile.write(f": a comment\ndata: {said}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.says = True, {}
    server.handle_error = lambda *_: None  # a client that has heard an error hangs up
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def arms(server):
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return {name: ArmConfig(base_url=url, model=f"{name}-model") for name in ("tuned", "base")}


def shown(server):
    return list(stream_served_pair(arms(server), TURNS, SAMPLING))


def test_base_stands_before_tuned_and_both_grow_to_their_whole_replies(server):
    server.says = {"base-model": words("So", " it", " goes."), "tuned-model": words("Fix", " it!")}
    pairs = shown(server)
    assert pairs[-1] == ("So it goes.", "Fix it!")
    bases, tuneds = ("", "So", "So it", "So it goes."), ("", "Fix", "Fix it!")
    assert set(pairs) <= set(product(bases, tuneds))
    assert len(pairs) == 3 + 2 + 1


def test_thoughts_and_control_tokens_are_never_shown(server):
    thinking = words("<think>", "a secret", "</think>", "Aloud", "<|im_end|>")
    server.says = {"base-model": thinking, "tuned-model": words("Fine.")}
    pairs = shown(server)
    assert pairs[-1] == ("Aloud", "Fine.") and "secret" not in str(pairs) and "think" not in str(pairs)


@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize(
    "events, says",
    [
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        ([*words("So"), {"error": "out of memory"}], "out of memory"),
        (["<html>"], "sent what is no JSON"),
        (404, "status 404"),
        (500, "status 500"),
    ],
)
def test_the_arm_whose_server_fails_is_named(server, arm, events, says):
    server.says = {"base-model": words("Fine."), "tuned-model": words("Fine.")} | {f"{arm}-model": events}
    with pytest.raises(UserError, match=rf"Arm {arm}: .*{says}"):
        shown(server)


def test_a_whole_reply_is_that_of_the_arm_that_is_asked(server):
    def whole(text):
        return {"choices": [{"message": {"content": text}}]}

    server.says = {"base-model": whole("<think>hm</think>So it goes."), "tuned-model": whole("Fix it!")}
    assert served_reply(arms(server), "base", TURNS, SAMPLING) == "So it goes."
    assert served_reply(arms(server), "tuned", TURNS, SAMPLING) == "Fix it!"
