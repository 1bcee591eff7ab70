"""``python manage.py survey``: ask for a survey of the standard library."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from i3tasks_examples.survey import calls, library


class Command(BaseCommand):
    help = "Ask for a survey of the standard library; the receiver and the worker do it."

    def handle(self, *_args: Any, **_options: Any) -> None:
        calls.ask_too_early()
        modules = library.surveyed()
        packages = calls.ask_for_survey(modules)
        self.stdout.write(
            f"Asked for {len(modules)} modules in {packages.total_count} groups, one for each package. "
            "Their reports appear in the admin."
        )
