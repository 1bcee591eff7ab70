"""The one door to Pub/Sub: no other package imports ``google.*``.

google-cloud-pubsub takes 0.8 s and 75 MB to import, so it is imported where it is first needed.
"""
