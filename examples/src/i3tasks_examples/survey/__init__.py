"""The app: what is surveyed, and the tasks that do it."""
