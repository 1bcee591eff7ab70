"""The demo, as somebody runs it who has just cloned the repository."""

from __future__ import annotations

import http.cookiejar
import io
import json
import os
import re
import signal
import subprocess
import sys
import tokenize
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from i3tasks_examples.progress import Progress
from i3tasks_examples.survey import library
from i3tasks_examples.survey.analysis import analyse
from processes import Process, wait_until

MANAGE = Path(__file__).parents[2] / "examples" / "manage.py"
FEW = ("--limit", "36")
PACKAGE_COUNT = len(library.by_package(library.surveyed(36)))

# Besides 36 modules, 2 broken files and the packages: the overall report, the step that hears of the broken
# files, and the report that is asked for too early.
TASK_COUNT = 36 + 2 + PACKAGE_COUNT + 3

sees_processes = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="asks /proc who is left")


class Demo:
    """The demo in a folder of its own, and all processes that come from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.report = folder / "report.html"
        self.mark = f"DEMO_TEST={uuid.uuid4()}"
        self.temporary.mkdir()
        self._process: Process | None = None

    def start(self, *arguments: str) -> Process:
        name, _, value = self.mark.partition("=")
        environment = {**os.environ, name: value, "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"}
        command = ("i3tasks_examples.demo", "--report", str(self.report), *arguments)
        self._process = Process(*command, environment=environment)
        return self._process

    def left_behind(self) -> list[str]:
        """Command lines of all processes that have our mark in their environment."""
        return [_read(path.with_name("cmdline")) for path in _environments() if self.mark in _read(path)]

    def end(self) -> None:
        if self._process is not None:
            self._process.end()


def _environments() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*/environ")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it has just ended


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.end()


def test_the_demo_does_its_work_and_shows_groups_two_failures_and_a_retry(demo: Demo) -> None:
    process = demo.start(*FEW)
    assert process.exit_code(100) == 0, process.output

    text = process.output
    assert re.search(rf"tasks +{TASK_COUNT}: {TASK_COUNT - 2} succeeded, 2 failed", text)
    assert re.search(rf"groups +{PACKAGE_COUNT + 2}: {PACKAGE_COUNT + 1} succeeded, 1 failed", text)
    assert re.search(rf"queues +19 on 'default', 19 on 'heavy', {PACKAGE_COUNT + 3} on 'reports'", text)
    assert "2 × SyntaxError, not repeated" in text
    assert re.search(r"\d+ × ReportsMissing, followed by another try", text)
    assert len(re.findall(r"sum_up_package\('asyncio', \d+\): success at try [2-9]", text)) == 1
    assert re.search(r"throughput +\d+ tasks/s", text)
    assert re.search(r"p50 \d+\.\d\d s, p99 \d+\.\d\d s", text)
    assert f"{TASK_COUNT}/{TASK_COUNT} tasks, {PACKAGE_COUNT}/{PACKAGE_COUNT} packages, 100 %" in text
    assert "\r" not in text  # not a terminal: no bar

    report = demo.report.read_text()
    assert "broken/python2.py.txt" in report
    assert "broken/unclosed.py.txt" in report
    assert report.count("Traceback (most recent call last)") == 2
    assert "modules of asyncio have not been surveyed yet" in report
    assert "asyncio/base_events.py" in report
    assert f"<b>{PACKAGE_COUNT}</b><span>packages</span>" in report
    assert "<b>36</b><span>modules surveyed</span>" in report
    assert report.count("<tr><td><code>asyncio</code></td>") == 1
    assert "heard of <code>broken/python2.py.txt</code> and <code>broken/unclosed.py.txt</code>" in _words(
        report
    )
    assert demo.left_behind() == []
    assert list(demo.temporary.iterdir()) == []


@sees_processes
@pytest.mark.parametrize("moment", ["Surveying", "beat", " %, "], ids=["start-up", "started", "surveying"])
def test_ctrl_c_stops_everything_at_any_moment(demo: Demo, moment: str) -> None:
    process = demo.start(*FEW)
    process.says(moment)
    process.signal(signal.SIGINT)

    assert process.exit_code() == 130, process.output
    assert "Stopped." in process.output
    assert "Traceback" not in process.output
    assert demo.left_behind() == []
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells the children")
def test_a_killed_demo_takes_its_services_with_it(demo: Demo) -> None:
    process = demo.start(*FEW)
    process.says("beat")
    assert len(demo.left_behind()) >= 5
    os.kill(process.pid, signal.SIGKILL)
    process.exit_code()

    wait_until(lambda: not demo.left_behind(), 30, "the services have ended")


def test_a_service_that_ends_by_itself_is_named(demo: Demo) -> None:
    process = demo.start(*FEW)
    process.says("beat")
    _kill_service(demo, "i3tasks_worker")

    assert process.exit_code() == 1, process.output
    assert "worker ended by itself with code -9" in process.output
    assert "Traceback" not in process.output
    assert demo.left_behind() == []


def test_what_is_unfinished_in_time_is_named_and_the_logs_are_kept(demo: Demo) -> None:
    process = demo.start(*FEW, "--timeout", "1")
    assert process.exit_code(60) == 1, process.output

    assert "tasks are unfinished after 1 s, among them " in process.output
    folder = Path(process.output.split(" are in ")[1].strip())
    assert "service_started" in (folder / "worker.log").read_text()
    assert demo.left_behind() == []


def test_a_report_that_cannot_be_written_is_refused_before_the_work(demo: Demo) -> None:
    demo.report.mkdir()
    process = demo.start(*FEW)

    assert process.exit_code() == 2, process.output
    assert "report.html' is no place for a file" in process.output
    assert "Surveying" not in process.output


def test_stay_serves_health_and_an_admin_to_log_in_to(demo: Demo) -> None:
    process = demo.start(*FEW, "--stay")
    process.says("Press Ctrl+C", 100)
    health, admin = (_address(process, name) for name in ("health", "admin"))
    log_in = re.search(r"user (\S+), password (\S+)", process.output)
    assert log_in is not None

    with urllib.request.urlopen(health, timeout=10) as response:
        assert json.load(response)["totals"]["success"] == TASK_COUNT - 2
    page = _logged_in(admin, user=log_in[1], password=log_in[2])
    assert "Module reports" in page
    assert "Library reports" in page
    assert "Task executions" in page

    process.signal(signal.SIGINT)
    assert process.exit_code() == 130
    assert "Traceback" not in process.output
    assert demo.left_behind() == []


def _words(text: str) -> str:
    """The text with its lines joined."""
    return " ".join(text.split())


def _address(process: Process, name: str) -> str:
    return process.says(f"  {name} ").split()[-1]


def _logged_in(admin: str, *, user: str, password: str) -> str:
    """The admin's first page, after its log-in form has been filled in."""
    cookies = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    form = opener.open(f"{admin}login/?next=/admin/", timeout=10).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token is not None
    fields = {"username": user, "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    answer = opener.open(f"{admin}login/", urllib.parse.urlencode(fields).encode(), timeout=10)
    assert answer.url == admin
    return str(answer.read().decode())


def _kill_service(demo: Demo, module: str) -> None:
    for path in _environments():
        if demo.mark in _read(path) and module in _read(path.with_name("cmdline")):
            os.kill(int(path.parent.name), signal.SIGKILL)


@pytest.mark.parametrize("arguments", [("check",), ("makemigrations", "--check", "--dry-run")])
def test_the_example_is_a_sound_django_project(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    environment = {**os.environ, "EXAMPLE_DATABASE": str(tmp_path / "example.sqlite3")}
    del environment["DJANGO_SETTINGS_MODULE"]
    done = subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_survey_covers_the_library_without_its_test_suites() -> None:
    names = [library.name_of(path) for path in library.surveyed()]

    assert len(names) >= 600
    assert len(set(names)) == len(names)
    assert {"ast.py", "asyncio/base_events.py", "xml/etree/ElementTree.py"} <= set(names)
    assert not any(set(library.LEFT_OUT) & set(name.split("/")) for name in names)


def test_every_module_is_surveyed_with_those_of_its_package() -> None:
    modules = library.surveyed()
    packages = library.by_package(modules)

    assert sorted(path for files in packages.values() for path in files) == sorted(modules)
    assert packages["asyncio"] == library.modules_of("asyncio")
    assert library.root() / "xml" / "etree" / "ElementTree.py" in packages["xml"]
    assert library.root() / "ast.py" in packages[library.TOP_LEVEL]


def test_a_limit_keeps_the_package_that_is_asked_for_early_whole() -> None:
    assert library.surveyed(1) == library.modules_of("asyncio")


@pytest.mark.parametrize("path", library.unparsable(), ids=lambda path: path.name)
def test_the_broken_files_are_broken(path: Path) -> None:
    with pytest.raises(SyntaxError) as caught:
        analyse(path.read_bytes(), str(path))
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("path", library.modules_of("asyncio"), ids=library.name_of)
def test_functions_and_classes_are_as_many_as_the_words_that_begin_them(path: Path) -> None:
    facts = analyse(path.read_bytes(), str(path))

    with path.open("rb") as file:
        words = [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME]
    assert len(facts.functions) == words.count("def")
    assert facts.class_count == words.count("class")
    assert facts.line_count == len(path.read_text(encoding="utf-8").splitlines())


def test_the_longest_function_is_named_by_where_it_stands() -> None:
    facts = analyse(
        b"""
def short(): pass

class Planet:
    @property
    def distance(self):
        def far():
            return 1
        return far()

    async def moons(self):
        yield 1
""",
        "planets.py",
    )
    assert [function.name for function in facts.functions] == [
        "short",
        "Planet.distance",
        "Planet.distance.far",
        "Planet.moons",
    ]
    longest = facts.longest_function
    assert longest is not None
    assert (longest.name, longest.line, longest.line_count) == ("Planet.distance", 6, 4)


def test_a_file_without_functions_has_no_longest_one() -> None:
    assert analyse(b"", "empty.py").longest_function is None


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("print(missing)", ["missing"]),
        ("def f(): return missing", ["missing"]),
        ("x = 1\ndef f(): return x", []),
        ("def f(): return x\nx = 1", []),
        ("def f():\n global x\n x = 1\ndef g(): return x", []),
        ("def f(): x = 1\ndef g(): return x", ["x"]),
        ("import os.path as p\nfrom sys import argv\np, argv", []),
        ("[y for y in range(3) if y and z]", ["z"]),
        ("try: pass\nexcept OSError as e: e", []),
        ("class A:\n x = 1\n def f(self): return x", ["x"]),
        ("class A:\n y = __qualname__\n def f(self): return super().f, __class__", []),
        ("def f(): return super()", []),
        ("__file__, __name__, __doc__", []),
        ("from os import *\nmissing", []),
        ("def top(self, which): return self, which", []),
        ("if (n := 1): n", []),
        ("lambda a, *b, c=d, **e: (a, b, c, e)", ["d"]),
    ],
)
def test_undefined_names_are_those_that_nothing_in_the_file_defines(source: str, names: list[str]) -> None:
    assert [undefined.name for undefined in analyse(source.encode(), "x.py").undefined] == names


