"""``POST /i3/tasks-push/``: Pub/Sub delivers a message. The status says only whether it is consumed.

Each step costs more than the one before it, and a stranger gets no further than the signature: up to there
nothing is asked of the database.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from i3tasks_core import events
from i3tasks_core.envelope import Envelope
from i3tasks_core.errors import EnvelopeError, SignatureError
from i3tasks_django.delivery import Delivery, SharedDelivery, Verdict
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.store.database import TRANSIENT
from i3tasks_django.views.away import later
from i3tasks_django.views.body import BodyTooLarge, BodyUnreadable, check_length, read_body
from i3tasks_django.views.places import places
from i3tasks_django.views.token import refusal

_LONGEST_ID = 64


@csrf_exempt
@require_POST
def push(request: HttpRequest) -> HttpResponse:
    """Say whether the message is consumed.

    200: consumed. 400: unreadable. 401: no token of Google's. 403: not for us, or not ours. 405: not a POST.
    413: too large. 415: not JSON. 429: all places taken. 503: database or certificates away, try again.
    """
    # A request without a type is let through to its body: that decides.
    if request.content_type not in ("application/json", ""):
        return HttpResponse(status=415)
    try:
        check_length(request)
        current = runtime()
        if current.tokens and (refused := refusal(request, current.tokens, "push")):
            return refused
        return _receive(_delivery(current), read_body(request))
    except BodyTooLarge:
        return HttpResponse(status=413)
    except BodyUnreadable:
        return HttpResponse(status=400)


# The claim must commit before the task runs, whatever ATOMIC_REQUESTS says.
push = transaction.non_atomic_requests(push)

_deliveries: dict[int, Delivery] = {}
_kind: type[Delivery] = Delivery


def share() -> None:
    """From now on pushes are claimed and settled together: the threads of this process serve little else."""
    global _kind  # noqa: PLW0603 - said once, by who starts the process
    _kind = SharedDelivery
    _deliveries.clear()


def _delivery(current: Runtime) -> Delivery:
    """One for each runtime, so that a settings change in a test makes a new one."""
    if id(current) not in _deliveries:
        _deliveries.clear()
        _deliveries[id(current)] = _kind(current)
    return _deliveries[id(current)]


def _receive(delivery: Delivery, body: bytes) -> HttpResponse:
    message: dict[str, Any] = {}
    try:
        message = _message(body)
        envelope = delivery.read(*_content(message))
    except EnvelopeError as error:
        delivery.report_unreadable(str(message.get("messageId", ""))[:_LONGEST_ID], error)
        return HttpResponse(status=403 if isinstance(error, SignatureError) else 400)
    with places().taken() as is_taken:
        return _deliver(delivery, envelope) if is_taken else later(429)


def _deliver(delivery: Delivery, envelope: Envelope) -> HttpResponse:
    try:
        verdict = delivery.deliver(envelope)
    except TRANSIENT as error:
        events.CLAIM_FAILED(queue=envelope.queue_name, error=repr(error))
        return later()
    return later() if verdict is Verdict.UNSETTLED else HttpResponse(status=200)


def _message(body: bytes) -> dict[str, Any]:
    """https://cloud.google.com/pubsub/docs/push#receive_push."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EnvelopeError("the body is not a Pub/Sub push message") from error
    if not isinstance(message, dict):
        raise EnvelopeError("the body's message is not an object")
    return message


def _content(message: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    try:
        return base64.b64decode(message["data"], validate=True), dict(message.get("attributes") or {})
    except (ValueError, KeyError, TypeError) as error:
        raise EnvelopeError("the message's data or attributes cannot be read") from error
