"""Pages as a browser shows them: headless Chromium, without a network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no browser here (Debian: apt-get install chromium)")

#: Chromium's numbers for the scheme that a person prefers.
THEMES = {"dark": 0, "light": 1}

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
#: Measures the page from inside, which the page as it is forbids; the result stands in an attribute of its root.
MEASURING = """<script>
const numbers = colour => {
  const found = colour.match(/[\\d.]+/g).map(Number);
  const scale = colour.startsWith('color(') ? 1 : 255;
  return [...found.slice(0, 3).map(value => value / scale), found.length > 3 ? found[3] : 1];
};
const luminance = colour => numbers(colour).slice(0, 3)
  .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
const behind = element => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (numbers(colour)[3] > 0) return colour;
  }
};
addEventListener('load', () => {
  let least = 99, where = '', texts = 0;
  for (const element of document.body.querySelectorAll('*')) {
    if (['title', 'desc', 'SCRIPT'].includes(element.tagName)) continue;
    const own = [...element.childNodes].some(node => node.nodeType == 3 && node.data.trim());
    if (!own) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const pair = [element.tagName == 'text' ? style.fill : style.color, behind(element)].map(luminance);
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < least) [least, where] = [contrast, element.outerHTML.slice(0, 120)];
  }
  document.documentElement.dataset.found = JSON.stringify({
    width: innerWidth,
    reach: document.documentElement.scrollWidth,
    texts, least, where,
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
    shown: [...document.images].every(image => image.complete && image.naturalWidth > 0),
    images: document.images.length,
    beyond: [...document.querySelectorAll('main *, header *')].filter(element => !element.closest('.scroll, svg, pre')
      && element.getBoundingClientRect().right > innerWidth + 1).length,
  });
});
</script>"""


def browse(folder: Path, file: Path, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            # Nothing that the browser wants for itself reaches a network either.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--no-first-run",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            f"--user-data-dir={folder / 'profile'}",
            *flags,
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def measured(folder: Path, page: Path, theme: str, width: int) -> dict:
    """What the page measures of itself at this width."""
    copy = folder / "measured.html"
    copy.write_text(POLICY.sub(lambda _: MEASURING, page.read_text(encoding="utf-8")), encoding="utf-8")
    # A window of Chromium's has a least width, a frame in it has not.
    frame = folder / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="measured.html" width="{width}" height="900" frameborder="0"></iframe>'
        "<script>addEventListener('load', () => { document.body.dataset.found ="
        " document.querySelector('iframe').contentDocument.documentElement.dataset.found; })</script>"
    )
    flags = (f"--blink-settings=preferredColorScheme={THEMES[theme]}", "--allow-file-access-from-files", "--dump-dom")
    done = browse(folder, frame, *flags)
    return json.loads(html.unescape(re.search(r'data-found="([^"]*)"', done.stdout).group(1)))


def asked_for(folder: Path, file: Path) -> tuple[set[str], str]:
    """The addresses that the page itself asked for, and what was said on standard error."""
    log = folder / "net.json"
    done = browse(folder, file, f"--log-net-log={log}", "--dump-dom")
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # What the browser asks for on its own behalf has no page to start from.
    asked = {event["url"] for event in events if event.get("initiator") not in (None, "not an origin")}
    return asked, done.stderr


def check_readable(folder: Path, page: Path, theme: str, width: int) -> dict:
    """What the page measures, after it was found to fit this width and to be legible in this theme."""
    found = measured(folder, page, theme, width)
    assert found["width"] == width
    assert found["dark"] == (theme == "dark")
    assert found["reach"] <= width, "the page scrolls sideways"
    assert not found["beyond"]
    assert found["least"] >= 4.5, found["where"]
    assert found["shown"]
    return found


def check_silent(folder: Path, page: Path) -> str:
    """The page as it stands in the browser, after no request was found to leave it and nothing to be said of it."""
    asked, said = asked_for(folder, page)
    assert not asked
    assert "CONSOLE" not in said
    return browse(folder, page, "--dump-dom").stdout
