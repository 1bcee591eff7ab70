"""What to change when Pub/Sub cannot do what it is asked: one line that names the role or the setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from i3tasks_core.config import PubSubConfig
from i3tasks_core.errors import PubSubError, PubSubMissing, PubSubUnavailable
from i3tasks_core.pubsub.clients import translated


@contextmanager
def advised(what: str, config: PubSubConfig) -> Iterator[None]:
    """As ``translated``, with what to do about it.

    Raises:
        PubSubMissing: the topic or subscription does not exist.
        PubSubUnavailable: no answer in time, no connection, no credentials to be had now.
        PubSubError: Pub/Sub refused for another reason, or there is no such project.
    """
    try:
        with translated(what):
            yield
    except PubSubMissing as error:
        # Pub/Sub says "not found" of a project, too; nothing can be created in one that is not there.
        if "project not found" not in str(error).lower():
            raise
        raise PubSubError(_line(error, _project_advice(config))) from error.__cause__
    except PubSubError as error:
        raise type(error)(_line(error, _advice(error, config))) from error.__cause__


def _line(error: PubSubError, advice: str) -> str:
    text = " ".join(str(error).split())
    return f"{text.rstrip('.')}: {advice}" if advice else text


def _project_advice(config: PubSubConfig) -> str:
    return (
        f"PUBSUB_CONFIG['PROJECT_ID'] is {config.project_id!r}: write the project's id, not its name, and "
        "see that the account may use it"
    )


def _advice(error: PubSubError, config: PubSubConfig) -> str:
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    cause = error.__cause__
    if isinstance(cause, api.Forbidden):
        return _permission_advice(str(cause), config)
    if isinstance(cause, api.Unauthorized | auth.GoogleAuthError) and not isinstance(
        cause, auth.TransportError
    ):
        return (
            "write the path of a service account's JSON file to PUBSUB_CONFIG['CREDENTIALS'], or None where "
            "there are Application Default Credentials"
        )
    if isinstance(error, PubSubUnavailable):
        return _connection_advice(config)
    return ""


def _permission_advice(said: str, config: PubSubConfig) -> str:
    project = config.project_id
    if "has not been used in project" in said or "SERVICE_DISABLED" in said:
        return f"run gcloud services enable pubsub.googleapis.com --project={project}"
    if "actas" in said.lower() and config.push_auth is not None:
        return (
            "grant the account that runs this the role roles/iam.serviceAccountUser on "
            f"{config.push_auth.service_account_email}"
        )
    return f"grant the account that runs this the role roles/pubsub.editor in the project {project}"


def _connection_advice(config: PubSubConfig) -> str:
    if config.emulator:
        return f"start the emulator, or correct PUBSUB_CONFIG['HOST'], which is {config.host!r}"
    return "see that pubsub.googleapis.com can be reached from here, and try again"
