#!/usr/bin/env python3
"""A labeller behind Anthropic's and OpenAI's APIs, well-behaved or not.

    badllm.py DIR

Writes DIR/port and serves until killed: POST /v1/messages (and batches),
/v1/chat/completions, /v1/embeddings, /v1/files, /v1/batches. The model's name says what goes
wrong; DIR/log gets a line for each request, DIR/asked one for each question
that was answered (with its digest), so that tests can count what was paid
twice. It answers truthfully: a label is the marked words, and a text fits, or is
near, when it holds one of them. Standard library only.
"""
import hashlib
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIR = sys.argv[1]
COUNT, BATCHES, FILES = {}, {}, {}
LOCK = threading.Lock()
IN_TURN = threading.Lock()
KEY = "sk-sesame-0123456789"


def nth(key):
    """How often key was asked for before."""
    with LOCK:
        COUNT[key] = COUNT.get(key, 0) + 1
        return COUNT[key] - 1


def note(name, line):
    with LOCK, open(os.path.join(DIR, name), "a") as f:
        f.write(line + "\n")


def marked(text):
    return set(w.strip() for w in re.findall(r"<<(.*?)>>", text))


def think(system, user):
    """What a perfect labeller says."""
    items = re.findall(r"^Text \d+: (.*)$", user, re.M)
    if items:
        words = set(re.search(r"(?:Feature|Description): (.*)", user).group(1).split("|"))
        if "marks" in system or "marked" in system:
            bits = [int(bool(marked(t)) and marked(t) <= words) for t in items]
        else:
            bits = [int(bool(words & set(t.split()))) for t in items]
        return json.dumps({"results": bits})
    words = marked("\n".join(re.findall(r"^\d+ \(\d+\): (.*)$", user, re.M)))
    label = "|".join(sorted(words))[:150] or "no clear pattern"
    return json.dumps({"explanation": "the marked tokens", "label": label,
                       "tags": ["doubt", "planning"] if "is" in words else ["none"],
                       "quality": 9, "interestingness": 3, "confidence": 8})


