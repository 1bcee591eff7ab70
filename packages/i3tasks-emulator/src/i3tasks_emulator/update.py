"""Updates: the fields a mask names, copied over what is stored."""

from google.protobuf.field_mask_pb2 import FieldMask

from i3tasks_emulator.errors import invalid
from i3tasks_emulator.wire import Proto, copy_of


def updated(stored: Proto, wanted: Proto, mask: FieldMask, *, immutable: frozenset[str]) -> Proto:
    """A copy of `stored` with the fields of the mask taken from `wanted`; a field unset there becomes unset.

    Raises:
        StatusError: INVALID_ARGUMENT for an empty mask, an unknown field, or one in `immutable`.
    """
    kind = stored.DESCRIPTOR.name
    start = f"Invalid update_mask provided in the Update{kind}Request:"
    if not mask.paths:
        raise invalid(
            f"The update_mask in the Update{kind}Request must be set, "
            "and must contain a non-empty paths list."
        )
    for path in mask.paths:
        if path.partition(".")[0] in immutable:
            raise invalid(f"{start} the {path} field in the {kind} is not mutable.")
        if not FieldMask(paths=[path]).IsValidForDescriptor(stored.DESCRIPTOR):
            raise invalid(f"{start} {path} is not a known {kind} field.")
    copy = copy_of(stored)
    mask.MergeMessage(wanted, copy, replace_message_field=True, replace_repeated_field=True)
    return copy
