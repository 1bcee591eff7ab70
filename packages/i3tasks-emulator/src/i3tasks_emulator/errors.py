"""The answers that are not OK, with the status codes of the real service."""

import grpc


class StatusError(Exception):
    """Ends the current call with a gRPC status.

    Attributes:
        code: the gRPC status code the caller sees.
        message: the text beside it.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def invalid(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(what: str, name: str) -> StatusError:
    """`what` happened to the resource, whose full name is `name`."""
    return StatusError(grpc.StatusCode.NOT_FOUND, f"{what} (resource={name.rpartition('/')[2]})")


def already_exists(what: str, name: str) -> StatusError:
    """`what` happened to the resource, whose full name is `name`."""
    return StatusError(grpc.StatusCode.ALREADY_EXISTS, f"{what} (resource={name.rpartition('/')[2]})")


def out_of_range(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.OUT_OF_RANGE, message)


def failed_precondition(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, message)


def unimplemented(feature: str) -> StatusError:
    """The service has `feature`, this one does not: said aloud, never ignored in silence."""
    return StatusError(grpc.StatusCode.UNIMPLEMENTED, f"The embedded Pub/Sub does not have {feature}")


def unavailable(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.UNAVAILABLE, message)
