"""What is measured of us alone, or of us and one other by turns. Figures by what they say."""

from collections.abc import Callable

from benchmarks.scenarios.backlog import measure_backlog
from benchmarks.scenarios.bare import measure_bare
from benchmarks.scenarios.composition import measure_composition
from benchmarks.scenarios.delays import measure_delays
from benchmarks.scenarios.fleet import measure_fleet
from benchmarks.scenarios.history import measure_history
from benchmarks.scenarios.idle import measure_idle
from benchmarks.scenarios.turns import measure_turns
from benchmarks.sessions import Machine, Session

Scenario = Callable[[Session, Machine, bool], dict[str, float]]
"""Takes a session of ours on the run's machine, and whether it is to be quick."""

SCENARIOS: dict[str, Scenario] = {
    "backlog": measure_backlog,
    "idle": measure_idle,
    "fleet": measure_fleet,
    "bare": measure_bare,
    "delays": measure_delays,
    "composition": measure_composition,
    "history": measure_history,
    "turns": measure_turns,
}
