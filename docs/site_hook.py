"""What the site needs beyond the pages: two that live elsewhere in the tree, and no links into source code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
BORROWED = {"contributing.md": "CONTRIBUTING.md", "demo_weights.md": "henasy_stream/weights/demo.md"}
"""Pages of the site by the files of the tree that they show."""

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Adds the borrowed pages."""
    for page, source in BORROWED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turns links out of `docs/` into links to borrowed pages, or into the file's name where the site has no page."""
    home = ROOT / BORROWED.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def resolved(match: re.Match[str]) -> str:
        text, target, heading = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        path = (home.parent / target).resolve()
        if not path.exists():
            return match[0]  # mkdocs tells of it
        place = path.relative_to(ROOT).as_posix()
        for shown, source in BORROWED.items():
            if place == source:
                return f"[{text}]({shown}{heading})"
        if place == "README.md":
            return f"[{text}](index.md)"
        if place.startswith("docs/") and path.is_file():
            up = "../" * page.file.src_uri.count("/")
            return f"[{text}]({up}{place.removeprefix('docs/')}{heading})"
        return f"{text} (`{place}`)" if text.strip("`") != place else f"`{place}`"

    return re.sub(r"(?<!!)" + _LINK.pattern, resolved, markdown)
