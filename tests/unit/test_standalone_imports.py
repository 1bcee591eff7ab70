"""What may be imported without what: each case in a Python of its own."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import i3tasks_core

MODULES = [
    module.name
    for module in pkgutil.walk_packages(i3tasks_core.__path__, "i3tasks_core.")
    if not module.name.endswith("__main__")
]

REFUSE = """
import importlib, sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{name} is refused here")

sys.meta_path.insert(0, Refusal())
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def imported(modules: list[str], refused: set[str], watched: set[str]) -> str:
    """Import the modules where some others cannot be; which of the watched ones came along."""
    return python(
        f"REFUSED = {refused!r}\n{REFUSE}\n"
        f"list(map(importlib.import_module, {modules!r}))\n"
        f"print(*sorted({watched!r} & set(sys.modules)))"
    )


def test_the_list_of_modules_is_not_empty():
    assert {"i3tasks_core.worker", "i3tasks_core.pubsub.publisher"} <= set(MODULES)


def test_all_of_core_imports_without_django_and_without_google():
    assert imported(MODULES, {"django", "i3tasks_django"}, {"django", "google", "grpc"}) == ""


def test_the_hook_does_refuse():
    done = subprocess.run(
        [sys.executable, "-c", f"REFUSED = {{'django'}}\n{REFUSE}\nimport django"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "django is refused here" in done.stderr


@pytest.mark.parametrize("module", ["i3tasks_django.types", "i3tasks_django.utils", "i3tasks_django"])
def test_what_settings_and_tasks_import_is_without_google_and_loads_no_models(module):
    watched = {"google", "grpc", "i3tasks_django.models", "i3tasks_django.store", "i3tasks_django.runtime"}

    assert imported([module], {"google", "grpc"}, watched) == ""


def test_importing_the_settings_types_needs_no_configured_settings():
    code = "import i3tasks_django.types as t; from django.conf import settings; print(settings.configured)"

    assert python(code) == "False"


def test_the_emulator_imports_without_django_and_core():
    assert imported(["i3tasks_emulator"], {"django", "i3tasks_core", "i3tasks_django"}, {"django"}) == ""
