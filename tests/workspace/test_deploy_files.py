"""The files of deploy/ and the Dockerfiles are sound, and say what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import readme

from i3tasks_core.config import OIDC, PullQueue, PushQueue
from i3tasks_core.names import is_resource_id, topic_id
from i3tasks_core.pubsub.subscription import wanted

DEPLOY = readme.ROOT / "deploy"
SERVICES = ("receiver", "worker", "beat")
DOCKERFILES = {service: readme.ROOT / "services" / service / "Dockerfile" for service in SERVICES}
_VARIABLE = re.compile(r"I3TASKS_[A-Z_]+")

# Set by the worker's supervisor for its own processes: nobody configures it.
_INTERNAL = {"I3TASKS_SUPERVISOR"}


def passes(tool: str, *arguments: object) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(tool), *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=readme.ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.deploy
class TestTheLinters:
    def test_hadolint_finds_nothing_in_the_dockerfiles(self):
        passes("hadolint", *DOCKERFILES.values(), "examples/Dockerfile")

    def test_yamllint_finds_nothing(self):
        rules = "{extends: default, rules: {line-length: {max: 110}}}"
        passes("yamllint", "--strict", "-d", rules, DEPLOY)

    def test_the_compose_file_is_one(self):
        passes("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")

    @pytest.mark.parametrize("file", sorted((DEPLOY / "kubernetes").iterdir()), ids=lambda file: file.name)
    def test_kubernetes_takes_the_manifests(self, file):
        passes("kubernetes-validate", "--strict", file)


def without_its_name(service: str) -> str:
    """A Dockerfile from its first instruction on, without what only this service has."""
    text = DOCKERFILES[service].read_text()
    return text[text.index("FROM ") :].replace(service, "SERVICE").replace("I3TASKS_HEALTH_PORT", "PORT")


def test_the_dockerfiles_are_one_pattern():
    assert without_its_name("receiver") == without_its_name("worker") == without_its_name("beat")


def documented() -> dict[str, set[str]]:
    """The variables of the page's table, and who reads each."""
    page = (readme.ROOT / readme.DEPLOY).read_text()
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]+) \|", page, re.MULTILINE)
    return {name: set(SERVICES) if who == "all" else set(who.split(", ")) for name, who in rows}


