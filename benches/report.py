"""Turns samples into medians, ratios and a table."""

import statistics

from catalogue import GOALS, PEERS

WHO = ["thrum"] + PEERS


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=4, method="inclusive")
    return cuts[0], cuts[2]


def rows(bench, samples):
    return [{"bench": bench.name, "variant": variant, "who": who, "metric": metric,
             "value": statistics.median(by_who[who]), "unit": by_who["unit"]}
            for (variant, metric), by_who in samples.items() for who in WHO if who in by_who]


def ratios(by_who, peer):
    """thrum's value divided by the peer's in the same round; rounds that only one of them has do not count."""
    pairs = zip(by_who.get("thrum", []), by_who.get(peer, []))
    return [mine / theirs for mine, theirs in pairs if theirs]


def number(value):
    return f"{value:,.0f}" if value >= 1e4 else f"{value:.4g}"


def ratio_text(value):
    return f"{value:.2f}" if value >= 0.095 else f"{value:.1g}"


def goal_for(bench, variant, metric, peer):
    for g in GOALS:
        if (g.bench, g.variant, g.metric, g.peer) == (bench.name, variant, metric, peer):
            return g
    return None


def verdict(goal, value):
    if goal is None:
        return ""
    met = value <= goal.limit if goal.relation == "<=" else value >= goal.limit
    sign = "≤" if goal.relation == "<=" else "≥"
    return f"{sign} {number(goal.limit)} {'met' if met else 'MISSED'}"


def spread(values):
    low, high = quartiles(values)
    middle = statistics.median(values)
    return f"{100 * (high - low) / middle:.0f}%" if middle and len(values) > 1 else ""


def ratio_columns(bench, variant, metric, who, by_who):
    """The ratio to a peer with its quartiles, and the goal; for thrum itself a plain limit if there is one."""
    if who == "thrum":
        limit = goal_for(bench, variant, metric, None)
        return "", "", verdict(limit, statistics.median(by_who[who]))
    each = ratios(by_who, who)
    if not each:
        return "", "", ""
    middle, (low, high) = statistics.median(each), quartiles(each)
    goal = goal_for(bench, variant, metric, who)
    between = f"{ratio_text(low)}–{ratio_text(high)}" if len(each) > 1 else ""
    return f"{ratio_text(middle)}x", between, verdict(goal, middle)


def print_bench(bench, samples):
    print(f"\n{bench.name}: {bench.question}")
    if not samples:
        print("  nothing was measured: no program for it has been built")
        return
    print(f"  {'variant':16} {'metric':18} {'who':12} {'median':>12} {'unit':6} {'spread':>6} {'runs':>4}  "
          f"{'thrum/peer':>10} {'quartiles':>11}  goal")
    for (variant, metric), by_who in sorted(samples.items()):
        for who in [w for w in WHO if w in by_who]:
            values = by_who[who]
            ratio, range_, goal = ratio_columns(bench, variant, metric, who, by_who)
            print(f"  {variant:16} {metric:18} {who:12} {number(statistics.median(values)):>12} "
                  f"{by_who['unit']:6} {spread(values):>6} {len(values):>4}  {ratio:>10} {range_:>11}  {goal}".rstrip())
    print(end="", flush=True)