def spoil(model, digest, text):
    """The fault that lies in the text of an answer."""
    first = nth(("text", model, digest)) == 0
    if model == "prose" or (model == "prose-once" and first):
        return "The label is: " + text.replace("{", "")
    if model == "short" or (model == "short-once" and first):
        return text[:len(text) // 2]
    if model == "fenced":
        return "<think>hm</think>\n```json\n" + text + "\n```"
    if model == "bad-tag-once" and first and "tags" in text:
        return text.replace('"quality"', '"x"').replace('["none"]', '["nonsense"]')
    if model == "too-few" and "results" in text:
        return '{"results": [1]}'
    return text


def answer_of(api, body, batch=False):
    """The body of a 200."""
    model = body["model"]
    if api == "anthropic":
        system, user = body["system"][0]["text"], body["messages"][0]["content"]
    else:
        system, user = (m["content"] for m in body["messages"])
    digest = hashlib.sha256((system + user).encode()).hexdigest()[:16]
    text = spoil(model, digest, think(system, user))
    note("asked", "%s %s" % (model, digest))
    who = "another-model" if model == "wrong-name" else model + "-20250101"
    n_in, n_out = len(system + user) // 4, len(text) // 4
    if api == "anthropic":
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": who,
                "content": [{"type": "text", "text": text}],
                "stop_reason": "refusal" if model == "refuses" else "max_tokens" if model == "cut" else "end_turn",
                "usage": {"input_tokens": n_in, "cache_creation_input_tokens": 0,
                          "cache_read_input_tokens": 10, "output_tokens": n_out}}
    return {"id": "c1", "object": "chat.completion", "model": who,
            "choices": [{"index": 0, "finish_reason": "length" if model == "cut" else "stop",
                         "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": n_in + 10, "completion_tokens": n_out,
                      "prompt_tokens_details": {"cached_tokens": 10}}}


def vector(text):
    """What words a text has: a dimension each of 64, by their digest."""
    v = [0.0] * 64
    for w in re.split(r"[ |.]+", text.split("Query: ")[-1]):
        if w:
            v[hashlib.sha256(w.encode()).digest()[0] % 64] += 1
    return v if any(v) else [1.0] * 64


def embeddings(body):
    """The body of a 200, or of one that is none."""
    model, texts = body["model"], body["input"]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    note("asked", "%s %s" % (model, digest))
    first = nth(("vectors", model, digest)) == 0
    data = [{"object": "embedding", "index": i, "embedding": vector(t)} for i, t in enumerate(texts)]
    if model == "e-shuffled":
        data.reverse()
    if first or not model.endswith("-once"):
        if model.startswith("e-few"):
            data.pop()
        if model.startswith("e-twice"):
            data[3]["index"] = 2
        if model.startswith("e-beyond"):
            data[1]["index"] = len(data)
        if model.startswith("e-long"):
            data[2]["embedding"].append(1.0)
        if model.startswith("e-text"):
            data[0]["embedding"] = "AACAPwAAAEA="
        if model.startswith("e-null"):
            data[1]["embedding"][5] = None
        if model.startswith("e-zero"):
            data[1]["embedding"] = [0.0] * 64
        if model.startswith("e-endless"):
            data[1]["embedding"][7] = 1e300
    n = sum(map(len, texts)) // 4
    return {"object": "list", "data": data, "model": "another-model" if model == "wrong-name" else model,
            "usage": {"prompt_tokens": n, "total_tokens": n}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def send(self, status, data, kind="application/json", length=None, **headers):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def cut(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def fail(self, status, message, **headers):
        self.send(status, {"type": "error", "error": {"type": "x", "message": message}}, **headers)

    def key_ok(self):
        key = self.headers.get("x-api-key") or (self.headers.get("Authorization") or "")[7:]
        return key == KEY

    def do_GET(self):
        self.handle_one(None)

    def do_POST(self):
        self.handle_one(self.rfile.read(int(self.headers["Content-Length"])))

    def handle_one(self, data):
        note("log", "%s %s" % (self.command, self.path))
        try:
            if not self.key_ok():
                return self.fail(401, "invalid key " + (self.headers.get("x-api-key") or "none"))
            path = self.path.split("?")[0]
            if path == "/v1/messages":
                return self.ask("anthropic", json.loads(data))
            if path == "/v1/chat/completions":
                return self.ask("openai", json.loads(data))
            if path == "/v1/embeddings":
                return self.ask("embed", json.loads(data))
            return self.batch(path, data)
        except (BrokenPipeError, ConnectionResetError, OSError):
            self.close_connection = True
        return None

    # ---- one question ----

    def ask(self, api, body):
        model = body["model"]
        key = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        again = nth((model, key))
        bad = {"temperature", "top_p", "top_k"} & set(body)
        if bad and model != "warm":
            return self.fail(400, "%s: not supported" % bad.pop())
        if model == "storm" and (nth("storm") < 12 or again == 0 and nth("storm") % 4 == 0):
            return self.fail(429, "slow down", Retry_After_Ms=20)
        if model == "limit" and nth("limit") == 3:
            return self.fail(429, "slow down", Retry_After=1)
        if model == "spent":
            return self.fail(429, "insufficient_quota: check your billing")
        if model == "tomorrow":
            return self.fail(429, "slow down", Retry_After=86400)
        if model == "e500" and again < 2:
            return self.fail(500, "oops")
        if model == "e529" and again < 1 and nth("e529") % 5 == 0:
            return self.fail(529, "overloaded")
        if model == "broken":
            return self.fail(503, "oops")
        if model == "unknown":
            return self.fail(404, "model: unknown")
        if model == "no-retry":
            return self.fail(500, "oops", x_should_retry="false")
        if model == "one-bad" and nth("one-bad") == 4:
            return self.fail(400, "the prompt is too long")
        if model == "drop-at-once" and again < 1:
            return self.cut()
        data = json.dumps(embeddings(body) if api == "embed" else answer_of(api, body)).encode()
        if model == "reset" and again < 1:
            self.send(200, data[:40], length=len(data))
            return self.cut()
        if model == "slow" and again < 1:
            self.send(200, data[:40], length=len(data))
            self.wfile.flush()
            for at in range(40, len(data)):
                time.sleep(0.1)
                self.wfile.write(data[at:at + 1])
                self.wfile.flush()
            return None
        if model in ("lazy", "busy"):
            with LOCK:
                COUNT["under way"] = COUNT.get("under way", 0) + 1
                many = COUNT["under way"]
            if model == "busy":
                note("busy", str(many))
            time.sleep(0.05 if model == "lazy" else 0.15)
            with LOCK:
                COUNT["under way"] -= 1
        if model == "html" and again < 1:
            return self.send(200, b"<html>Sign in</html>", kind="text/html")
        if model == "truncated" and again < 1:
            return self.send(200, data[:len(data) // 2])
        if model == "bad-utf8" and again < 1:
            return self.send(200, data.replace(b"marked tokens", b"marked \xff\xfe tokens")
                             .replace(b"results", b"res\xffults"))
        if model == "huge" and again < 1:
            return self.send(200, data[:-1] + b',"pad":"' + b"x" * (70 if api == "embed" else 3) * 1_000_000 + b'"}')
        if model == "drained":
            with IN_TURN:
                heads = self.limits(api)
                self.send(200, data, **heads)
                if 0 in heads.values():
                    time.sleep(0.5)   # it is read before another answer comes
            return None
        return self.send(200, data)

    def limits(self, api):
        """The third answer uses up the requests of the next second; tokens are left.
        What comes all the same is noted. Answers are sent in turn: no later one overtakes it."""
        now = time.time()
        with LOCK:
            until = COUNT.get(("until", api), 0)
        if now < until - 0.1:
            note("early", api)
        out = nth(("drained", api)) == 2
        if out:
            with LOCK:
                COUNT["until", api] = now + 1
        if api == "anthropic":   # whole seconds
            return {"anthropic_ratelimit_requests_remaining": 0 if out else 50,
                    "anthropic_ratelimit_requests_reset": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 2)),
                    "anthropic_ratelimit_tokens_remaining": 40000,
                    "anthropic_ratelimit_tokens_reset": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 60))}
        return {"x_ratelimit_remaining_requests": 0 if out else 50, "x_ratelimit_remaining_tokens": 149984,
                "x_ratelimit_reset_requests": "1s", "x_ratelimit_reset_tokens": "6m0s"}

    # ---- batches ----

    def batch(self, path, data):
        parts = path.strip("/").split("/")
        if parts[:2] == ["v1", "files"]:
            return self.files(parts, data)
        anthropic = parts[:3] == ["v1", "messages", "batches"]
        rest = parts[3:] if anthropic else parts[2:]
        if self.command == "POST":
            return self.create(anthropic, json.loads(data))
        if not rest:
            return self.send(200, {"data": [self.state(b) for b in reversed(BATCHES.values())]})
        b = BATCHES.get(rest[0])
        if not b:
            return self.fail(404, "no such batch")
        if rest[1:] == ["results"]:
            return self.send(200, self.results(b).encode(), kind="application/x-jsonl")
        b["looks"] += 1
        return self.send(200, self.state(b))

    def create(self, anthropic, body):
        if anthropic:
            asks = [(r["custom_id"], r["params"]) for r in body["requests"]]
            meta = {}
        else:
            asks = [(r["custom_id"], r["body"]) for r in
                    map(json.loads, FILES[body["input_file_id"]].splitlines())]
            meta = body["metadata"]
        model = asks[0][1]["model"]
        if any(not re.fullmatch("[a-zA-Z0-9_-]{1,64}", i) for i, _ in asks) or \
                len(set(i for i, _ in asks)) != len(asks):
            return self.fail(400, "custom_id")
        b = {"id": "batch_%d" % nth("batch"), "asks": asks, "looks": 0, "model": model,
             "anthropic": anthropic, "meta": meta}
        BATCHES[b["id"]] = b
        note("log", "BATCH %s %d" % (b["id"], len(asks)))
        if model == "lost-batch" and nth("lost") == 0:
            return self.cut()
        return self.send(200, self.state(b))

    def state(self, b):
        over = b["looks"] > 1
        n = len(b["asks"])
        if b["anthropic"]:
            return {"id": b["id"], "type": "message_batch",
                    "processing_status": "ended" if over else "in_progress",
                    "results_url": "http://example.invalid/steal",
                    "request_counts": {"processing": 0 if over else n, "succeeded": n if over else 0,
                                       "errored": 0, "canceled": 0, "expired": 0}}
        if over and "file" not in b:
            b["file"] = "out_" + b["id"]
            FILES[b["file"]] = self.results(b)
        return {"id": b["id"], "status": "completed" if over else "in_progress", "metadata": b["meta"],
                "output_file_id": b.get("file"), "error_file_id": None}

    def results(self, b):
        if "text" in b:
            return b["text"]
        lines = []
        for n, (i, params) in enumerate(reversed(b["asks"])):
            if b["model"] == "errored" and nth(("errored", i)) == 0 and n % 3 == 0:
                lines.append(json.dumps({"custom_id": i, "result": {
                    "type": "errored", "error": {"type": "overloaded"}}} if b["anthropic"] else {
                    "custom_id": i, "response": {"status_code": 500, "body": {}}, "error": None}))
                continue
            body = answer_of("anthropic" if b["anthropic"] else "openai", params)
            line = json.dumps({"custom_id": i, "result": {"type": "succeeded", "message": body}}
                              if b["anthropic"] else
                              {"id": "r", "custom_id": i, "response": {"status_code": 200, "body": body},
                               "error": None})
            lines.append(line)
            if b["model"] == "twice":   # duplicate ids, ids of others, lines that are none
                lines += [line, line.replace(i, "L9_F9_label0_0123456789abcdef"), "{\"half\": "]
        b["text"] = "\n".join(lines) + "\n"
        return b["text"]

    def files(self, parts, data):
        if self.command == "POST":
            edge = b"\r\n--" + self.headers["Content-Type"].split("boundary=")[1].encode()
            body = data.split(b'filename="batch.jsonl"', 1)[1].split(b"\r\n\r\n", 1)[1]
            name = "file_%d" % nth("file")
            FILES[name] = body.split(edge)[0].decode()
            return self.send(200, {"id": name, "purpose": "batch"})
        return self.send(200, FILES[parts[2]].encode(), kind="application/octet-stream")


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, address):
        pass    # a client that went away


server = Server(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(os.path.join(DIR, "port.tmp"), "w") as out:
    out.write("%d\n" % server.server_port)
os.rename(os.path.join(DIR, "port.tmp"), os.path.join(DIR, "port"))
server.serve_forever()
