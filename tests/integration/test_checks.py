"""A wrong setting is named with what to write instead, all of them at once."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections
from django.test.utils import override_settings

from i3tasks_core import registry
from i3tasks_core.problems import settings_problems
from i3tasks_django import checks, task
from i3tasks_django.runtime import runtime
from i3tasks_django.task import _known, find_task
from i3tasks_django.types import I3TasksSettings, PullQueue, PushQueue, Queue, Schedule
from project import tasks

PUSH = PushQueue("default", "default", "https://shop.example.com/i3/tasks-push/")


def found():
    return {error.id: error for error in run_checks() if error.id.startswith("i3tasks.")}


def test_the_test_projects_settings_are_sound():
    assert found() == {}


def test_every_problem_is_told_at_once(override):
    with (
        override_settings(
            PUBSUB_CONFIG={"EMULATOR": True, "PROJECT_ID": "", "CREDENTAILS": "typo"},
            I3TASKS=I3TasksSettings(
                namespace="9tasks",
                default_queue=PullQueue("default", "default"),
                default_max_retries=-1,
                health_token="",
                lease=timedelta(0),
                force_sync="yes",
            ),
        ),
    ):
        errors = found()

    fields = {error.msg.split(" ")[0] for error in errors.values()}
    assert fields == {
        "PUBSUB_CONFIG['CREDENTAILS']",
        "PUBSUB_CONFIG['PROJECT_ID']",
        "PUBSUB_CONFIG['HOST']",
        "I3TASKS.namespace",
        "I3TASKS.default_queue",
        "I3TASKS.default_max_retries",
        "I3TASKS.health_token",
        "I3TASKS.lease",
        "I3TASKS.force_sync",
    }
    assert all(error.hint for error in errors.values())


def test_a_missing_setting_is_named():
    with override_settings(I3TASKS=None, PUBSUB_CONFIG=None):
        assert set(found()) == {"i3tasks.E001", "i3tasks.E009"}
        with pytest.raises(
            ImproperlyConfigured, match=r"PUBSUB_CONFIG is None: write a dict.*I3TASKS is missing"
        ):
            runtime()


def test_the_default_queue_must_be_a_push_queue():
    with override_settings(I3TASKS=I3TasksSettings("tasks", PullQueue("default", "default"))):
        assert "I3TASKS.default_queue is PullQueue" in found()["i3tasks.E011"].msg


@pytest.mark.parametrize(
    "other",
    [
        PullQueue("default", "again"),
        PullQueue("", "x"),
        PullQueue(None, None),
        PullQueue("späte", "x"),
    ],
)
def test_a_queue_must_have_a_name_of_its_own_that_pubsub_takes(other):
    with override_settings(I3TASKS=I3TasksSettings("tasks", PUSH, (other,))):
        assert found().keys() == {"i3tasks.E013"}


@pytest.mark.parametrize("endpoint", ["shop.example.com/i3/tasks-push/", "ftp://x/y", "https://x", None])
def test_a_push_endpoint_must_be_an_address(endpoint):
    with override_settings(I3TASKS=I3TasksSettings("tasks", PushQueue("default", "default", endpoint))):
        assert found().keys() == {"i3tasks.E019"}


def test_credentials_must_be_a_file_that_is_there(tmp_path):
    setting = {"EMULATOR": False, "PROJECT_ID": "shop", "CREDENTIALS": str(tmp_path / "none.json")}
    with override_settings(PUBSUB_CONFIG=setting):
        assert found().keys() == {"i3tasks.E006"}
    for absent in ({}, {"CREDENTIALS": None}, {"CREDENTIALS": False}):
        with override_settings(PUBSUB_CONFIG={"EMULATOR": False, "PROJECT_ID": "shop", **absent}):
            assert found() == {}


def test_the_documented_positional_settings_are_accepted():
    setting = I3TasksSettings(
        "tasks.shop", PUSH, (PullQueue("heavy", "heavy"),), (Schedule("m", "f", "* * * * *", [], {}),)
    )

    assert settings_problems(setting) == []
    assert Queue is PushQueue
    assert (setting.force_sync, setting.default_max_retries, setting.health_window_minutes) == (False, 3, 60)


def test_sqlite_must_be_set_up_for_writers_that_wait_for_each_other():
    options = connections["default"].settings_dict["OPTIONS"]
    before = dict(options)
    options.clear()
    try:
        assert found().keys() == {"i3tasks.E023", "i3tasks.E024", "i3tasks.E025"}
    finally:
        options.update(before)


def test_time_zones_must_be_in_use():
    with override_settings(USE_TZ=False):
        assert found().keys() == {"i3tasks.E020"}


def test_a_task_on_a_queue_that_is_not_listed_is_named(monkeypatch):
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))

    @task(queue_name="nowhere")
    def lost():
        pass

    assert ".lost queue_name is 'nowhere'" in found()["i3tasks.E026"].msg


def test_two_functions_of_one_name_are_told(monkeypatch):
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    monkeypatch.setattr(registry, "_conflicts", {})

    @task
    def twice():
        return 1

    @task  # another function under a name that is taken
    def twice():  # noqa: F811
        return 2

    assert "twice names two functions, in " in found()["i3tasks.E028"].msg


class Routed:
    """A database router."""

    def __init__(self, *models):
        self.models = models

    def db_for_write(self, model, **hints):
        if model._meta.app_label == "i3tasks_django" and (not self.models or model.__name__ in self.models):
            return "tasks"
        return None

    db_for_read = db_for_write


@pytest.fixture
def options(monkeypatch):
    """Changes the database's OPTIONS until the test ends."""

    def change(**fields):
        database = connections["default"].settings_dict
        monkeypatch.setitem(database, "OPTIONS", {**database["OPTIONS"], **fields})

    return change


