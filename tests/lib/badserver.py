#!/usr/bin/env python3
"""A Hub and its CDN on two loopback ports, well-behaved or not.

    badserver.py DIR

Writes DIR/ports ("hub cdn"), DIR/log (one line a request: port method path
range authorization) and serves until killed. The repository's name says what
goes wrong with its large file; every repository holds the same four files.
DIR/log may be emptied by the test. Standard library only.
"""
import hashlib
import json
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

DIR = sys.argv[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BIG = random.Random(1).randbytes(300_000)
BIG_SHA = hashlib.sha256(BIG).hexdigest()
FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "model.safetensors": BIG,
    "notes.txt": b"notes\n",
    "sub/deep/extra.json": b"{}\n",
}
COUNT = {}
LOCK = threading.Lock()


def git_sha(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def nth(key):
    """How often key was asked for before."""
    with LOCK:
        COUNT[key] = COUNT.get(key, 0) + 1
        return COUNT[key] - 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self):
        with LOCK, open(os.path.join(DIR, "log"), "a") as log:
            log.write("%s %s %s %s %s\n" % (
                self.server.role, self.command, self.path,
                self.headers.get("Range", "-"),
                "token" if self.headers.get("Authorization") else "-"))

    def head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def answer(self, status, body=b"", **headers):
        self.head(status, Content_Length=len(body), **headers)
        if self.command == "GET":
            self.wfile.write(body)

    def cut(self):
        """Drops the connection as a failing network does."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.note()
        path = unquote(urlsplit(self.path).path)
        try:
            if self.server.role == "cdn":
                self.cdn(path)
            else:
                self.hub(path)
        except (BrokenPipeError, ConnectionResetError, OSError):
            self.close_connection = True

    # ---- the hub ----

    def hub(self, path):
        parts = path.strip("/").split("/")
        if parts[0] == "datasets":
            parts = parts[1:]
        if parts[0] == "plain":
            return self.body(parts[1], "plain")
        if parts[0] == "api":
            return self.api(parts[2:])
        if len(parts) < 5 or parts[2] != "resolve":
            return self.answer(404)
        name, file = parts[1], "/".join(parts[4:])
        if name == "gated" and self.headers.get("Authorization") != "Bearer sesame":
            return self.answer(401)
        if name == "old":       # renamed: a redirect on the same host
            return self.answer(307, Location="/org/good/resolve/%s/%s" % (parts[3], file))
        if file not in FILES:
            return self.answer(404)
        data = FILES[file]
        if file != "model.safetensors":
            tag = '"../../evil"' if name == "evil-etag" else '"%s"' % git_sha(data)
            return self.answer(200, data, X_Repo_Commit=COMMIT, ETag=tag)
        if name == "e500" and nth((name, self.command)) < 2:
            return self.answer(500)
        if name == "head-busy" and self.command == "HEAD" and nth(name) < 1:
            return self.answer(429, Retry_After=1)
        if name == "downhill":
            where = "ftp://127.0.0.1/x"
        elif name == "loop":
            where = "/org/loop/resolve/%s/%s" % (parts[3], file)
            if self.command == "HEAD":
                return self.answer(200, data, X_Repo_Commit=COMMIT, ETag='"%s"' % BIG_SHA)
        else:
            where = "http://127.0.0.1:%d/blob/%s" % (self.server.cdn_port, name)
        self.answer(302, b"see there", Location=where, X_Repo_Commit=COMMIT,
                    X_Linked_Size=len(data), X_Linked_Etag='"%s"' % BIG_SHA)

    def api(self, parts):           # org name revision|tree REV
        name, what, rev = parts[1], parts[2], parts[3]
        if name == "moved" and rev != "main" and rev != COMMIT:
            return self.answer(404)
        if what == "revision":
            return self.answer(200, json.dumps({"sha": COMMIT}).encode())
        entries = [{"type": "file", "path": p, "size": len(d), "oid": git_sha(d)}
                   for p, d in FILES.items()]
        entries.append({"type": "directory", "path": "sub", "size": 0, "oid": "0"})
        if name == "evil-path":
            entries.append({"type": "file", "path": "../../../evil.json", "size": 1, "oid": "0"})
        page = 1 if "cursor=" in self.path else 0   # two pages
        half = entries[:2] if page == 0 else entries[2:]
        link = {} if page else {
            "Link": '<http://127.0.0.1:%d%s&cursor=x>; rel="next"' % (self.server.server_port, self.path)}
        self.answer(200, json.dumps(half).encode(), **link)

    # ---- the CDN, and plain addresses: /blob/NAME, /plain/NAME ----

    def cdn(self, path):
        if self.headers.get("Authorization"):
            return self.answer(400, b"a token came along")
        self.body(path.split("/")[-1], "cdn")

    def body(self, name, kind):
        data, start, key = BIG, 0, (kind, name)
        if name == "missing":
            return self.answer(404)
        if name == "busy" and nth(key) < 2:
            return self.answer(429, Retry_After=1)
        if name == "come-back-tomorrow":
            return self.answer(503, Retry_After=86400)
        if name == "broken":
            return self.answer(503)
        asked = self.headers.get("Range")
        tag = '"v1"'
        if name == "changes":       # another file under the same address
            tag = '"v%d"' % nth(key)
            if tag != '"v0"':
                data = BIG[::-1]
            if self.headers.get("If-Range") not in (None, tag):
                asked = None
        if asked and name != "norange":
            start = int(asked[6:-1])
            if start >= len(data):
                return self.answer(416, Content_Range="bytes */%d" % len(data))
        if name == "badhash" or (name == "badhash-once" and nth(key) == 0):
            data = b"x" * len(data)
        rest = data[start:]
        length = len(rest)
        if name == "cl-long":
            length += 1000
        if name == "cl-short":
            length -= 1000
        headers = {"ETag": tag}
        if asked and name != "norange":
            first = start + 1 if name == "wrong-range" else start
            headers["Content_Range"] = "bytes %d-%d/%d" % (first, len(data) - 1, len(data))
        status = 206 if asked and name != "norange" else 200
        if name in ("no-length", "no-length-long", "no-length-short"):
            self.head(status, Connection="close", **headers)
            if name == "no-length-long":
                rest += b"x" * 5000
            if name == "no-length-short":
                rest = rest[:max(0, len(data) - 5000 - start)]
            self.wfile.write(rest)
            return self.cut()
        self.head(status, Content_Length=length, **headers)
        if self.command == "HEAD":
            return None
        if name in ("drop", "changes") or (name in ("norange", "wrong-range") and nth(key) == 0):
            self.wfile.write(rest[:100_000])
            if len(rest) > 100_000:
                self.cut()
        elif name == "drop-at-once" and nth(key) < 2:
            self.cut()
        elif name == "never":
            self.cut()
        elif name == "stall" and nth(key) == 0:
            self.wfile.write(rest[:50_000])
            self.wfile.flush()
            time.sleep(30)
        elif name == "slow":
            for at in range(0, len(rest), 10_000):
                self.wfile.write(rest[at:at + 10_000])
                self.wfile.flush()
                time.sleep(0.1)
        else:
            self.wfile.write(rest[:length])
            if length > len(rest):
                self.cut()


class Server(ThreadingHTTPServer):
    def handle_error(self, request, address):
        pass    # a client that went away


def serve(role, cdn_port=0):
    server = Server(("127.0.0.1", 0), Handler)
    server.role, server.cdn_port = role, cdn_port
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


cdn = serve("cdn")
hub = serve("hub", cdn.server_port)
with open(os.path.join(DIR, "big"), "wb") as out:
    out.write(BIG)
with open(os.path.join(DIR, "ports.tmp"), "w") as out:
    out.write("%d %d\n" % (hub.server_port, cdn.server_port))
os.rename(os.path.join(DIR, "ports.tmp"), os.path.join(DIR, "ports"))
threading.Event().wait()
