"""The settings report everything that is wrong with them, at once, and never raise."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core.config import I3TasksSettings, PubSubConfig, PullQueue, PushQueue, Schedule
from i3tasks_core.problems import Problem, pubsub_problems, settings_problems

DEFAULT = PushQueue("default", "default", "https://shop.example.com/i3/tasks-push/")
HEAVY = PullQueue("heavy", "heavy-pull")
EMULATOR = {"EMULATOR": True, "HOST": "localhost:8085", "PROJECT_ID": "shop"}
CLOUD = {"EMULATOR": False, "PROJECT_ID": "shop"}


def make(**changes: Any) -> I3TasksSettings:
    return I3TasksSettings(**{"namespace": "tasks.shop", "default_queue": DEFAULT, **changes})


def found(**changes: Any) -> set[tuple[str, str]]:
    return {(problem.code, problem.field) for problem in settings_problems(make(**changes))}


def fields_of(problems: list[Problem]) -> list[str]:
    return [problem.field for problem in problems]


# --- I3TASKS


def test_the_least_settings_will_do():
    assert settings_problems(make()) == []


def test_the_documented_defaults():
    config = make()

    assert {field.name: getattr(config, field.name) for field in fields(config)} == {
        "namespace": "tasks.shop",
        "default_queue": DEFAULT,
        "other_queues": (),
        "schedules": (),
        "force_sync": False,
        "default_max_retries": 3,
        "run_queue_create_command_on_startup": True,
        "health_token": None,
        "health_window_minutes": 60,
        "health_stuck_minutes": 15,
        "health_failed_threshold": 5,
        "health_pending_age_seconds_threshold": 300,
        "beat_token": None,
        "lease": timedelta(seconds=60),
        "autoclean_older_than": None,
        "push_auth": None,
        "status_token": None,
    }


def test_our_own_parameters_are_keyword_only():
    keyword_only = [field.name for field in fields(I3TasksSettings) if field.kw_only]

    assert keyword_only == ["beat_token", "lease", "autoclean_older_than", "push_auth", "status_token"]
    assert I3TasksSettings("tasks.shop", DEFAULT, (HEAVY,), (), True, 5).default_max_retries == 5


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        make().namespace = "other"  # type: ignore[misc]


def test_queues_are_the_default_and_the_others():
    assert make(other_queues=(HEAVY,)).queues == (DEFAULT, HEAVY)


def test_queues_push_and_pull_mix_also_in_a_list():
    assert (
        settings_problems(make(other_queues=[HEAVY, PushQueue("mail", "mail", "http://mail:8000/i3/")])) == []
    )


def test_a_schedule_in_the_settings_is_no_problem():
    assert settings_problems(make(schedules=(Schedule("shop.tasks", "send", "0 2 * * *"),))) == []


@pytest.mark.parametrize("namespace", ["ab", "a", "tasks.shop", "Tasks-1_x", "t" * 100])
def test_namespaces_that_make_good_names(namespace):
    assert settings_problems(make(namespace=namespace)) == []


@pytest.mark.parametrize(
    "namespace",
    [5, None, "", "1shop", "goog", "google.shop", "a/b", "a b", "shop\n", b"shop", [], {}, "t" * 300],
)
def test_a_wrong_namespace_is_named(namespace):
    assert found(namespace=namespace) == {("E010", "I3TASKS.namespace")}


def test_a_wrong_namespace_hides_nothing_else():
    assert found(namespace=5, default_queue=None, other_queues=(None,), lease=1) == {
        ("E010", "I3TASKS.namespace"),
        ("E011", "I3TASKS.default_queue"),
        ("E012", "I3TASKS.other_queues[0]"),
        ("E015", "I3TASKS.lease"),
    }


@pytest.mark.parametrize("queue", [None, 5, "default", HEAVY, PushQueue, {}, ()])
def test_the_default_queue_must_be_a_push_queue(queue):
    assert found(default_queue=queue) == {("E011", "I3TASKS.default_queue")}


@pytest.mark.parametrize("queues", [None, 5, "heavy", HEAVY, {HEAVY}, {"heavy": HEAVY}, object()])
def test_other_queues_must_be_a_sequence(queues):
    assert found(other_queues=queues) == {("E012", "I3TASKS.other_queues")}


@pytest.mark.parametrize("queue", [None, 5, "heavy", PullQueue, ("heavy", "heavy-pull")])
def test_every_other_queue_must_be_a_queue_and_is_named_by_its_place(queue):
    assert found(other_queues=(HEAVY, queue)) == {("E012", "I3TASKS.other_queues[1]")}


@pytest.mark.parametrize("value", [None, 5, "", [], ["heavy"], {}, b"heavy"])
def test_a_queue_whose_names_are_no_text(value):
    queue = PullQueue(value, value)

    assert found(other_queues=(queue, queue)) == {
        ("E013", f"I3TASKS.other_queues[{index}].{name}")
        for index in (0, 1)
        for name in ("queue_name", "subscription_name")
    }


def test_a_push_queue_of_nothing_but_none():
    assert found(default_queue=PushQueue(None, None, None)) == {  # type: ignore[arg-type]
        ("E013", "I3TASKS.default_queue.queue_name"),
        ("E013", "I3TASKS.default_queue.subscription_name"),
        ("E019", "I3TASKS.default_queue.push_endpoint"),
    }


@pytest.mark.parametrize("name", ["a/b", "a b", "é", "x" * 250, "\x00"])
def test_a_name_that_pubsub_would_refuse(name):
    assert found(other_queues=(PullQueue(name, "sub"),)) == {("E013", "I3TASKS.other_queues[0]")}


def test_a_queue_name_that_no_column_holds():
    assert found(namespace="tasks", other_queues=(PullQueue("x" * 200, "y"),)) == set()
    assert found(namespace="tasks", other_queues=(PullQueue("x" * 201, "y"),)) == {
        ("E013", "I3TASKS.other_queues[0].queue_name")
    }


@pytest.mark.parametrize("topic", ["dead", "tasks.shop.dead", "a-b_c"])
def test_a_topic_of_dead_letters(topic):
    queues = (
        PullQueue("heavy", "a", dead_letter_topic=topic),
        PullQueue("mail", "b", dead_letter_topic=topic),
    )

    assert found(other_queues=queues) == set()


@pytest.mark.parametrize("topic", ["", 5, b"dead", "projects/shop/topics/dead", "d", "goog-dead", []])
def test_a_topic_of_dead_letters_that_is_none(topic):
    queue = PushQueue("default", "default", DEFAULT.push_endpoint, dead_letter_topic=topic)

    assert found(default_queue=queue) == {("E035", "I3TASKS.default_queue.dead_letter_topic")}


def test_dead_letters_that_would_ring_again_are_refused():
    queue = PullQueue("heavy", "a", dead_letter_topic="tasks.shop.default")

    assert found(other_queues=(queue,)) == {("E035", "I3TASKS.other_queues[0].dead_letter_topic")}
    assert (
        "projects/"
        in settings_problems(make(other_queues=(PullQueue("a", "a", dead_letter_topic=1),)))[0].hint
    )


def test_a_subscription_whose_full_name_is_too_long():
    problems = settings_problems(make(other_queues=(PullQueue("heavy", "x" * 250),)))

    assert fields_of(problems) == ["I3TASKS.other_queues[0]"]
    assert "255" in problems[0].hint


@pytest.mark.parametrize(
    "queue",
    [
        PullQueue("default", "other"),
        PushQueue("default", "other", "http://shop:8000/i3/"),
    ],
)
def test_a_queue_is_push_or_pull_never_both(queue):
    assert found(other_queues=(queue,)) == {("E013", "I3TASKS.other_queues[0].queue_name")}


def test_two_queues_whose_names_come_to_one_topic_are_refused():
    problems = settings_problems(make(other_queues=(PullQueue("mail.out", "a"), PullQueue("mail-out", "b"))))

    assert fields_of(problems) == ["I3TASKS.other_queues[1].queue_name"]
    assert "tasks.shop.mail-out" in problems[0].message


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        5,
        "",
        "shop.example.com/i3/tasks-push/",
        "https://shop.example.com",
        "https://shop.example.com/",
        "ftp://shop.example.com/i3/",
        "https:///i3/tasks-push/",
        "https://:443/i3/",
        "https://[/i3/",
        "https://[::1/i3/",
        "https://shop:port/i3/",
        "https://shop:99999/i3/",
        b"https://shop.example.com/i3/",
    ],
)
def test_an_endpoint_that_is_no_full_address(endpoint):
    queue = PushQueue("default", "default", endpoint)

    assert found(default_queue=queue) == {("E019", "I3TASKS.default_queue.push_endpoint")}


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8000/i3/tasks-push/", "https://shop/x?token=1", "http://[::1]:8000/i3/"]
)
def test_an_endpoint_that_is_one(endpoint):
    assert settings_problems(make(default_queue=PushQueue("default", "default", endpoint))) == []


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("default_max_retries", 0),
        ("health_window_minutes", 1),
        ("health_stuck_minutes", 1),
        ("health_failed_threshold", 0),
        ("health_pending_age_seconds_threshold", 1),
    ],
)
def test_numbers_are_whole_and_not_below_their_least(name, least):
    assert found(**{name: least}) == set()
    for wrong in (least - 1, None, "3", 3.0, True, float("nan"), [3]):
        assert found(**{name: wrong}) == {("E014", f"I3TASKS.{name}")}


@pytest.mark.parametrize("lease", ["x", 60, None, 0.5, timedelta(0), timedelta(seconds=-60), timedelta.min])
def test_a_lease_is_a_timedelta_of_a_second_or_more(lease):
    assert found(lease=lease) == {("E015", "I3TASKS.lease")}


@pytest.mark.parametrize(
    "retention",
    ["30d", 30, 0, False, timedelta(0), timedelta(seconds=59), timedelta(days=-30), timedelta.max],
)
def test_a_retention_is_a_timedelta_of_a_minute_or_more(retention):
    assert found(autoclean_older_than=retention) == {("E034", "I3TASKS.autoclean_older_than")}


@pytest.mark.parametrize(
    "retention", [None, timedelta(minutes=1), timedelta(days=30), timedelta(days=36_500)]
)
def test_a_retention_that_will_do(retention):
    assert found(autoclean_older_than=retention) == set()


@pytest.mark.parametrize("name", ["force_sync", "run_queue_create_command_on_startup"])
@pytest.mark.parametrize("value", [1, 0, None, "True", []])
def test_a_flag_is_true_or_false(name, value):
    assert found(**{name: value}) == {("E016", f"I3TASKS.{name}")}


@pytest.mark.parametrize("name", ["health_token", "beat_token", "status_token"])
@pytest.mark.parametrize("value", ["", 5, b"secret", ["s3cr3t"]])
def test_a_wrong_token_is_named_and_not_repeated(name, value):
    problems = settings_problems(make(**{name: value}))

    assert [(problem.code, problem.field) for problem in problems] == [("E017", f"I3TASKS.{name}")]
    assert "s3cr3t" not in str(problems[0])


@pytest.mark.parametrize(
    "schedules", [5, None, "0 2 * * *", (None,), ["0 2 * * *"], {}, Schedule("m", "f", "c")]
)
def test_schedules_are_a_sequence_of_schedules(schedules):
    assert found(schedules=schedules) == {("E018", "I3TASKS.schedules")}


def test_everything_wrong_is_reported_at_once_with_a_hint_for_each():
    names = [field.name for field in fields(I3TasksSettings)]
    problems = settings_problems(I3TasksSettings(**dict.fromkeys(names, object())))

    assert {problem.field for problem in problems} == {f"I3TASKS.{name}" for name in names}
    for problem in problems:
        assert problem.message
        assert problem.hint
        assert str(problem) == f"{problem.field} {problem.message}: {problem.hint}"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.timedeltas()
    | st.just(HEAVY)
    | st.just(DEFAULT)
    | st.just(object())
    | st.just(PushQueue),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        | st.builds(PullQueue, inner, inner)
        | st.builds(PushQueue, inner, inner, inner, dead_letter_topic=inner)
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.fixed_dictionaries({field.name: anything for field in fields(I3TasksSettings)}))
def test_whatever_stands_in_the_settings_nothing_is_raised(values):
    for problem in settings_problems(I3TasksSettings(**values)):
        assert problem.code.startswith("E01") or problem.code in ("E034", "E035", "E008")
        assert problem.field.startswith("I3TASKS.")


# --- PUBSUB_CONFIG


@pytest.mark.parametrize(
    "setting", [EMULATOR, CLOUD, {**CLOUD, "CREDENTIALS": None}, {**CLOUD, "CREDENTIALS": False}]
)
def test_a_pubsub_config_that_will_do(setting):
    assert pubsub_problems(setting) == []


def test_a_key_file_that_exists_will_do(tmp_path: Path):
    path = tmp_path / "key.json"
    path.write_text('{"client_email": "tasks@shop.iam.gserviceaccount.com", "private_key": "…"}')

    for given_path in (path, str(path)):
        setting = {**CLOUD, "CREDENTIALS": given_path}
        assert pubsub_problems(setting) == []
        assert PubSubConfig.of(setting).credentials == str(path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("xx", "is not JSON"), ("{}", "is no service account's"), ("[]", "is no service account's")],
)
def test_a_key_file_that_is_no_key_is_told(tmp_path: Path, text: str, wrong: str):
    path = tmp_path / "key.json"
    path.write_text(text)

    (problem,) = pubsub_problems({**CLOUD, "CREDENTIALS": str(path)})
    assert problem.code == "E006"
    assert problem.message.endswith(wrong)


def test_without_emulator_false_is_assumed():
    assert pubsub_problems({"PROJECT_ID": "shop"}) == []
    assert PubSubConfig.of({"PROJECT_ID": "shop"}).emulator is False


def test_no_key_file_means_application_default_credentials():
    for nothing in (None, False):
        assert PubSubConfig.of({**CLOUD, "CREDENTIALS": nothing}).credentials is None


@pytest.mark.parametrize(
    ("setting", "fields"),
    [
        (None, ["PUBSUB_CONFIG"]),
        (5, ["PUBSUB_CONFIG"]),
        ([("PROJECT_ID", "shop")], ["PUBSUB_CONFIG"]),
        ({}, ["PUBSUB_CONFIG['PROJECT_ID']"]),
        ({**CLOUD, "PROJECT": "x"}, ["PUBSUB_CONFIG['PROJECT']"]),
        ({**CLOUD, 5: "x"}, ["PUBSUB_CONFIG[5]"]),
        ({**CLOUD, "EMULATOR": 1}, ["PUBSUB_CONFIG['EMULATOR']"]),
        ({**CLOUD, "EMULATOR": "False"}, ["PUBSUB_CONFIG['EMULATOR']"]),
        ({**CLOUD, "PROJECT_ID": "projects/shop"}, ["PUBSUB_CONFIG['PROJECT_ID']"]),
        ({**CLOUD, "PROJECT_ID": 5}, ["PUBSUB_CONFIG['PROJECT_ID']"]),
        ({**EMULATOR, "HOST": None}, ["PUBSUB_CONFIG['HOST']"]),
        ({**EMULATOR, "HOST": "localhost"}, ["PUBSUB_CONFIG['HOST']"]),
        ({**EMULATOR, "HOST": "http://localhost:8085"}, ["PUBSUB_CONFIG['HOST']"]),
        ({**EMULATOR, "HOST": 8085}, ["PUBSUB_CONFIG['HOST']"]),
        ({**CLOUD, "CREDENTIALS": "/no/such/file"}, ["PUBSUB_CONFIG['CREDENTIALS']"]),
        ({**CLOUD, "CREDENTIALS": "a\x00b"}, ["PUBSUB_CONFIG['CREDENTIALS']"]),
        ({**CLOUD, "CREDENTIALS": ""}, ["PUBSUB_CONFIG['CREDENTIALS']"]),
        ({**CLOUD, "CREDENTIALS": 1}, ["PUBSUB_CONFIG['CREDENTIALS']"]),
        ({**CLOUD, "CREDENTIALS": {"private_key": "x"}}, ["PUBSUB_CONFIG['CREDENTIALS']"]),
        ({"EMULATOR": True}, ["PUBSUB_CONFIG['PROJECT_ID']", "PUBSUB_CONFIG['HOST']"]),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_pubsub_config(setting, fields):
    problems = pubsub_problems(setting)

    assert fields_of(problems) == fields
    assert all(problem.hint for problem in problems)


@settings(max_examples=80)
@given(
    anything
    | st.dictionaries(st.sampled_from(["EMULATOR", "HOST", "PROJECT_ID", "CREDENTIALS", 5]), anything)
)
def test_whatever_stands_in_the_pubsub_config_nothing_is_raised(setting):
    for problem in pubsub_problems(setting):
        assert problem.field.startswith("PUBSUB_CONFIG")
