"""One thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with the settings.

    Attributes:
        code: stable id, e.g. ``E003``.
        field: the setting's full name, e.g. ``I3TASKS.default_queue``.
        message: what is wrong, with the value.
        hint: what to write instead.
    """

    code: str
    field: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.field} {self.message}: {self.hint}"
