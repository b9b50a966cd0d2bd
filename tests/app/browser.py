"""Chromium without a window, driven by its DevTools protocol over a pipe: no package is needed for it."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
SWITCHES = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--no-sandbox", "--mute-audio",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--autoplay-policy=no-user-gesture-required", "--hide-scrollbars",
)  # fmt: skip
# Chromium reads commands from file 3 and answers on file 4.
LAUNCH = (
    "import os, sys; a, b = map(int, sys.argv[1:3]); os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """A browser with pages; each has cookies of its own."""

    def __init__(self, home):
        self.downloads = Path(home) / "downloads"
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]  # clear of 3 and 4
        command = [CHROMIUM, *SWITCHES, f"--user-data-dir={Path(home) / 'profile'}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *map(str, high), *command],
            pass_fds=high, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self._out, self._in = os.fdopen(ours_out, "wb", buffering=0), os.fdopen(ours_in, "rb")
        self._numbers, self._buffer = itertools.count(1), b""
        self.events = []

    def send(self, method, session=None, **params):
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                part = self._in.read1(1 << 16)
                assert part, "Chromium has ended"
                self._buffer += part
            text, self._buffer = self._buffer.split(b"\0", 1)
            told = json.loads(text)
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                return told["result"]
            if "method" in told:
                self.events.append(told)

    def page(self, address, width=1200, height=900, beside=None, hold=None):
        """Open an address, as somebody who has never been there, or in another tab `beside` a page."""
        context = beside.context if beside else self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send(
            "Browser.setDownloadBehavior", behavior="allow", browserContextId=context, downloadPath=str(self.downloads)
        )
        page = Page(self, session, context)
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            page.send(f"{domain}.enable")
        page.size(width, height)
        page.hold(hold)
        page.go(address)
        return page

    def close(self):
        with suppress(OSError):
            self.send("Browser.close")
        for end in (self._out, self._in):
            end.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context

    def send(self, method, **params):
        return self.browser.send(method, self.session, **params)

    def go(self, address):
        self.send("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def hold(self, pattern=None):
        """From now on let requests wait whose addresses are like a pattern; none: let those go on that wait."""
        if pattern:
            self.send("Fetch.enable", patterns=[{"urlPattern": pattern}])
        else:
            self.send("Fetch.disable")

    def offline(self, away=True):
        """Get no answers."""
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.send("Network.emulateNetworkConditions", offline=away, **speed)

    def size(self, width, height, scale=1):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def run(self, script):
        """The value of an expression in the page; promises are waited for."""
        told = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, script, seconds=90):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never: {script}\n{self.text()}"
            time.sleep(0.05)
        return value

    def text(self, selector="body"):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def give(self, selector, path):
        """Choose a file."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drop(self, selector, *paths):
        """Drag files onto an element."""
        x, y = self.middle(selector)
        data = {"items": [], "files": [*map(str, paths)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def drag(self, start, end):
        """Move the mouse with its button down from a point to another."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def middle(self, selector):
        script = f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()"""
        return self.run(script)

    def click(self, selector, at=None):
        """Press the mouse on an element: in its middle, or at a point of the window."""
        x, y = at or self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def type(self, text):
        self.send("Input.insertText", text=text)

    def key(self, name, code=0, text=None, modifiers=0):
        """Press a key; `modifiers` adds up 1 Alt, 2 Ctrl, 4 Meta, 8 Shift."""
        typed = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode=code,
                modifiers=modifiers,
                **(typed if kind == "keyDown" else {}),
            )

    def dark(self, on=True):
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def picture(self, path, full=True):
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """What the page wrote to the browser's console as errors, its own answers to bad requests left out."""
        told = [event["params"] for event in self.browser.events if event.get("sessionId") == self.session]
        entries = [params["entry"] for params in told if "entry" in params]
        thrown = [params["exceptionDetails"] for params in told if "exceptionDetails" in params]
        return thrown + [entry for entry in entries if entry["level"] == "error" and entry["source"] != "network"]


@contextmanager
def chromium(home):
    """A browser that is gone at the end of the block."""
    browser = Browser(home)
    try:
        yield browser
    finally:
        browser.close()
