from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import podman
import pytest
import readme


@pytest.fixture(scope="session")
def images() -> Iterator[podman.Machine]:
    """A machine on which the page's commands have built all six images."""
    if missing := [tool for tool in podman.TOOLS if shutil.which(tool) is None]:
        message = f"not installed: {', '.join(missing)}; apt-get install --no-install-recommends brings them"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with podman.machine() as machine:
        machine.make_base_images()
        machine.run("bash", "-e", "-c", readme.block("images", readme.DEPLOY))
        yield machine
