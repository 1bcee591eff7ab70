"""The code blocks of the README and of pages of docs/, by what stands behind their language."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = "docs/deploy.md"
_BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(title: str, page: str = "README.md") -> list[str]:
    """Texts of the blocks that open with ```` ```language title````."""
    return [text for _, found, text in _BLOCK.findall((ROOT / page).read_text()) if found == title]


def block(title: str, page: str = "README.md") -> str:
    (text,) = blocks(title, page)
    return text


def plain_commands() -> list[str]:
    """The lines of the untitled bash blocks: the two commands of the repository itself."""
    found = _BLOCK.findall((ROOT / "README.md").read_text())
    return [
        line
        for language, title, text in found
        if language == "bash" and not title
        for line in text.splitlines()
    ]
