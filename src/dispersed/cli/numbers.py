"""Lists of numbers on the command line."""


def whole_numbers(option: str, text: str, most: int) -> list[int]:
    """The numbers from 1 that `text` names, ascending: one number, a list or a range."""
    from dispersed.validation import InputError

    accepted = f"one number, a list such as 8,12,16 or a range such as 4:24 is accepted, of 1 to {most}"
    try:
        if ":" in text:
            first, last = map(int, text.split(":"))
            found = list(range(first, min(last, most + 1) + 1))
        else:
            found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise InputError(option, f"got {text!r}", accepted) from None
    if not found or found[0] < 1 or found[-1] > most:
        raise InputError(option, f"got {text!r}", accepted)
    return found


def numbers(option: str, text: str) -> list[float]:
    """The real numbers that `text` names, ascending: one number or a list."""
    from dispersed.validation import InputError

    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise InputError(option, f"got {text!r}", "one number or a list such as 0.5,0.68 is accepted") from None
