"""Values of a configuration: of the right type, and finite (chapter 03)."""

import math
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

from helpers.errors import InputError

MOST = 2**63 - 1  # what torch and NumPy both take


def check_types(config) -> None:
    """Refuse values of a dataclass that are not of the type its fields name; numbers become Python's own.

    Raises InputError: a word for a number, a fraction for a whole number, nan or infinity, ...
    """
    for name, hint in get_type_hints(type(config)).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kinds, value = tuple(get_origin(kind) or kind for kind in kinds), getattr(config, name)
        is_bool = isinstance(value, bool)  # Python counts with True and False; a configuration does not
        is_number = isinstance(value, Real) and not is_bool
        if is_number and int in kinds and isinstance(value, Integral) and abs(value) <= MOST:
            object.__setattr__(config, name, int(value))
        elif is_number and float in kinds and _is_finite(value):
            object.__setattr__(config, name, float(value))
        elif is_number or (is_bool and bool not in kinds) or not isinstance(value, kinds):
            raise InputError(f"{name} must be {_kinds_text(kinds)}, found {value!r}")


def _is_finite(number: Real) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _kinds_text(kinds: tuple[type, ...]) -> str:
    words = {
        int: f"a whole number up to {MOST}",
        float: "a finite number",
        str: "a text",
        bool: "true or false",
    }
    words |= {NoneType: "nothing"}
    return " or ".join(words.get(kind, kind.__name__) for kind in kinds)
