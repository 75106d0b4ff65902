r"""How wide intervals by resampling are: as wide as few observations demand.

Resampled means of n values have (n − 1)/n of the variance that they should, and their percentiles are normal quantiles
in place of Student's. Of ten values an interval of 95 % holds the mean in 90 % of all cases, of four in 80 %. Expanded
percentiles mend both.

**Source**: Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69.
"""

import math


def expanded_percentiles(observations: int, level: float = 0.95) -> tuple[float, float]:
    """The quantiles of resampled estimates at the ends of an interval, Φ(±√(n/(n − 1)) t), t Student's quantile."""
    from scipy.special import ndtr, stdtrit  # not imported with the package

    if observations < 2:
        return 0.0, 1.0
    t = stdtrit(observations - 1, (1 + level) / 2)
    tail = float(ndtr(-math.sqrt(observations / (observations - 1)) * t))
    return tail, 1 - tail


__all__ = ["expanded_percentiles"]
