class DemoFailed(Exception):
    """Something did not go as the demo promises; the text says what."""
