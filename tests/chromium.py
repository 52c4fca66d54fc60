"""Pages opened in headless Chromium: what is on them, and what the browser's console said."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROBE = """
addEventListener("load", () => setTimeout(() => {
  const painted = (canvas) => canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data.some((value, index) => index % 4 < 3 && value > 60);
  const players = [...document.querySelectorAll(".player")].map((player) => {
    const slider = player.querySelector("input[type=range]");
    const first = player.querySelector("output").textContent;
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input"));
    const last = player.querySelector("output").textContent;
    const toggle = [...player.querySelectorAll("input[type=checkbox]")].at(-1);
    toggle.click();
    const layers = [...player.querySelectorAll(".views > div")].map((view) => !view.hidden);
    toggle.click();
    player.querySelector("button").click();
    const button = player.querySelector("button").textContent;
    const canvases = [...player.querySelectorAll("canvas")].map(painted);
    return { shown: !player.hidden, painted: canvases, first, last, layers, button };
  });
  const images = [...document.images].map((image) => image.complete ? image.naturalWidth : 0);
  const wide = document.documentElement.scrollWidth - innerWidth;
  const probe = document.body.appendChild(document.createElement("pre"));
  probe.id = "probe";
  probe.textContent = JSON.stringify({ images, players, wide, title: document.title });
}, 200));
"""

SWITCHES = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage enable-logging=stderr dump-dom virtual-time-budget=5000"
)


def visit(source: str, folder: Path, width: int = 1000, probe: str = PROBE) -> tuple[dict[str, Any], list[str]]:
    """What the probe found in a page, and what the browser's console said.

    Args:
        source: the page. The probe is added to its content security policy.
        folder: for the probed page and the browser's profile.
        width: of the window, in pixels.
        probe: a script that appends an element with the id "probe" whose text is JSON.
    """
    digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
    probed = source.replace("script-src ", f"script-src &#x27;sha256-{digest}&#x27; ")
    probed = probed.replace("</body>", f"<script>{probe}</script></body>")
    assert probed.count(digest) == 1
    path = folder / "probed.html"
    path.write_text(probed, encoding="utf-8")
    switches = [f"--{switch}" for switch in SWITCHES.split()]
    switches += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900"]
    command = [_browser(), *switches, path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-500:]
    return json.loads(found.group(1).replace("&amp;", "&").replace("&lt;", "<")), console


def _browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if binary := shutil.which(name):
            return binary
    pytest.skip("chromium is not installed")
