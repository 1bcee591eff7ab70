"""Django's own tasks (or their backport) with the database backend."""

from dataclasses import replace

from benchmarks.peers.peer import Peer

DJANGO_TASKS = Peer(
    name="django-tasks-db",
    project="benchmarks.peers.django_tasks",
    is_durable=True,
    distributions=("django-tasks-db",),
    worker=("django", "db_worker", "--no-startup-delay"),
    finished="SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status = 'SUCCESSFUL'",
    remark="worker: 1 process, a task at a time; looks for tasks once a second",
)
TWO_DJANGO_TASKS = replace(
    DJANGO_TASKS,
    name="django-tasks-db 2",
    worker_count=2,
    remark="the same, two workers",
)
