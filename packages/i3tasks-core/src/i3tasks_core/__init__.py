"""What a task system is, as values and pure functions, and the one door to Pub/Sub."""
