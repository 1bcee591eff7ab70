"""The Django app."""

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_finished
from django.utils.module_loading import autodiscover_modules


class I3TasksConfig(AppConfig):
    """Imports every app's ``tasks`` module, so that names can be looked up; touches nothing else."""

    name = "i3tasks_django"
    label = "i3tasks_django"
    verbose_name = "i3tasks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from i3tasks_django.checks import TAG, check_all
        from i3tasks_django.deploy_checks import check_doors

        checks.register(check_all, TAG)
        request_finished.connect(_flush, dispatch_uid="i3tasks-ringing")
        checks.register(check_doors, TAG, deploy=True)
        autodiscover_modules("tasks")


def _flush(**_: Any) -> None:
    """After the response, and before a server that scales to zero takes the processor away."""
    from i3tasks_django import ringing

    ringing.flush()
