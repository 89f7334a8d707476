"""Tables and sentences of the results of bench/serving/throughput.py."""

import itertools
from collections.abc import Collection, Mapping, Sequence

from bench.arithmetic import has_server_error, markdown_table, ratios, spread
from bench.serving.scenarios import OVERLOAD_FACTOR, Overload, Round, Scenario
from bench.serving.servers import OURS, PEERS, WITH_CACHE, WITH_CASCADE, WITHOUT_CASCADE, Server


def table(servers: Mapping[str, Server], scenarios: Sequence[Scenario], results: Mapping[str, Sequence[Round]]) -> str:
    """Return a table of medians, a row per server."""
    header = ["server"]
    for scenario in scenarios:
        header += [f"{scenario.title}: requests/s", "p50 ms", "p99 ms"]
    header += ["MB per worker", "MB in total", "ready s", "accuracy"]
    rows = []
    for name, rounds in results.items():
        cells = [servers[name].title]
        for scenario in scenarios:
            loads = [each.loads[scenario.name] for each in rounds]
            cells.append(f"{spread([load.per_second for load in loads]).median:.1f}")
            cells += [
                f"{1e3 * spread(values).median:.1f}" for values in ([x.p50 for x in loads], [x.p99 for x in loads])
            ]
        cells.append(f"{spread([each.memory.worker_pss for each in rounds]).median / 1e6:.0f}")
        cells.append(f"{spread([each.memory.pss for each in rounds]).median / 1e6:.0f}")
        cells.append(f"{spread([each.ready_seconds for each in rounds]).median:.2f}")
        cells.append(next((f"{each.accuracy:.2%}" for each in rounds if each.accuracy is not None), ""))
        rows.append(cells)
    return markdown_table(header, rows)


def compared_pairs(names: Collection[str]) -> list[tuple[str, str]]:
    """Return the pairs of servers to compare: cascade with encoder alone, and this project with each peer."""
    pairs = [(WITH_CASCADE, WITHOUT_CASCADE), (WITH_CACHE, WITH_CASCADE), *itertools.product(OURS, PEERS)]
    return [pair for pair in pairs if set(pair) <= set(names)]


def ratio_table(scenarios: Sequence[Scenario], results: Mapping[str, Sequence[Round]]) -> str:
    """Return a table of ratios of requests per second, a row per pair: median and range of the rounds."""
    rows = []
    for ours, theirs in compared_pairs(results):
        cells = [f"{ours} / {theirs}"]
        for scenario in scenarios:
            mine, other = ([each.loads[scenario.name].per_second for each in results[name]] for name in (ours, theirs))
            ratio = ratios(mine, other)
            cells.append(f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
        rows.append(cells)
    return markdown_table(["requests/s", *(scenario.title for scenario in scenarios)], rows)


def overload_report(name: str, found: Overload) -> str:
    """Return the results of an overload as lines of text."""
    before, during, after = found.capacity, found.during, found.after
    shares = ", ".join(f"{count} x {status or 'no response'}" for status, count in during.statuses.items())
    return "\n".join(
        [
            f"{name}, {found.rate:.0f} requests/s arrive ({OVERLOAD_FACTOR} x {before.per_second:.1f}):",
            f"  responses: {shares}; 5xx or none: {'YES' if has_server_error(during.statuses) else 'no'}",
            f"  accepted: {during.per_second:.1f}/s, p50 {1e3 * during.p50:.0f} ms, p99 {1e3 * during.p99:.0f} ms = "
            f"{during.p99 / found.unloaded.p99:.1f} x the {1e3 * found.unloaded.p99:.0f} ms of one client",
            f"  before: {before.per_second:.1f}/s, p99 {1e3 * before.p99:.0f} ms; "
            f"afterwards: {after.per_second:.1f}/s, p99 {1e3 * after.p99:.0f} ms",
        ]
    )


def notes(scenarios: Sequence[Scenario], results: Mapping[str, Sequence[Round]]) -> list[str]:
    """Return notes to the tables: the client's CPU time, and statuses other than 200."""
    costs = [load.client_microseconds for rounds in results.values() for each in rounds for load in each.loads.values()]
    lines = [f"client: {min(costs):.0f} to {max(costs):.0f} microseconds of CPU per request"] if costs else []
    for name, rounds in results.items():
        for scenario in scenarios:
            bad = {status for each in rounds for status in each.loads[scenario.name].statuses} - {200}
            if bad:
                lines.append(f"{name}, {scenario.title}: statuses other than 200: {', '.join(map(str, sorted(bad)))}")
    return lines