@pytest.fixture
def postgresql(monkeypatch):
    monkeypatch.setattr(connections["default"], "vendor", "postgresql", raising=False)


@pytest.fixture
def tasks_database(monkeypatch):
    """A second database, which nobody connects to."""
    monkeypatch.setitem(connections.settings, "tasks", connections.settings["default"])
    yield
    if "tasks" in {made.alias for made in connections.all(initialized_only=True)}:
        del connections["tasks"]


def test_tables_in_another_database_are_warned_of(tasks_database):
    with override_settings(DATABASE_ROUTERS=[Routed()]):
        warning = found()["i3tasks.W020"]

        assert "DATABASE_ROUTERS keep i3tasks' tables in 'tasks': a call made in a trans" in warning.msg
        assert "atomic(using='tasks')" in warning.hint
        assert checks.problems() == []


def test_tables_that_are_kept_apart_are_refused(tasks_database):
    with override_settings(DATABASE_ROUTERS=[Routed("TaskGroup", "TaskSchedule")]):
        assert "TaskExecutionTry in 'default', TaskGroup in 'tasks'" in found()["i3tasks.E037"].msg


def test_a_lease_that_a_waiting_heart_may_lose_is_warned_of(i3tasks, options):
    i3tasks(lease=timedelta(seconds=27))
    assert found() == {}

    i3tasks(lease=timedelta(seconds=26))
    assert "I3TASKS.lease is 26 s, and on SQLite a heartbeat may wait" in found()["i3tasks.W021"].msg
    i3tasks(lease=timedelta(seconds=60))
    options(timeout=45)
    assert found()["i3tasks.W021"].hint == "Write a lease of more than 60 s."
    assert checks.problems() == []


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (True, 4),
        ({}, None),
        ({"min_size": 2}, 2),
        ({"max_size": 10}, 10),
        ({"max_size": 20}, None),
        ({"min_size": 21}, None),
        ({"min_size": 1, "max_size": 10}, 10),
        ({"min_size": 20, "max_size": None}, None),
        ({"max_size": "many"}, None),
        (False, None),
        (None, None),
    ],
)
def test_a_pool_that_is_too_small_is_warned_of(postgresql, options, pool, size):
    options(pool=pool)

    told = {problem.code: str(problem) for problem in checks.warnings()}

    if size is None:
        assert told == {}
    else:
        assert (
            f"['pool'] gives {size} connections, and a receiver with I3TASKS_THREADS=16 uses 20"
            in (told["W022"])
        )
        assert 'write {"max_size": 20}' in told["W022"]


def test_a_pool_is_measured_by_what_the_environment_asks_for(postgresql, options, monkeypatch):
    options(pool={"max_size": 20})
    assert checks.warnings() == []

    monkeypatch.setenv("I3TASKS_CONCURRENCY", "15")
    assert "I3TASKS_CONCURRENCY=15 uses 21" in str(checks.warnings()[0])
    monkeypatch.setenv("I3TASKS_THREADS", "20")
    assert "a receiver with I3TASKS_THREADS=20 uses 24" in str(checks.warnings()[0])
    monkeypatch.setenv("I3TASKS_CONCURRENCY", "ten")
    monkeypatch.setenv("I3TASKS_THREADS", "")
    assert checks.warnings() == []


def test_a_project_without_pull_queues_has_no_worker(postgresql, options, i3tasks):
    i3tasks(other_queues=())
    options(pool={"max_size": 20})
    assert checks.warnings() == []

    options(pool={"max_size": 19})
    assert "a receiver with I3TASKS_THREADS=16 uses 20" in str(checks.warnings()[0])


@pytest.fixture
def forgotten(monkeypatch):
    """Tasks of the test are forgotten when it ends."""
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    monkeypatch.setattr(sys.modules[find_task.__module__], "_known", dict(_known))


def test_a_task_that_is_longer_than_a_push_is_told(forgotten):
    @task(timeout=571)
    def too_long():
        pass

    @task(timeout=570.5)
    async def too_long_as_well():
        pass

    @task(timeout=570)
    async def just_long_enough():
        pass

    @task(timeout=timedelta(days=2), queue_name="heavy")
    def pulled():
        pass

    told = [str(problem) for problem in checks.problems()]

    assert len(told) == 2
    assert ".too_long timeout is 571 s, and 'default' is a push queue: write at most 570 s" in told[0]
    assert ".too_long_as_well timeout is 570.5 s" in told[1]


