"""The decorator, at its documented import path."""

from i3tasks_django.decorator import TaskDecorator

__all__ = ["TaskDecorator"]
