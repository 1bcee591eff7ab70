"""A subscription's settings: defaults filled in, bounds checked, as the service does on create and update."""

import re

from i3tasks_emulator.errors import invalid, out_of_range, unimplemented
from i3tasks_emulator.filters import compile_filter
from i3tasks_emulator.wire import Proto, seconds

DEFAULT_ACK_DEADLINE = 10
MIN_ACK_DEADLINE = 10
MAX_ACK_DEADLINE = 600

_DEFAULT_MAX_ATTEMPTS = 5
_MIN_ATTEMPTS = 5
_MAX_ATTEMPTS = 100
_DEFAULT_MIN_BACKOFF = 10
_MAX_BACKOFF = 600
_DEFAULT_RETENTION = 7 * 86_400
_MIN_RETENTION = 600
_MAX_RETENTION = 31 * 86_400
_ENDPOINT = re.compile(r"https?://[^/\s]+\S*")

_UNIMPLEMENTED_FLAGS = ("enable_message_ordering", "enable_exactly_once_delivery")
_UNIMPLEMENTED_MESSAGES = ("bigquery_config", "cloud_storage_config", "bigtable_config")


def complete(settings: Proto) -> None:
    """Fill in the defaults of a google.pubsub.v1.Subscription, in place, and check every bound.

    Whether the topics it names exist is not checked here.

    Raises:
        StatusError: INVALID_ARGUMENT, OUT_OF_RANGE (dead-letter attempts), UNIMPLEMENTED (see README).
    """
    _refuse_unimplemented(settings)
    _complete_ack_deadline(settings)
    _check_push_config(settings.push_config)
    if settings.HasField("dead_letter_policy"):
        _complete_dead_letter_policy(settings.dead_letter_policy)
    if settings.HasField("retry_policy"):
        _complete_retry_policy(settings.retry_policy)
    _complete_retention(settings)
    compile_filter(settings.filter)
    settings.push_config.SetInParent()
    settings.state = 1  # ACTIVE


def _refuse_unimplemented(settings: Proto) -> None:
    known = settings.DESCRIPTOR.fields_by_name
    for flag in _UNIMPLEMENTED_FLAGS:
        if getattr(settings, flag):
            raise unimplemented(flag)
    for field in _UNIMPLEMENTED_MESSAGES:
        # An older google-cloud-pubsub does not know the newest of them.
        if field in known and settings.HasField(field):
            raise unimplemented(field)
    if settings.push_config.HasField("no_wrapper"):
        raise unimplemented("push_config.no_wrapper")


def _complete_ack_deadline(settings: Proto) -> None:
    if not settings.ack_deadline_seconds:
        settings.ack_deadline_seconds = DEFAULT_ACK_DEADLINE
    if not MIN_ACK_DEADLINE <= settings.ack_deadline_seconds <= MAX_ACK_DEADLINE:
        raise invalid(
            f"Invalid ack deadline given: {settings.ack_deadline_seconds}. It must be between "
            f"{MIN_ACK_DEADLINE} and {MAX_ACK_DEADLINE} seconds."
        )


def _check_push_config(config: Proto) -> None:
    if config.push_endpoint and _ENDPOINT.fullmatch(config.push_endpoint) is None:
        raise invalid(f"Unsupported push_endpoint (url={config.push_endpoint})")


def _complete_dead_letter_policy(policy: Proto) -> None:
    policy.max_delivery_attempts = attempts = policy.max_delivery_attempts or _DEFAULT_MAX_ATTEMPTS
    if attempts < _MIN_ATTEMPTS:
        raise out_of_range(_too("small", "max_delivery_attempts", attempts, "minimum", _MIN_ATTEMPTS))
    if attempts > _MAX_ATTEMPTS:
        raise out_of_range(_too("large", "max_delivery_attempts", attempts, "maximum", _MAX_ATTEMPTS))


def _complete_retry_policy(policy: Proto) -> None:
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.seconds = _DEFAULT_MIN_BACKOFF
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.seconds = _MAX_BACKOFF
    for field in ("minimum_backoff", "maximum_backoff"):
        given = seconds(getattr(policy, field))
        if not 0 <= given <= _MAX_BACKOFF:
            raise invalid(
                f"The value for {field} is out of bounds. You passed {given:g}s in the request, "
                f"but the value must be between 0s and {_MAX_BACKOFF}s."
            )
    low, high = seconds(policy.minimum_backoff), seconds(policy.maximum_backoff)
    if high < low:
        raise invalid(_too("small", "maximum_backoff", f"{high:g}s", "minimum", f"{low:g}s"))


def _complete_retention(settings: Proto) -> None:
    if not settings.HasField("message_retention_duration"):
        settings.message_retention_duration.seconds = _DEFAULT_RETENTION
    if not _MIN_RETENTION <= seconds(settings.message_retention_duration) <= _MAX_RETENTION:
        raise invalid("message_retention_duration out of bounds")


def _too(side: str, field: str, given: object, which: str, bound: object) -> str:
    return (
        f"The value for {field} is too {side}. You passed {given} in the request, "
        f"but the {which} value is {bound}."
    )
