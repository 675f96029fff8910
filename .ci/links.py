"""Links of the documentation's built site: what each points to is there, and no page asks another host for anything.

python .ci/links.py SITE

Every href, src and #fragment of every page is looked up in the site; addresses elsewhere are checked for their form and
counted, and with --list printed. A picture, a script, a font or a style sheet of another host is a fault: the site is
read without a network.
"""

import argparse
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

#: What a browser loads by itself, by element; other links wait for a person.
LOADED = {"script", "img", "iframe", "source", "video", "audio", "embed", "object", "use", "image"}
#: Relations of <link> that name a page and load nothing.
NAMED = {"canonical", "prev", "next", "alternate", "license", "author"}
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)(['"]?)(?!data:)([^'")\s]+)\1""")


class Page(HTMLParser):
    """A page's anchors, and its links: an address, and whether the browser loads it unasked."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._style = tag == "style"
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name) and (name == "id" or tag == "a")}
        loaded = tag in LOADED or (tag == "link" and not NAMED & set((given.get("rel") or "").split()))
        found = [given[name] for name in ("href", "src", "data", "poster", "xlink:href") if given.get(name)]
        found += [each.split()[0] for each in (given.get("srcset") or "").split(",") if each.strip()]
        self.links += [(address, loaded) for address in found if not address.startswith("data:")]
        self.links += [(found[2], True) for found in IN_STYLE.finditer(given.get("style") or "")]

    def handle_data(self, data: str) -> None:
        if self._style:
            self.links += [(found[2], True) for found in IN_STYLE.finditer(data)]
            self._style = False


def check(site: Path) -> tuple[list[str], Counter[str], Counter[str]]:
    """The faults, the number of links by kind, and the addresses elsewhere with how often each is linked."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    sheets = {path.resolve(): IN_STYLE.findall(path.read_text(encoding="utf-8")) for path in site.rglob("*.css")}
    links = [(page, *link) for page, read in pages.items() for link in read.links]
    links += [(sheet, address, True) for sheet, found in sheets.items() for _, address in found]
    faults, counts, elsewhere = [], Counter(pages=len(pages)), Counter()
    for source, address, loaded in links:
        fault, kind = look_up(source, address, loaded, site.resolve(), pages)
        counts[kind] += 1
        if kind == "elsewhere":
            elsewhere[address] += 1
        if fault:
            faults.append(f"{source.relative_to(site.resolve())}: {address}: {fault}")
    return sorted(set(faults)), counts, elsewhere


def look_up(source: Path, address: str, loaded: bool, site: Path, pages: dict[Path, Page]) -> tuple[str, str]:
    """What is wrong with a link, if anything, and its kind."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        if parts.scheme == "mailto":
            return ("" if "@" in parts.path else "is no address"), "elsewhere"
        if loaded:
            return "is loaded from another host", "elsewhere"
        well_formed = parts.scheme in ("https", "http") and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or "")
        return ("" if well_formed and " " not in address else "is no address of the web"), "elsewhere"
    path, fragment = urldefrag(address)
    # The page of what is not found is shown at any address, so that its links begin with the site's.
    base = site if path.startswith("/") else source.parent
    target = (base / unquote(path.split("?")[0]).lstrip("/")).resolve() if path else source
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site) or not target.is_file():
        return "is not there", "pages and files"
    if fragment and target in pages:
        there = unquote(fragment) in pages[target].anchors
        return ("" if there else "has no such anchor"), "anchors"
    return "", "pages and files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--list", action="store_true", help="Print the addresses elsewhere.")
    given = parser.parse_args()
    faults, counts, elsewhere = check(given.site)
    if not counts["pages"]:
        sys.exit(f"{given.site} has no pages: make docs makes them")
    if given.list:
        for address, count in sorted(elsewhere.items()):
            print(f"{count:5}  {address}")
    print(
        f"{counts['pages']} pages: {counts['pages and files']} links to pages and files, {counts['anchors']} to "
        f"anchors, {counts['elsewhere']} to {len(elsewhere)} addresses elsewhere; {len(faults)} broken"
    )
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
