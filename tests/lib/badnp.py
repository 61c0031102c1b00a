#!/usr/bin/env python3
"""Neuronpedia's uploads on a loopback port, well-behaved or not.

    badnp.py DIR

Writes DIR/port and serves until killed: POST /api/feature/upload-batch,
/api/graph/signed-put, /api/graph/save-to-db, PUT /bucket/ID. A batch's source
(graph: slug) says what goes wrong. DIR/took gets a line for each batch that was
taken, also where the client is not told: what is there twice was sent twice.
Standard library only.
"""
import gzip
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIR = sys.argv[1]
KEY = "np-sesame-0123456789"
COUNT, PLACES = {}, {}
LOCK = threading.Lock()


def nth(key):
    with LOCK:
        COUNT[key] = COUNT.get(key, 0) + 1
        return COUNT[key] - 1


def note(name, line):
    with LOCK, open(os.path.join(DIR, name), "a") as f:
        f.write(line + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, value, **headers):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), str(v))
        self.end_headers()
        self.wfile.write(data)

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        place = PLACES.get(self.path.split("/")[-1].split("?")[0])
        note("log", "PUT %s" % self.path.split("/")[-1])
        if self.headers.get("x-api-key"):
            note("log", "A KEY CAME ALONG")
        if place is None or len(data) != place["contentLength"] or self.headers.get("Content-Encoding") != "gzip":
            return self.answer(403, {"error": "the signature does not match"})
        if place["filename"] == "put500.json" and nth("put500") == 0:
            return self.answer(500, {})
        place["data"] = gzip.decompress(data)
        self.answer(200, {})

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        note("log", "POST %s" % self.path)
        try:
            if self.headers.get("x-api-key") != KEY:
                return self.answer(401, {"error": "no such key: %s" % self.headers.get("x-api-key")})
            body = json.loads(data)
            if self.path == "/api/feature/upload-batch":
                return self.batch(body)
            if self.path == "/api/graph/signed-put":
                return self.place(body)
            if self.path == "/api/graph/save-to-db":
                return self.save(body)
            self.answer(404, {"error": "no such route"})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def batch(self, body):
        how = body["source"].split("-")[1]

        def take():
            note("took", "%s %d-%d" % (body["source"], body["features"][0]["index"], body["features"][-1]["index"]))

        if how == "refuse":
            return self.answer(400, {"error": "features[0].density must be less", "path": "features[0].density"})
        if how == "busy" and nth("busy") < 2:
            return self.answer(429, {"error": "slow down"}, Retry_After=0)
        if how == "e500":
            return self.answer(500, {"error": "Failed to create features."})
        if how == "e503once" and nth("e503once") == 0:
            take()                  # a proxy has lost patience
            return self.answer(503, {"error": "upstream"})
        if how == "moved":
            return self.answer(308, {}, Location="https://example.org/api")
        take()
        if how == "reset" and nth("reset") == 0:
            return self.cut()       # taken, and nobody is told
        if how == "hang" and nth("hang") == 0:
            time.sleep(60)
        self.answer(200, {"message": "%d features created." % len(body["features"])})

    def place(self, body):
        if nth("place " + body["filename"]) == 0 and body["filename"] == "again.json":
            return self.cut()
        name = "put-%d" % nth("places")
        PLACES[name] = body
        self.answer(200, {"url": "http://127.0.0.1:%d/bucket/%s?signed=1" % (self.server.server_port, name),
                          "key": "k", "putRequestId": name})

    def save(self, body):
        place = PLACES[body["putRequestId"]]
        graph = json.loads(place["data"])
        m = graph["metadata"]
        if place["filename"] != m["slug"] + ".json":
            return self.answer(500, {"error": "Failed"})
        if m["scan"] == "unknown":
            return self.answer(400, {"error": "ERR_MODEL_DOES_NOT_EXIST"})
        note("took", "graph %s/%s" % (m["scan"], m["slug"]))
        self.answer(200, {"url": "https://www.neuronpedia.org/%s/graph?slug=%s" % (m["scan"], m["slug"])})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.handle_error = lambda *a: None
with open(os.path.join(DIR, "port.tmp"), "w") as out:
    out.write("%d\n" % server.server_port)
os.rename(os.path.join(DIR, "port.tmp"), os.path.join(DIR, "port"))
server.serve_forever()
