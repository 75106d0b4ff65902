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
