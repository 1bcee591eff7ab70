"""What a person writes to schedule a task, checked so that every later tick can be fired."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.forms.fields import InvalidJSONInput

from i3tasks_core.schedule import Cron, CronError
from i3tasks_django import scheduling
from i3tasks_django.admin.filters import known_queues
from i3tasks_django.models import TaskSchedule
from i3tasks_django.task import Task, find_task, known_tasks

if TYPE_CHECKING:
    _Form = forms.ModelForm[TaskSchedule]
else:
    _Form = forms.ModelForm

_OVERTAKEN = (
    "Somebody else has edited this schedule since you opened it, and nothing was saved: "
    "open it again and repeat your edit."
)


class ArgumentsField(forms.JSONField):
    """A JSON list or object; what cannot be read is shown again as it was written."""

    def __init__(self, kind: type[list[Any] | dict[str, Any]], example: str, **options: Any) -> None:
        self._kind = kind
        what = "a list" if kind is list else "an object"
        super().__init__(
            required=False,
            initial=kind,
            widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
            error_messages={"invalid": f"This is no JSON of the right kind: write {what}, such as {example}"},
            help_text=f"As JSON: {what}, such as {example}",
            **options,
        )

    def to_python(self, value: Any) -> Any:
        try:
            read = super().to_python(value)
        except (ValueError, RecursionError):  # of more digits, or deeper, than Python reads
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if read is None:
            return self._kind()
        if not isinstance(read, self._kind):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return read

    def bound_data(self, data: Any, initial: Any) -> Any:  # noqa: ARG002
        # Written anew it might hold what no page can: JSON may spell half a character.
        return InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ScheduleForm(_Form):
    """A schedule of a person's. ``seen_version`` tells a row that was edited since the form was shown."""

    task = forms.ChoiceField(
        choices=lambda: [
            ("", "---------"),
            *((_value(task), task.definition.full_name) for task in known_tasks()),
        ],
        error_messages={
            "invalid_choice": "%(value)s is not a registered task: pick one of the list. "
            "Tasks are registered when their module is imported, as the tasks.py of every app is."
        },
    )
    task_args = ArgumentsField(list, '[1, "two"]', label="Positional arguments")
    task_kwargs = ArgumentsField(dict, '{"text": "hello"}', label="Keyword arguments")
    queue_name = forms.ChoiceField(
        choices=lambda: [("", "the task's own"), *((name, name) for name in known_queues())],
        required=False,
        label="Queue",
        error_messages={
            "invalid_choice": "%(value)s is not a queue of the I3TASKS setting: pick one of the list."
        },
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = TaskSchedule
        fields = ("key", "task_args", "task_kwargs", "queue_name", "cron", "timezone", "misfire", "overlap",
                  "is_enabled")  # fmt: skip
        labels = {"key": "Name", "timezone": "Time zone", "is_enabled": "Enabled"}
        help_texts = {
            "cron": "Five fields, 0 3 * * * (minute, hour, day, month, weekday), or a sixth for seconds.",
            "timezone": "Whose wall clock the expression is read on, such as Europe/Rome or UTC.",
            "misfire": "Missed ticks are made up for by one run (latest), by all (all), or by none (skip).",
            "overlap": "Whether a tick is passed by (skip) while the run before it has not ended.",
        }
        widgets = {
            name: AdminTextInputWidget(attrs={"class": "vTextField"}) for name in ("key", "cron", "timezone")
        }
        error_messages = {"key": {"unique": "There is a schedule of this name: write another one."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row: Any = self.instance
        if row.pk is None:
            self.initial.setdefault("timezone", settings.TIME_ZONE)
            return
        self.initial.update(task=f"{row.task_path}:{row.task_name}", seen_version=row.version)
        self._show_as_chosen("task", row.full_name, "not registered in this process")
        self._show_as_chosen("queue_name", row.queue_name, "not in the I3TASKS setting")

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"]
        if key.startswith("@") or key in _declared():
            raise ValidationError(f"{key} is a name of the settings or of a decorator: write another one.")
        return key

    def clean_cron(self) -> str:
        return _checked(self.cleaned_data["cron"], Cron)

    def clean_timezone(self) -> str:
        return _checked(self.cleaned_data["timezone"], lambda written: Cron("@daily", written))

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        row: Any = self.instance
        said = self.cleaned_data
        if row.pk is not None and said.get("seen_version") != row.version:
            self.add_error(None, _OVERTAKEN)
        if "task" in said:
            row.task_path, _, row.task_name = said["task"].partition(":")
            task = find_task(row.task_path, row.task_name)
            assert task is not None, "the choices are the registered tasks"
            self._check_call(task)
        return cleaned

    def _check_call(self, task: Task[..., Any]) -> None:
        said = self.cleaned_data
        if "task_args" in said and "task_kwargs" in said:
            try:
                task.check_arguments(tuple(said["task_args"]), said["task_kwargs"])
            except TypeError as error:
                self.add_error("task_args", f"The arguments do not fit: {error}")
        if said.get("queue_name") == "" and task.queue_name not in known_queues():
            own = f"The task's own queue, {task.queue_name}, is not in the I3TASKS setting: pick another one."
            self.add_error("queue_name", own)

    def _show_as_chosen(self, name: str, label: str, remark: str) -> None:
        """What is gone from the code or the settings is shown, and refused when it is to be saved."""
        field: Any = self.fields.get(name)
        chosen = self.initial.get(name)
        if field is not None and not field.valid_value(chosen):
            field.widget.choices = [*field.choices, (chosen, f"{label} ({remark})")]


def _value(task: Task[..., Any]) -> str:
    return f"{task.definition.path}:{task.definition.name}"


def _checked(written: str, read: Callable[[str], Cron]) -> str:
    try:
        read(written)
    except CronError as error:
        raise ValidationError(str(error)) from None
    return written


def _declared() -> Iterable[str]:
    """Names that the settings and the decorators will write over; their rows may not be there yet."""
    try:
        return {entry.key for entry in scheduling.entries()}
    except ImproperlyConfigured:
        return ()
