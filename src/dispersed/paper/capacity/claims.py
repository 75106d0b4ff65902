"""What is claimed of a measured capacity: that it is one, and not a bound."""

from dispersed.paper.claim import Claim, Decision, Interval, Tables, select


def measured(method: str, label: str) -> Claim:
    """That the capacity of a method was measured at every dimension."""

    def decide(tables: Tables) -> Decision:
        rows = select(tables["capacity"], method=method)
        capacities = {f"d = {row['dimension']}": Interval.of(row, "capacity") for row in rows}
        beyond = [row["dimension"] for row in rows if row["beyond"]]
        return not beyond, {"capacities": capacities, "beyond": beyond}

    bound = "[|; at d = {beyond} it is larger, and this a lower bound]."
    return Claim(method, decide, f"Capacity of {label}, with 95 % interval: {{capacities:.1f}}{bound}")


def mapped(method: str, label: str) -> Claim:
    """That the capacity of a method was measured at every signal level, threshold and dimension."""

    def decide(tables: Tables) -> Decision:
        rows = select(tables["capacity"], method=method)
        found = [Interval.of(row, "capacity") for row in rows]
        beyond = sum(row["beyond"] for row in rows)
        ends = {"least": min(found, key=lambda each: each.value), "most": max(found, key=lambda each: each.value)}
        return beyond == 0, {"settings": len(rows), "beyond": beyond, **ends}

    bound = "[|; {beyond} of these are lower bounds]."
    text = f"Capacity of {label} at {{settings}} settings, with 95 % intervals: {{least:.1f}} to {{most:.1f}}{bound}"
    return Claim(method, decide, text)
