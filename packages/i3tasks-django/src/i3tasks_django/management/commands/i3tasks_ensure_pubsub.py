"""``python manage.py i3tasks_ensure_pubsub``: declare topics and subscriptions.

Exit codes: 0, everything is as the settings say (by now); 1, Pub/Sub or a setting is in the way, and one line
says why; 3, something differs or, with ``--only-print``, is missing. 2 is Python's own, for a wrong option.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from i3tasks_core.errors import PubSubError
from i3tasks_core.pubsub.provisioning import Finding, provision
from i3tasks_django.runtime import runtime

DIFFERENT = 3


class Command(BaseCommand):
    help = (
        "Create the topics and subscriptions that are missing and tell what differs, field by field. "
        f"Exit codes: 0 when all is as I3TASKS says, {DIFFERENT} when something differs or (--only-print) is "
        "missing, 1 when Pub/Sub could not be asked or refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="mend subscriptions that differ")
        parser.add_argument(
            "--only-print", action="store_true", help="change nothing, whatever else is asked"
        )

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
            left = [finding for finding in map(self._told, found) if finding.action in ("missing", "drifted")]
        except PubSubError as error:
            raise CommandError(str(error)) from error
        if left:
            raise CommandError(_summary(left), returncode=DIFFERENT)

    def _told(self, finding: Finding) -> Finding:
        change = f": {finding.field} is {finding.have}, should be {finding.want}" if finding.field else ""
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        self.stdout.write(f"{finding.action:8} {finding.resource}{change}{remedy}")
        return finding


def _summary(left: list[Finding]) -> str:
    missing_count = sum(finding.action == "missing" for finding in left)
    mendable_count = sum(finding.action == "drifted" and not finding.remedy for finding in left)
    parts = [
        f"{missing_count} missing: run without --only-print" if missing_count else "",
        f"{mendable_count} to be mended with --fix" if mendable_count else "",
        f"{by_hand_count} to be mended by hand, as written above"
        if (by_hand_count := len(left) - missing_count - mendable_count)
        else "",
    ]
    return "Pub/Sub is not as I3TASKS says: " + "; ".join(filter(None, parts))
