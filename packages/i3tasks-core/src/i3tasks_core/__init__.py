"""What a task system is, as values and pure functions, and the one door to Pub/Sub.

The reading order is the life of a message: ``config`` and ``names`` say where it goes, ``envelope`` what
it carries, ``claim`` what a worker holds, ``runner`` what happens to it and ``outcome`` how it ends.
"""
