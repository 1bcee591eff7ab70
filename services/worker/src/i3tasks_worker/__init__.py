"""The pull worker of i3tasks: it asks Pub/Sub for messages."""
