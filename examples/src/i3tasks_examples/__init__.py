"""A small Django project that surveys the Python standard library with i3tasks."""
