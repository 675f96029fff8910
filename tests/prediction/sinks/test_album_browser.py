"""The page of an album as a browser shows it: both themes, wide and narrow, its filters and its keys."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.browser import POLICY, browse, check_readable, check_silent, needs_browser
from tests.prediction.sinks.test_album import CLASSES, HOSTILE, face, picture, video, write

pytestmark = needs_browser

PEOPLE = ("Anna", f"Bo {HOSTILE}", "")
#: Uses the page as a person does, which the page as it is forbids; what it saw stands in an attribute of the root.
DRIVING = """<script>
addEventListener('load', () => {
  const seen = {};
  const select = (id, value) => {
    const found = document.getElementById(id);
    found.value = value;
    found.dispatchEvent(new Event('change', {bubbles: true}));
  };
  const press = key => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  const cards = () => [...document.querySelectorAll('.card')];
  const order = () => cards().map(card => Number(card.dataset.n));
  const headings = () => [...document.querySelectorAll('#groups h3, #groups h4')].map(each => each.textContent);
  const status = () => document.getElementById('status').textContent;
  const at = () => cards().indexOf(document.activeElement);
  seen.first = [headings(), status()];
  select('group', '');
  seen.least = order();
  select('sort', 'most');
  seen.most = order();
  select('sort', 'file');
  seen.file = order();
  select('expression', '1');
  seen.anger = [order(), status()];
  seen.peaks = [...document.querySelectorAll('.peaks li')].filter(each => !each.hidden).length;
  select('person', '1');
  seen.both = order();
  seen.tracks = [...document.querySelectorAll('.track')].map(each => each.hidden);
  select('expression', '');
  select('group', 'pe');
  seen.grouped = headings();
  select('person', '');
  select('group', '');
  seen.places = [];
  const keys = 'j j j k ArrowRight ArrowLeft End ArrowRight Home ArrowDown ArrowUp'.split(' ');
  for (const key of keys) {
    press(key);
    seen.places.push(at());
  }
  seen.stops = cards().filter(card => card.tabIndex === 0).length;
  document.getElementById('sort').focus();
  press('j');
  seen.in_select = at();
  const colour = () => getComputedStyle(document.body).backgroundColor;
  const theme = document.getElementById('theme');
  seen.themes = [[colour(), theme.textContent]];
  theme.click();
  seen.themes.push([colour(), theme.textContent]);
  theme.click();
  seen.themes.push([colour(), theme.textContent]);
  document.documentElement.dataset.found = JSON.stringify(seen);
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """An album of 24 faces of two people and of unknown ones, a clip, and things skipped."""
    folder = tmp_path_factory.mktemp("album")
    generator = np.random.default_rng(0)
    results = [
        picture(
            number,
            f"album/a rather long folder's name/{number:03d}.jpg",
            face(
                CLASSES[number % 3],
                float(generator.uniform(0.5, 1)),
                shade=number * 10,
                person=PEOPLE[number // 3 % 3],
                neutral="mean" if number % 2 else "album/a rather long folder's name/000.jpg",
            ),
        )
        for number in range(24)
    ]
    frames = [
        tuple(face(CLASSES[(number // 10 + track) % 3], 0.9, track, track=track, person=PEOPLE[track])
              for track in range(2) if track or number not in range(10, 14))
        for number in range(40)
    ]  # fmt: skip
    results += video(24, "album/clip.mp4", *frames)
    results += [picture(25, f"album/{HOSTILE}.jpg")]
    write(folder, results, about="faces: accuracy 85.6% [84.5%, 86.8%] of 3153 (fer2013)")
    return folder / "album.html"


@pytest.mark.parametrize("width", [1600, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_in_both_themes_wide_and_narrow(page, tmp_path, theme, width):
    found = check_readable(tmp_path, page, theme, width)
    assert found["texts"] > 150
    assert found["images"] == 24 + 6


def test_it_opens_without_a_complaint_and_no_request_leaves_it(page, tmp_path):
    shown = check_silent(tmp_path, page)
    # Its own script ran, as its policy allows.
    assert "24 of 24 faces." in shown
    assert re.search(r'<button type="button" id="theme">(Dark|Light) theme<', shown)


def test_it_is_sorted_filtered_and_walked_through(page, tmp_path):
    copy = tmp_path / "driven.html"
    text = page.read_text(encoding="utf-8")
    copy.write_text(POLICY.sub(lambda _: DRIVING, text), encoding="utf-8")
    shown = browse(tmp_path, copy, "--dump-dom", "--window-size=1280,900").stdout
    seen = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', shown).group(1)))
    facts = {
        int(number): (float(share), int(expression), int(person))
        for number, share, expression, person in re.findall(
            r'data-n="(\d+)" data-c="([\d.]+)" data-e="(\d)" data-p="(\d)"', text
        )
    }
    by_share = sorted(facts, key=lambda number: facts[number][0])
    assert len(facts) == 24
    assert seen["first"] == [seen["first"][0], "24 of 24 faces."]
    assert seen["least"] == by_share
    assert seen["most"] == by_share[::-1]
    assert seen["file"] == sorted(facts)
    assert seen["anger"] == [[number for number in range(24) if number % 3 == 1], "8 of 24 faces."]
    assert seen["peaks"] == 2
    assert seen["both"] == [number for number in range(24) if facts[number][1:] == (1, 1)]
    assert sorted(seen["tracks"]) == [False, True]
    # One person's part of the page is as it was written.
    whole = seen["first"][0]
    assert len(whole) == 3 * 4
    assert seen["grouped"] == whole[4:8]
    row = seen["places"][-2]
    assert row > 1
    assert seen["places"] == [0, 1, 2, 1, 2, 1, 23, 23, 0, row, 0]
    assert seen["stops"] == 1
    assert seen["in_select"] == -1
    assert seen["themes"][0] == seen["themes"][2] != seen["themes"][1]
    assert {words for _, words in seen["themes"]} == {"Dark theme", "Light theme"}
