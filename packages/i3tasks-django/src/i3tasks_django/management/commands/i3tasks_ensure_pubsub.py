"""``python manage.py i3tasks_ensure_pubsub``: declare topics and subscriptions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from i3tasks_core.errors import PubSubError
from i3tasks_core.pubsub.provisioning import Finding, provision
from i3tasks_django.runtime import runtime


class Command(BaseCommand):
    help = "Create the topics and subscriptions that are missing and tell what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="mend subscriptions that differ")
        parser.add_argument("--only-print", action="store_true", help="change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        current = runtime()
        found = provision(
            current.clients,
            current.config.namespace,
            current.config.queues,
            fix=options["fix"],
            only_print=options["only_print"],
        )
        try:
            actions = {self._tell(finding) for finding in found}
        except PubSubError as error:
            raise CommandError(str(error)) from error
        if "drifted" in actions and not options["only_print"]:
            self.stdout.write("Some subscriptions differ from the settings: --fix mends them.")

    def _tell(self, finding: Finding) -> str:
        change = f": {finding.field} is {finding.have}, should be {finding.want}" if finding.field else ""
        self.stdout.write(f"{finding.action:8} {finding.resource}{change}")
        return finding.action
