"""A program that calls a chain within a transaction, and ends: ``python -m project.caller ORACLE QUEUE``."""

from __future__ import annotations

import sys

import django


def main(path: str, queue_name: str) -> None:
    django.setup()
    from django.contrib.auth.models import Group
    from django.db import transaction

    from i3tasks_django import chain
    from project.fault_tasks import leave_a_trace

    traced = leave_a_trace.using(queue_name=queue_name)
    with transaction.atomic():
        Group.objects.create(name="with it")
        chain(traced.s(path, "first"), traced.s(path, "second")).delay()


if __name__ == "__main__":
    main(*sys.argv[1:])