def test_the_table_names_every_variable_of_the_code_and_no_other():
    sources = [
        path for folder in ("packages", "services") for path in (readme.ROOT / folder).glob("*/src/**/*.py")
    ]
    named = {name for path in sources for name in _VARIABLE.findall(path.read_text())}

    assert len(named) >= 9
    assert set(documented()) == named - _INTERNAL | {"DJANGO_SETTINGS_MODULE", "PORT"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_table_says_what_a_services_help_says(service):
    done = subprocess.run(
        [sys.executable, "-m", f"i3tasks_{service}", "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    said = set(re.findall(r"I3TASKS_[A-Z_]+|DJANGO_SETTINGS_MODULE|\bPORT\b", done.stdout))

    assert said == {name for name, services in documented().items() if service in services}


def terraform(kind: str) -> dict[str, dict[str, Any]]:
    """Terraform's resources of that kind by name, with bare strings."""
    import hcl2

    found: dict[str, dict[str, Any]] = {}
    for file in sorted((DEPLOY / "terraform").glob("*.tf")):
        for resource in bare(hcl2.loads(file.read_text())).get("resource", []):
            found |= resource.get(kind, {})
    assert found, f"there is no {kind}"
    return found


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {bare(key): bare(each) for key, each in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [bare(each) for each in value]
    return value[1:-1] if isinstance(value, str) and value[:1] == value[-1:] == '"' else value


@pytest.mark.deploy
class TestTerraform:
    def test_every_file_can_be_read(self):
        import hcl2

        files = list((DEPLOY / "terraform").glob("*.tf"))
        assert len(files) == 5
        assert all(hcl2.loads(file.read_text()) for file in files)

    @pytest.mark.parametrize(
        ("name", "queue"),
        [
            ("push", PushQueue("default", "receiver", "https://shop/i3/tasks-push/")),
            ("pull", PullQueue("heavy", "worker")),
        ],
    )
    def test_a_subscription_is_what_the_command_would_make(self, name, queue):
        made = terraform("google_pubsub_subscription")[name]
        auth = OIDC(audience="https://shop/i3/tasks-push/", service_account_email="pusher@shop")
        want = wanted(queue, "shop", "tasks.shop", auth)
        (retry,), (expiry,) = made["retry_policy"], made["expiration_policy"]

        assert made["ack_deadline_seconds"] == want.ack_deadline_seconds
        policy = want.retry_policy
        assert retry == {
            "minimum_backoff": f"{policy.minimum_backoff.total_seconds():g}s",
            "maximum_backoff": f"{policy.maximum_backoff.total_seconds():g}s",
        }
        assert expiry == {"ttl": ""}
        assert want.expiration_policy.ttl is None or not want.expiration_policy.ttl
        assert ("push_config" in made) == bool(want.push_config.push_endpoint)
        # Nothing besides: a filter, an ordering key or a dead letter would be a drift.
        given = {"for_each", "name", "topic", "ack_deadline_seconds", "retry_policy", "expiration_policy"}
        assert set(made) - {"push_config"} == given

    def test_names_are_made_as_the_code_makes_them(self):
        undotted = 'replace(each.key, ".", "-")'
        assert terraform("google_pubsub_topic")["queue"]["name"] == f"${{var.namespace}}.${{{undotted}}}"
        name = '${google_pubsub_topic.queue[each.key].name}.${replace(each.value, ".", "-")}'
        assert {each["name"] for each in terraform("google_pubsub_subscription").values()} == {name}

    def test_pushes_carry_a_token_for_their_own_address(self):
        (config,) = terraform("google_pubsub_subscription")["push"]["push_config"]
        (token,) = config["oidc_token"]
        assert token["audience"] == config["push_endpoint"] == "${local.push_endpoint}"
        assert token["service_account_email"] == "${google_service_account.pusher.email}"

    def test_a_pools_name_is_one_to_cloud_run_whatever_the_queue_is_called(self):
        text = (DEPLOY / "terraform" / "services.tf").read_text()
        (kept,) = re.findall(r'"worker-\$\{replace\(lower\(queue\), "/(.+?)/", "-"\)\}"', text)
        queue = "Heavy_reports.v2~+%"
        assert is_resource_id(topic_id("tasks.shop", queue))
        assert re.sub(kept, "-", queue.lower()) == "heavy-reports-v2---"

    def test_a_pool_may_go_with_its_queue(self):
        """Unless it is told so, the provider keeps it, and the whole apply fails."""
        assert terraform("google_cloud_run_v2_worker_pool")["pool"]["deletion_protection"] is False

    def test_one_secret_may_become_two_variables(self):
        """Two grants of one name would be an error of Terraform's."""
        grants = terraform("google_secret_manager_secret_iam_member")["reads"]["for_each"]
        assert "distinct(values(var.secrets))" in grants

    def test_there_is_no_key(self):
        text = "".join(file.read_text() for file in (DEPLOY / "terraform").glob("*.tf"))
        assert "google_service_account_key" not in text
        assert "credentials" not in text


@pytest.mark.deploy
def test_a_pod_is_as_confined_as_a_container_of_the_compose_file():
    import yaml

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in SERVICES:
        found = compose[service]
        assert (found["read_only"], found["cap_drop"], found["tmpfs"]) == (True, ["ALL"], ["/tmp"])
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / f"{service}.yaml").read_text()))
        deployment = next(each for each in documents if each["kind"] == "Deployment")
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsUser"] == 10001
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
        # Longer than the grace, or the platform would kill what the service still waits for.
        assert spec["terminationGracePeriodSeconds"] > 8
