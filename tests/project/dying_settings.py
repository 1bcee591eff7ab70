"""The test project's settings for processes that are to die at a named line."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "project.dying.Dying"]