def test_a_schedule_that_puts_a_long_task_on_a_push_queue_is_told(forgotten, i3tasks):
    @task(timeout=3600, queue_name="heavy")
    def hourly():
        pass

    path, name = hourly.definition.path, hourly.definition.name
    i3tasks(schedules=[Schedule(path, name, "@hourly")])
    assert found() == {}

    i3tasks(schedules=[Schedule(path, name, "@hourly", queue_name="default")])
    assert "I3TASKS.schedules[0]: the timeout of its task is 3600 s" in found()["i3tasks.E036"].msg


def test_an_empty_secret_key_is_told():
    with override_settings(SECRET_KEY=""):
        assert found().keys() == {"i3tasks.E027"}


@pytest.mark.parametrize(
    "options",
    [
        None,
        {"timeout": "30", "init_command": None},
        {"transaction_mode": 5, "timeout": None, "init_command": 7},
    ],
)
def test_options_of_any_kind_are_told_and_not_tripped_over(options):
    settings = connections["default"].settings_dict
    before = settings["OPTIONS"]
    settings["OPTIONS"] = options
    try:
        # Ours alone: Django's own checks may open a connection with these options.
        assert {problem.code for problem in checks.problems()} == {"E023", "E024", "E025"}
    finally:
        settings["OPTIONS"] = before


def test_another_database_is_refused(monkeypatch):
    monkeypatch.setattr(connections["default"], "vendor", "mysql", raising=False)

    assert {problem.code for problem in checks.problems()} == {"E021"}


def test_checking_and_migrating_touch_no_network(monkeypatch):
    monkeypatch.setattr("grpc.insecure_channel", lambda *_a, **_k: pytest.fail("a channel was opened"))
    call_command("check")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "max_retries=-1: write a whole number"),
        ({"timeout": 0}, "timeout=0: write a positive"),
    ],
)
def test_a_wrong_option_of_a_task_is_refused_where_it_is_written(options, message):
    with pytest.raises(ValueError, match=message):

        @task(**options)
        def never():
            pass


def test_bound_metadata_must_have_a_place_of_its_own():
    with pytest.raises(TypeError, match="has bind=True but no parameter task_metadata: add it"):

        @task(bind=True)
        def without(a):
            pass

    with pytest.raises(TypeError, match=r"write task_metadata last, or after a \*"):

        @task(bind=True)
        def first(task_metadata, a):
            pass

    @task(bind=True)
    def last(a, task_metadata):
        pass

    @task(bind=True)
    def by_keyword(a, *, task_metadata):
        pass

    @task(bind=True)
    def among_others(a, **everything):
        pass


@pytest.mark.parametrize("given", [5, lambda: 1, len, dict, partial(print)])
def test_a_task_must_be_a_function_with_a_name(given):
    with pytest.raises(TypeError, match="@task takes a function with a name"):
        task(given)


def test_a_name_that_no_column_holds_is_refused_where_it_is_written(forgotten):
    def make(length):
        def func():
            pass

        func.__qualname__ = "f" * length
        return func

    assert task(make(200)).definition.name == "f" * 200
    with pytest.raises(ValueError, match="is longer than 200 characters: shorten it"):
        task(make(201))


def test_a_method_is_refused_where_it_is_written():
    with pytest.raises((TypeError, RuntimeError)) as raised:

        class Shop:
            @task
            def send(self):
                pass

    error = raised.value.__cause__ or raised.value  # Python 3.11 wraps what __set_name__ raises
    assert "Shop.send: a task is a function of its module" in str(error)


def test_a_class_may_name_a_task_of_its_module():
    class Shop:
        job = tasks.add

    assert Shop.job is tasks.add


def test_a_function_of_the_started_script_cannot_be_called_later(monkeypatch):
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))

    def script():
        pass

    script.__module__ = "__main__"
    with pytest.raises(RuntimeError, match="stands in __main__, where no worker looks it up"):
        task(script).delay()


def test_a_schedule_of_something_that_is_no_task_is_told(i3tasks):
    i3tasks(schedules=[Schedule("project.tasks", "nobody", "* * * * *")])

    error = found()["i3tasks.E032"]
    assert "I3TASKS.schedules[0] names project.tasks.nobody, which is no task" in error.msg
    assert "decorated with @task" in error.hint


def test_a_schedule_whose_arguments_do_not_fit_is_told(i3tasks):
    i3tasks(schedules=[Schedule("project.tasks", "add", "* * * * *", [1])])

    assert "missing a required argument: 'b'" in found()["i3tasks.E033"].msg


def test_a_wrong_expression_in_the_settings_is_told(i3tasks):
    with override_settings(
        I3TASKS=replace(settings.I3TASKS, schedules=[Schedule("project.tasks", "nothing", "soon")])
    ):
        assert "Write five fields" in found()["i3tasks.E030"].hint
