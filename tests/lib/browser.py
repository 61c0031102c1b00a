"""A headless Chromium driven through a pipe by the DevTools protocol.

    with Browser(1200, 800) as b:
        b.open("file:///...")
        b.js("document.title")

Messages are JSON with a NUL behind, to the browser's descriptor 3, from its 4.
Collected on the way: b.errors, what scripts threw and wrote as errors or
warnings; b.requests, what was asked for besides the page itself.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


def program():
    """The browser's path, or None."""
    for name in (os.environ.get("R1_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and shutil.which(name):
            return shutil.which(name)
    return None


class Browser:
    def __init__(self, width, height, dark=False):
        self.size, self.dark = (width, height), dark
        self.errors, self.requests = [], []
        self.number, self.buffer, self.session = 0, b"", None

    def __enter__(self):
        self.profile = tempfile.mkdtemp()
        to_read, self.to = os.pipe()
        self.frm, to_write = os.pipe()

        def descriptors():  # by way of high numbers: 3 or 4 may be among these
            a, b = os.dup2(to_read, 30), os.dup2(to_write, 31)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
             "--hide-scrollbars", f"--user-data-dir={self.profile}", "about:blank"],
            preexec_fn=descriptors, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        self.resize(*self.size)
        self.scheme(self.dark)
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call("Browser.close")
        except (OSError, RuntimeError):
            pass
        for fd in (self.to, self.frm):
            os.close(fd)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def message(self, timeout):
        end = time.monotonic() + timeout
        while b"\0" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.frm], [], [], left)[0]:
                return None
            more = os.read(self.frm, 1 << 20)
            if not more:
                raise RuntimeError("the browser is gone")
            self.buffer += more
        one, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(one)

    def event(self, m):
        p, method = m.get("params", {}), m.get("method")
        if method == "Runtime.exceptionThrown":
            d = p["exceptionDetails"]
            self.errors.append(d.get("exception", {}).get("description") or d["text"])
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.errors.append(p["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])

    def call(self, method, timeout=60, **params):
        self.number += 1
        m = {"id": self.number, "method": method, "params": params}
        if self.session:
            m["sessionId"] = self.session
        os.write(self.to, json.dumps(m).encode() + b"\0")
        while True:
            got = self.message(timeout)
            if got is None:
                raise RuntimeError(f"{method}: no answer in {timeout} s")
            if got.get("id") != self.number:
                self.event(got)
            elif "error" in got:
                raise RuntimeError(f"{method}: {got['error']['message']}")
            else:
                return got["result"]

    def js(self, text, timeout=60):
        """The value of an expression (or of the promise it gives)."""
        r = self.call("Runtime.evaluate", timeout, expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            d = r["exceptionDetails"]
            raise RuntimeError(d.get("exception", {}).get("description") or d["text"])
        return r["result"].get("value")

    def until(self, text, timeout=10):
        """Waits until the expression is true; whether it became so."""
        end = time.monotonic() + timeout
        while not self.js(text):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def open(self, url):
        self.call("Page.navigate", url=url)
        want = json.dumps(url.split("#")[0])
        if not self.until(f"document.readyState === 'complete' && location.href.split('#')[0] === {want}", 60):
            raise RuntimeError(f"{url} did not load")

    def resize(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def scheme(self, dark):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def mouse(self, kind, x, y, modifiers=0, clicks=0, buttons=0):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, modifiers=modifiers, clickCount=clicks,
                  button="left" if clicks or buttons else "none", buttons=buttons)

    def click(self, x, y, shift=False, times=1):
        self.mouse("mouseMoved", x, y)
        for n in range(1, times + 1):
            self.mouse("mousePressed", x, y, 8 * shift, n, 1)
            self.mouse("mouseReleased", x, y, 8 * shift, n, 0)

    def key(self, key):
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def shot(self, path):
        png = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(png))
