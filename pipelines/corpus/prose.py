#!/usr/bin/env python3
"""prose.py [--bytes N] FOLDER... > docs.jsonl

The English documentation of unpacked Debian packages as JSON lines
{"id", "source", "text"}, source the folder's name: HTML pages to plain text, cut at headings into
sections of one to six thousand characters. Packages take turns, so that any
beginning of the output is a fair mixture; --bytes stops after so many bytes of
text. The same packages give the same bytes.
"""
import argparse
import html.parser
import json
import os
import re
import signal
import sys

BLOCK = {"p", "div", "section", "ul", "ol", "dl", "dt", "dd", "li", "table",
         "tr", "pre", "blockquote", "br", "hr", "article", "main", "caption",
         "figure", "figcaption", "tbody", "thead"}
HEADING = {"h1", "h2", "h3", "h4", "h5", "h6"}
SKIP_TAG = {"script", "style", "head", "nav", "header", "footer", "svg", "math",
            "form", "button", "noscript"}
# What documentation generators put around the text: DocBook, Sphinx,
# AsciiDoc, and hand-written navigation.
SKIP_CLASS = {"navheader", "navfooter", "toc", "sphinxsidebar", "related",
              "footer", "headerlink", "toctree-wrapper", "highlighttable",
              "docnav", "indextable", "menu", "tblmenu", "fancy_title",
              "nosearch", "yyterm", "imgcontainer", "list-of-figures"}
VOID = {"br", "hr", "img", "input", "meta", "link", "col", "area", "base",
        "wbr", "source", "track", "param", "embed"}
SHORT, LONG = 1000, 6000


class Text(html.parser.HTMLParser):
    """Collects (is_heading, text) blocks."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.blocks, self.now = [], []
        self.stack = []         # (tag, skipped)
        self.skip = self.pre = 0
        self.item = False       # the next block opens a list item

    def flush(self, heading=False):
        text = "".join(self.now)
        if self.pre:
            text = text.strip("\n").rstrip()
        else:
            text = " ".join(text.split())
        self.now = []
        if text.strip():
            self.blocks.append((heading, "- " + text if self.item else text))
            self.item = False

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        skipped = (tag in SKIP_TAG or a.get("role") == "navigation" or
                   bool(SKIP_CLASS & set((a.get("class") or "").split())))
        if not self.skip and (tag in BLOCK or tag in HEADING):
            self.flush()
        if tag in VOID:
            return
        self.stack.append((tag, skipped))
        self.skip += skipped
        if tag == "pre":
            self.pre += 1
        if not self.skip and tag == "li":
            self.item = True

    def handle_endtag(self, tag):
        if tag not in (t for t, _ in self.stack):
            return
        if not self.skip and (tag in BLOCK or tag in HEADING):
            self.flush(tag in HEADING)
        while self.stack:
            t, skipped = self.stack.pop()
            self.skip -= skipped
            if t == "pre":
                self.pre -= 1
            if t == tag:
                break

    def handle_data(self, data):
        if not self.skip:
            self.now.append(data.replace("\u00b6", "").replace("\u00ad", ""))


def sections(blocks):
    """Blocks to texts: a heading starts a new one once there is enough."""
    out = ""
    for heading, text in blocks:
        if len(out) > LONG or heading and len(out) > SHORT:
            yield out
            out = ""
        if out:
            out += "\n" if text.startswith("- ") else "\n\n"
        out += text
    if len(out) > SHORT // 2:
        yield out


def is_prose(text):
    """Leaves out indexes, tables of symbols and other languages."""
    letters = sum(c.isalpha() for c in text)
    plain = sum(c < "\x80" for c in text)
    words = re.findall(r"\b(?:the|of|to|and|is|in|a)\b", text)
    return (letters > 0.6 * len(text) and plain > 0.97 * len(text) and
            len(words) > len(text) / 120)


def pages(root):
    """HTML pages of one unpacked package, English ones, in a fixed order."""
    for folder, dirs, files in os.walk(root):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            rel = os.path.relpath(path, root)
            if not re.search(r"\.html?$", name) or os.path.islink(path):
                continue
            m = re.search(r"[./]([a-z]{2})(?:[-_][A-Z]{2})?[./]", rel)
            if m and m.group(1) in LANGUAGES:
                continue
            if re.search(r"genindex|search|py-modindex|index-all|copyright", name):
                continue
            yield rel, path


LANGUAGES = set("ar bg ca cs da de el es fa fi fr he hr hu id it ja ko nb nl no "
                "pl pt ro ru sk sv tr uk vi zh".split())


def documents(root):
    source = os.path.basename(os.path.abspath(root))
    seen = set()
    for rel, path in pages(root):
        with open(path, encoding="utf-8", errors="replace") as f:
            parser = Text()
            parser.feed(f.read())
            parser.close()
            parser.flush()
        for i, text in enumerate(sections(parser.blocks)):
            if is_prose(text) and text not in seen:
                seen.add(text)
                yield {"id": f"{rel}#{i}", "source": source, "text": text}


def write(folders, limit):
    total = 0
    turns = [documents(f) for f in folders]
    while turns and not (limit and total >= limit):
        for t in list(turns):
            doc = next(t, None)
            if doc is None:
                turns.remove(t)
                continue
            print(json.dumps(doc, ensure_ascii=False))
            total += len(doc["text"].encode())
            if limit and total >= limit:
                break
    return total


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ap = argparse.ArgumentParser(description="prose out of Debian packages")
    ap.add_argument("--bytes", type=int, default=0, help="stop after so many; 0: all")
    ap.add_argument("folder", nargs="+", help="an unpacked package")
    a = ap.parse_args()
    try:
        total = write(a.folder, a.bytes)
        sys.stdout.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"prose: {e}")
    if not total:
        sys.exit("prose: no English prose in " + " ".join(a.folder))


if __name__ == "__main__":
    main()
