"""The push receiver of i3tasks: Pub/Sub calls it over HTTP."""