def test_an_undefined_name_is_shown_where_it_is_used_first() -> None:
    (undefined,) = analyse(b"\n\ndef f():\n    return (\n        gone\n    ) + gone\n", "x.py").undefined

    assert (undefined.name, undefined.line, undefined.scope) == ("gone", 5, "f")


def test_an_encoding_cookie_is_honoured() -> None:
    facts = analyse("# -*- coding: latin-1 -*-\nstraße = 1\nstraße\n".encode("latin-1"), "x.py")

    assert facts.undefined == ()
    assert facts.line_count == 3


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar() -> None:
    terminal = _Terminal()
    progress = Progress(4, 2, terminal)
    for done in (0, 2, 4):
        progress.show(done, done // 2)
    progress.close()

    bars = terminal.getvalue().split("\r")[1:]
    assert [bar.count("█") for bar in bars] == [0, 12, 24]
    assert "2/4 tasks, 1/2 packages, 50 %" in bars[1]
    assert terminal.getvalue().endswith("\n")


def test_the_bar_and_its_text_fit_into_80_columns() -> None:
    terminal = _Terminal()
    Progress(999, 99, terminal).show(999, 99)

    assert len(terminal.getvalue()) + len("10") < 80  # a survey of 100 seconds


def test_a_file_gets_a_line_for_each_quarter() -> None:
    file = io.StringIO()
    progress = Progress(100, 10, file)
    for done in range(101):
        progress.show(done, done // 10)

    assert [line.split(" packages")[0] for line in file.getvalue().splitlines()] == [
        f"  {done}/100 tasks, {done // 10}/10" for done in (25, 50, 75, 100)
    ]
