"""How small a difference between two models so many patients can show."""

import math

POWER = 0.80
LEVEL = 0.05
EFFICIENCY = 3 / math.pi
"""Of the signed-rank test against the paired t test where differences are normal (Hodges and Lehmann 1956)."""


def detectable_difference(
    deviation: float,
    patients: int,
    *,
    power: float = POWER,
    level: float = LEVEL,
    comparisons: int = 1,
    efficiency: float = EFFICIENCY,
) -> float:
    """The smallest mean paired difference that a two-sided test finds with probability `power`.

    The difference d solves `power_of(d) = power`; see there.

    Args:
        deviation: standard deviation of the paired differences between patients.
        patients: who have a score under both models.
        power: probability of finding it.
        level: of the test.
        comparisons: tests among which this one must hold its own; the level is divided by it (Bonferroni, the first
            step of Holm).
        efficiency: of the test against the paired t test.

    Returns:
        In the unit of `deviation`; NaN where patients are too few or the deviation is unknown.
    """
    if not math.isfinite(deviation) or patients * efficiency <= 1.5:
        return math.nan
    if deviation == 0:
        return 0.0
    from scipy import optimize

    def lacking(size: float) -> float:
        return power_of(size, 1.0, patients, level=level, comparisons=comparisons, efficiency=efficiency) - power

    high = 3 / math.sqrt(patients * efficiency)
    while lacking(high) < 0:
        high *= 1.5
    return deviation * float(optimize.brentq(lacking, 0.0, high, xtol=1e-6))


def power_of(
    difference: float,
    deviation: float,
    patients: int,
    *,
    level: float = LEVEL,
    comparisons: int = 1,
    efficiency: float = EFFICIENCY,
) -> float:
    """Probability that a two-sided signed-rank test finds a mean paired difference.

    The test on n patients is taken as a paired t test on n·efficiency patients, whose statistic has the noncentral t
    distribution with noncentrality |d|/σ·√(n·efficiency) (Lehmann, Nonparametrics, 1975; as G*Power does, Faul et al.
    2007). Differences with heavier tails than the normal's are found more often than this says.

    Args:
        difference: d, the true mean.
        deviation: σ, standard deviation of the paired differences, above 0.
        patients: n.
        level, comparisons, efficiency: see `detectable_difference`.
    """
    from scipy import stats

    effective = patients * efficiency
    freedom = effective - 1
    critical = float(stats.t.ppf(1 - level / comparisons / 2, freedom))
    shift = abs(difference) / deviation * math.sqrt(effective)
    # Beyond this the wrong tail holds less than one in a million, and SciPy's series no longer converges there.
    wrong = float(stats.nct.cdf(-critical, freedom, shift)) if shift < 3 else 0.0
    return float(stats.nct.sf(critical, freedom, shift)) + wrong
