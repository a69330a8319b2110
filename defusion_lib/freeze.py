"""Make lists immutable."""

from typing import Any


def freeze(value: Any) -> Any:
    """Return lists and tuples, also those inside them, as tuples; return another value as it is."""
    return tuple(map(freeze, value)) if isinstance(value, list | tuple) else value
