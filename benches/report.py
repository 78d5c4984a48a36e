"""Turns samples into medians, ratios and a table."""

import statistics

from catalogue import CHEAPER_LOOP, GOALS, LOOPS, OWN, PEERS

WHO = OWN + PEERS


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=4, method="inclusive")
    return cuts[0], cuts[2]


def rows(bench, samples):
    return [{"bench": bench.name, "variant": variant, "who": who, "metric": metric,
             "value": statistics.median(by_who[who]), "unit": by_who["unit"]}
            for (variant, metric), by_who in samples.items() for who in WHO if who in by_who]


def ratios(by_who, who, peer):
    """Our value divided by the peer's in the same round; rounds that only one of them has do not count."""
    pairs = zip(by_who.get(who, []), by_who.get(peer, []))
    return [mine / theirs for mine, theirs in pairs if theirs]


def number(value):
    return f"{value:,.0f}" if value >= 1e4 else f"{value:.4g}"


def ratio_text(value):
    return f"{value:.2f}" if value >= 0.095 else f"{value:.1g}"


def goal_for(bench, variant, metric, who, peer=None):
    for g in GOALS:
        if (g.bench, g.variant, g.metric, g.who, g.peer) == (bench.name, variant, metric, who, peer):
            return g
    return None


def goal_beside(bench, variant, metric, who, peer, by_who):
    """The goal that a ratio to this peer is judged by: its own, or that against the cheaper loop, if it is that."""
    goal = goal_for(bench, variant, metric, who, peer)
    loops = [p for p in LOOPS if p in by_who]
    if goal is None and peer in loops and peer == min(loops, key=lambda p: statistics.median(by_who[p])):
        return goal_for(bench, variant, metric, who, CHEAPER_LOOP)
    return goal


def verdict(goal, value):
    if goal is None:
        return ""
    met = value <= goal.limit if goal.relation == "<=" else value >= goal.limit
    sign = "≤" if goal.relation == "<=" else "≥"
    return f"{sign} {number(goal.limit)} {'met' if met else 'MISSED'}"


def spread(values):
    if len(values) < 2:
        return ""
    low, high = quartiles(values)
    middle = statistics.median(values)
    return f"{100 * (high - low) / middle:.0f}%" if middle else ""


def ratio_columns(bench, variant, metric, who, peer, by_who):
    """The ratio to a peer, its quartiles and the goal; nothing when there are no rounds of both."""
    each = ratios(by_who, who, peer)
    if not each:
        return "", "", ""
    middle, (low, high) = statistics.median(each), quartiles(each)
    between = f"{ratio_text(low)}–{ratio_text(high)}" if len(each) > 1 else ""
    return f"{ratio_text(middle)}x", between, verdict(goal_beside(bench, variant, metric, who, peer, by_who), middle)


def lines(bench, variant, metric, by_who):
    """What is printed for a metric, as (name, values, ratio, quartiles, goal): the first of ours and the peers with the
    ratios to them, then whoever else of ours there is, with a line of ratios to each peer."""
    ours, peers = [w for w in OWN if w in by_who], [p for p in PEERS if p in by_who]
    for who in ours or [None]:
        first = who in (None, *ours[:1])
        if who:
            limit = goal_for(bench, variant, metric, who)
            yield who, by_who[who], "", "", verdict(limit, statistics.median(by_who[who]))
        for peer in peers:
            columns = ratio_columns(bench, variant, metric, who, peer, by_who)
            yield (peer, by_who[peer], *columns) if first else (f"  / {peer}", [], *columns)


def print_bench(bench, samples):
    print(f"\n{bench.name}: {bench.question}")
    if not samples:
        print("  nothing was measured: no program for it has been built")
        return
    print(f"  {'variant':20} {'metric':18} {'who':13} {'median':>12} {'unit':6} {'spread':>6} {'runs':>4}  "
          f"{'ours/peer':>10} {'quartiles':>11}  goal")
    for (variant, metric), by_who in sorted(samples.items()):
        for name, values, ratio, range_, goal in lines(bench, variant, metric, by_who):
            middle = number(statistics.median(values)) if values else ""
            print(f"  {variant:20} {metric:18} {name:13} {middle:>12} {by_who['unit'] if values else '':6} "
                  f"{spread(values):>6} {len(values) or '':>4}  {ratio:>10} {range_:>11}  {goal}".rstrip())
    print(end="", flush=True)
