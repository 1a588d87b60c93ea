"""A loopback server that behaves like vLLM, llama-server and Ollama do: /v1/models and /v1/chat/completions,
two arms, faults on demand.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.eval_data import IGNORED, LIKED


class OpenAIStub(ThreadingHTTPServer):
    """Answers `<model> says: <last words of the tweet> #<n of turns>`; two models differ, one model repeats
    itself.

    faults: what to do with the next chat requests, first in first out: a status, "drop" (close the connection
    without an answer), ("429", "2") (status and Retry-After), "html" (200, but a web page). Fill it after the
    health check has passed.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        models=("base-model", "tuned-model"),
        key=None,
        logprobs=True,
        think=False,
        same=False,
        delay=0.0,
        varied=False,
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.key, self.logprobs, self.think, self.same, self.delay = (
            models,
            key,
            logprobs,
            think,
            same,
            delay,
        )
        self.varied = varied  # another seed gives another reply
        self.faults, self.bodies, self.statuses = [], [], []
        self.n_busy = self.most_busy = 0
        self.guard = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        pass  # a client that hung up is part of the tests

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.denied():
            return
        if self.path != "/v1/models":
            self.answer(404, {"error": "no such page"})
            return
        self.answer(
            200,
            {"object": "list", "data": [{"id": model, "object": "model"} for model in self.server.models]},
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.guard:
            server.bodies.append(body)
            server.n_busy += 1
            server.most_busy = max(server.most_busy, server.n_busy)
            fault = server.faults.pop(0) if server.faults else None
        try:
            if server.delay:
                threading.Event().wait(server.delay)
            self.chat(body, fault)
        finally:
            with server.guard:
                server.n_busy -= 1

    def chat(self, body, fault):
        if fault == "drop":
            self.close_connection = True
            self.connection.close()
        elif fault == "html":
            self.answer(200, "<html>hello</html>")
        elif isinstance(fault, tuple):
            self.answer(int(fault[0]), {"error": "busy"}, {"Retry-After": fault[1]})
        elif fault:
            self.answer(fault, {"error": f"fault {fault}", "got": self.headers.get("Authorization", "")})
        elif self.denied():
            pass
        elif self.path != "/v1/chat/completions":
            self.answer(404, {"error": "no such page"})
        elif body["model"] not in self.server.models:
            self.answer(404, {"error": f"The model `{body['model']}` does not exist."})
        elif body.get("logprobs") and self.server.logprobs == "refused":
            self.answer(400, {"error": "logprobs is not supported"})
        else:
            self.answer(200, self.completion(body))

    def completion(self, body):
        turns = body["messages"]
        name = "a model" if self.server.same else body["model"]
        text = f"{name} says: {' '.join(turns[-1]['content'].split()[-4:])} #{len(turns)}"
        if self.server.varied:
            text += f" {LIKED if body['seed'] % 3 == 0 else IGNORED} {body['seed'] % 1000}"
        if self.server.think:
            text = f"<think>\nhm\n</think>\n\n{text}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if body.get("logprobs") and self.server.logprobs is True:
            first = -0.1 - 0.3 * (0 if self.server.same else self.server.models.index(body["model"]))
            top = [{"token": token, "logprob": first - n} for n, token in enumerate(["I", "You", "We"])]
            choice["logprobs"] = {"content": [{"token": "I", "logprob": first, "top_logprobs": top}]}
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": len(text.split()),
            "total_tokens": 10 + len(text.split()),
        }
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def denied(self):
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.answer(401, {"error": f"wrong key {self.headers.get('Authorization', '')}"})
            return True
        return False

    def answer(self, status, content, headers=()):
        self.server.statuses.append(status)
        payload = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
