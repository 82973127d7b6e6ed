#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks at a page as people do, in headless Chromium: browser.py [--no-policy] URL FOLDER NAME=JAVASCRIPT...

Pictures of it, each whole, as FOLDER/phone-light.png, phone-dark.png, desktop-light.png, desktop-dark.png.
Prints JSON: {"title", "console": what is no mere remark, "asked": each URL that was asked for, "tabs": what has
the focus after each Tab, "wide": what is wider than the phone, "tree": roles and names that a screen reader gets,
NAME: what that expression is worth, which may be a promise}. --no-policy: as if it had no
Content-Security-Policy, and no pictures. Chromium is talked to by its own pipe.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time

CHROMIUM = ["chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run",
            "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-extensions", "--disable-default-apps", "--no-default-browser-check",
            "--disable-features=OptimizationHints,MediaRouter,Translate,NetworkTimeServiceQuerying"]
SIZES = {"phone": (390, 844, 2, True), "desktop": (1280, 900, 1, False)}
SECONDS = 60


class Browser:
    def __init__(self, profile):
        read, self.to = os.pipe()
        self.answers, write = os.pipe()
        for fd in (read, write):
            os.set_inheritable(fd, True)
        shell = f'exec 3<&{read} 4>&{write} && exec "$@"'
        self.process = subprocess.Popen(["bash", "-c", shell, "--", *CHROMIUM, f"--user-data-dir={profile}", "about:blank"],
                                        pass_fds=(read, write), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.number, self.buffer, self.events, self.session = 0, b"", [], None

    def message(self):
        while b"\0" not in self.buffer:
            more = os.read(self.answers, 1 << 20)
            if not more:
                sys.exit("browser: chromium has ended")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def ask(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"browser: {method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return result["result"].get("value", result["result"].get("description"))

    def open(self, url, policy):
        target = [t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page"][0]
        self.session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setBypassCSP", enabled=not policy)
        self.ask("Page.navigate", url=url)
        self.wait("document.readyState == 'complete' && Boolean(document.querySelector('#version').textContent)")
        time.sleep(1.5)  # the second answer, and the fonts

    def wait(self, expression):
        end = time.monotonic() + SECONDS
        while not self.value(expression):
            if time.monotonic() > end:
                sys.exit(f"browser: never true: {expression}")
            time.sleep(0.1)

    def picture(self, size, scheme, path):
        width, height, scale, mobile = SIZES[size]
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        time.sleep(0.4)
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as out:
            out.write(base64.b64decode(shot["data"]))

    def tabs(self, most=12):
        seen = []
        for _ in range(most):
            for kind in ("rawKeyDown", "keyUp"):
                self.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            focus = self.value("document.activeElement.tagName == 'A' ? document.activeElement.textContent : document.activeElement.tagName")
            if focus in seen:
                break
            seen.append(focus)
        return seen

    def tree(self):
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        return [f"{n['role']['value']}: {n.get('name', {}).get('value', '')}" for n in nodes
                if not n["ignored"] and n["role"]["value"] not in ("none", "generic", "StaticText", "InlineTextBox")]


def main():
    policy = sys.argv[1] != "--no-policy"
    url, folder, *expressions = sys.argv[1 if policy else 2:]
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        b = Browser(profile)
        b.open(url, policy)
        found = {"title": b.value("document.title"), "tree": b.tree()}
        for size in SIZES if policy else ():
            for scheme in ("light", "dark"):
                b.picture(size, scheme, f"{folder}/{size}-{scheme}.png")
            if size == "phone":
                found["wide"] = b.value("[...document.querySelectorAll('body *')].filter((n) => n.getBoundingClientRect().right > innerWidth + 1"
                                        " && !n.closest('.skip')).map((n) => n.tagName + ' ' + n.className)")
        found["tabs"] = b.tabs()
        plain = len(b.events)
        for expression in expressions:
            name, text = expression.split("=", 1)
            found[name] = b.value(text)
        events = b.events[:plain]
        found["console"] = [e["params"] for e in events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
                            or e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning", "assert")]
        found["asked"] = sorted({e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"})
        b.session = None
        os.write(b.to, b'{"id":0,"method":"Browser.close"}\0')
        b.process.wait(10)
    print(json.dumps(found))


main()
