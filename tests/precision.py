"""What devices that round by default are told of a program's matrix products."""


def multiplies_in_full_precision(lowered):
    """No matrix product of a lowered program leaves its precision to the device."""
    products = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
    rounded = [line for line in products if "HIGHEST, HIGHEST" not in line]
    assert not rounded, "\n".join(rounded)
