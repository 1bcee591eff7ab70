"""``path("i3/", include("i3tasks_django.urls"))``."""

from django.urls import path

from i3tasks_django.views.beat import beat
from i3tasks_django.views.health import health
from i3tasks_django.views.push import push
from i3tasks_django.views.status import status

urlpatterns = [
    path("tasks-push/", push, name="i3tasks-push"),
    path("tasks-beat/", beat, name="i3tasks-beat"),
    path("tasks-health/", health, name="i3tasks-health"),
    path("tasks-status/<uuid:execution_id>/", status, name="i3tasks-status"),
]
