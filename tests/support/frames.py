"""What an error tracker shows of an exception: the variables of every frame of ours."""

from typing import Any


def shown_of(error: BaseException | None) -> str:
    """The variables of the package's frames, in the tracebacks of an exception and of what led to it."""
    found: list[Any] = []
    while error is not None:
        place = error.__traceback__
        while place:
            if "django_idempotency" in place.tb_frame.f_code.co_filename:
                found.append(place.tb_frame.f_locals)
            place = place.tb_next
        error = error.__context__
    assert found
    return repr(found)
