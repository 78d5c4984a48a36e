#!/usr/bin/env python3
"""Runs the benchmark programs in turn, compares medians, and prints them beside the goals.

`./bench` is the front door: it builds the programs and then calls this. Programs take turns (thrum, peer,
peer, thrum, …) so that whatever else the machine does meets all of them; a ratio is the median of the ratios of
neighbouring runs. Speed never makes it fail; a program that crashes or computes nonsense does.
"""

import argparse
import contextlib
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys

from catalogue import BENCHES, CERTIFICATE, HALF_LOAD, INSTEAD, KEY, LEFT_OUT, OWN, PEERS, rounds
from report import print_bench, rows

TIMEOUT_S = 180
START_S = 15
NOT_OFFERED = 3
NOT_INSTALLED = 3  # A server, says private_servers.
PRIVATE_SERVERS = pathlib.Path(__file__).resolve().parent.parent / "tools" / "private_servers"


class ProgramFailed(Exception):
    pass


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"{message[0].upper()}{message[1:]}. Try ./bench --help.", file=sys.stderr)
        sys.exit(2)


def refuse(sentence):
    print(sentence, file=sys.stderr)
    sys.exit(2)


def parse(words):
    names = [b.name for b in BENCHES]
    parser = Parser(prog="./bench", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
                    description="Measures thrum beside other runtimes and prints ratios beside their goals.\n"
                    "Everything takes about an hour, with --quick about seven minutes.",
                    epilog="benches:\n" + "\n".join(f"  {b.name:17} {b.question}" for b in BENCHES) +
                    f"\n\npeers: {', '.join(PEERS)}")
    parser.add_argument("names", metavar="NAME", nargs="*", help="benches to run (all of them without a name)")
    parser.add_argument("--peers", metavar="LIST", help="peers to compare with, separated by commas, or none")
    parser.add_argument("--json", metavar="FILE", help="write the medians as JSON rows")
    parser.add_argument("--quick", action="store_true", help="less work and fewer runs: a first impression")
    parser.add_argument("--smoke", action="store_true", help=argparse.SUPPRESS)  # Does everything work? For ctest.
    parser.add_argument("--build-dir", help=argparse.SUPPRESS)
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    for name in options.names:
        if name not in names:
            refuse(f"There is no bench '{name}': the benches are {', '.join(names)}.")
    options.benches = [b for b in BENCHES if not options.names or b.name in options.names]
    options.peers = chosen_peers(options.peers)
    options.quick |= options.smoke
    if options.json:
        file = pathlib.Path(options.json).absolute()
        if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
            refuse(f"The file '{options.json}' cannot be written.")
    return options


def chosen_peers(text):
    if text is None:
        return PEERS
    if text == "none":
        return []
    for peer in text.split(","):
        if peer not in PEERS:
            refuse(f"There is no peer '{peer}': the peers are {', '.join(PEERS)}.")
    return [p for p in PEERS if p in text.split(",")]


class Machine:
    """Which cores there are, and which of them a server and its load get."""

    def __init__(self):
        self.cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.load_core = self.cores[0], self.cores[-1]

    def workers(self, variant):
        return "1" if variant == "w1" else str(len(self.cores))

    def places(self, variant):
        """The cores of a server and of its load; None: all of them."""
        return (self.server_core, self.load_core) if variant == "w1" else (None, None)

    def client_and_server_cores(self, variant):
        """The core of a client and those of its servers; None: all of them."""
        return (self.server_core, self.cores[1:] or self.cores) if variant == "w1" else (None, self.cores)


@contextlib.contextmanager
def private_servers(names, cores):
    """What a client has to know of them, by names for its environment; None where one is not installed."""
    if not names:
        yield {}
        return
    with subprocess.Popen([PRIVATE_SERVERS, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores)) as servers:
        told = {}
        for line in servers.stdout:
            if line == "ready\n":
                break
            name, _, value = line.strip().partition("=")
            told[name] = value
        else:
            if servers.wait() != NOT_INSTALLED:
                raise ProgramFailed("private_servers ended")
            told = None
        yield told
        # The end of its input ends them.


def on_core(core):
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


class Programs:
    """Where the programs are, and how one is run to its end."""

    def __init__(self, build_dir):
        self.root = pathlib.Path(build_dir)

    def command(self, who, bench):
        name = bench.program or bench.name
        if who == "thrum":
            return [str(self.root / "thrum" / name)]
        if who in OWN:
            return [str(self.root / "thrum" / who), name]
        return [str(self.root / "peers" / who), name]

    def certificate(self):
        """PEM files for servers of TLS: of the certificate, which is its own authority, and of its key."""
        files = self.root / "certificate.pem", self.root / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=localhost", "-days", "30", "-out", files[0], "-keyout", files[1]],
                       check=True, capture_output=True)
        return [str(f) for f in files]

    def missing(self, who, bench):
        return not os.access(self.command(who, bench)[0], os.X_OK)

    def run(self, command, core=None, variables=None):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, **(variables or {})},
                              start_new_session=True, preexec_fn=on_core(core)) as process:
            try:
                out, err = process.communicate(timeout=TIMEOUT_S)
            except BaseException as reason:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(reason, subprocess.TimeoutExpired):
                    raise ProgramFailed(f"took more than {TIMEOUT_S} s and was killed") from None
                raise
        if process.returncode == NOT_OFFERED:
            return []
        if process.returncode != 0:
            raise ProgramFailed(f"ended with status {process.returncode}: {last_line(err)}")
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def serve(self, command, core, client, load_core):
        """Starts a server, lets the client load it, ends it; returns what the client measured."""
        with subprocess.Popen(command + ["--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True, preexec_fn=on_core(core)) as server:
            try:
                if not select.select([server.stdout], [], [], START_S)[0]:
                    raise ProgramFailed(f"printed nothing within {START_S} s")
                first = server.stdout.readline().split()
                if not first and server.wait(timeout=10) == NOT_OFFERED:
                    return []
                if len(first) != 2 or first[0] != "PORT":
                    raise ProgramFailed(f"did not print its port: {last_line(server.stderr.read())}")
                load = [str(self.root / "load_client"), "--port", first[1], "--pid", str(server.pid), *client]
                results = self.run(load, load_core)
                server.send_signal(signal.SIGTERM)
                server.wait(timeout=10)
                return results
            except subprocess.TimeoutExpired:
                raise ProgramFailed("did not end on SIGTERM") from None
            finally:
                if server.poll() is None:
                    os.killpg(server.pid, signal.SIGKILL)


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


def joined(*parts):
    return "-".join(p for p in parts if p)


class Runner:
    def __init__(self, options):
        self.options = options
        self.machine = Machine()
        self.programs = Programs(options.build_dir)
        self.failures = []
        self.certificate = []
        self.servers = {}

    def cases(self, bench):
        """What is run for a bench: (variant, arguments, load)."""
        sets = bench.argument_sets
        if self.options.quick and bench.quick_argument_sets:
            sets = bench.quick_argument_sets
        for variant in bench.variants:
            for load in bench.loads or (None,):
                for arguments in sets if load is None else ((),):
                    yield variant, arguments, load

    def left_out(self, bench, who, arguments, load):
        words = [*arguments, load[0] if load else ""]
        return who not in OWN and any((bench.name, w, word) in LEFT_OUT for word in words for w in (who, "*"))

    def filled_in(self, words, samples, load):
        """The arguments of a load, with what is known only now."""
        if any(word in (CERTIFICATE, KEY) for word in words) and not self.certificate:
            self.certificate = self.programs.certificate()
        meant = dict(zip((CERTIFICATE, KEY), self.certificate))
        if HALF_LOAD in words:
            full = samples[joined("wall", load.replace("open", "closed")), "ops_s"]
            meant[HALF_LOAD] = str(statistics.median(full.get("epoll-c") or full["thrum"]) / 2)
        return [meant.get(word, word) for word in words]

    def window(self):
        """How long a server is loaded; a smoke test has few connections."""
        if self.options.smoke:
            return ["--warmup", "0.05", "--seconds", "0.1", "--connections", "16"]
        warmup, seconds = ("0.5", "1") if self.options.quick else ("1", "2")
        return ["--warmup", warmup, "--seconds", seconds]

    def run_once(self, bench, who, case, samples):
        """One program run; returns {(variant, metric): (value, unit)}."""
        variant, arguments, load = case
        command = self.programs.command(who, bench) + ["--workers", self.machine.workers(variant), *arguments]
        if self.options.quick:
            command.append("--quick")
        if bench.servers:
            core, _ = self.machine.client_and_server_cores(variant)
            results = self.programs.run(command, core, self.servers)
        elif load is None:
            results = self.programs.run(command)
        else:
            client = [*self.filled_in(load[1], samples, load[0]), *self.window()]
            command += self.filled_in(load[2], samples, load[0])
            server_place, load_place = self.machine.places(variant)
            results = self.programs.serve(command, server_place, client, load_place)
        suffix = load[0] if load else ""
        return {(joined(variant, suffix, r["variant_suffix"]), r["metric"]): (r["value"], r["unit"]) for r in results}

    def try_once(self, bench, who, case, samples):
        try:
            for key, (value, unit) in self.run_once(bench, who, case, samples).items():
                samples.setdefault(key, {}).setdefault(who, []).append(value)
                samples[key]["unit"] = unit
            return True
        except ProgramFailed as reason:
            sentence = f"{who}: {bench.name} ({joined(case[0], *case[1])}) {reason}."
            self.failures.append(sentence)
            print(sentence, file=sys.stderr)
            return False

    def take_turns(self, bench, takers, case, samples):
        turns = {w: 1 if self.options.smoke else rounds(bench, w, self.options.quick) for w in takers}
        for turn in range(max(turns.values(), default=0)):
            order = takers if turn % 2 == 0 else takers[::-1]
            for who in [w for w in order if turn < turns[w]]:
                progress(f"{bench.name} {joined(case[0], *case[1])} round {turn + 1}/{turns[who]}: {who}")
                if not self.try_once(bench, who, case, samples):
                    turns[who] = 0

    def run_bench(self, bench):
        """All rounds of a bench; returns {(variant, metric): {who: [value, …], "unit": unit}}."""
        everyone = [*bench.own] + [p for p in self.options.peers if p in bench.peers]
        present = [w for w in everyone if not self.programs.missing(w, bench)]
        samples = {}
        _, cores = self.machine.client_and_server_cores(bench.variants[0])
        with private_servers(bench.servers, cores) as self.servers:
            if self.servers is None:
                print(f"The bench {bench.name} is left out: its servers are not installed.", file=sys.stderr)
                return samples
            for case in self.cases(bench):
                takers = [w for w in present if not self.left_out(bench, w, case[1], case[2])]
                self.take_turns(bench, takers, case, samples)
        for (name, who), sets in INSTEAD.items():
            if name == bench.name and who in present:
                for variant in bench.variants:
                    for arguments in sets:
                        self.try_once(bench, who, (variant, arguments, None), samples)
        if self.options.smoke:
            measured = {w for by_who in samples.values() for w in by_who}
            self.failures += [f"{w} does not offer {bench.name}" for w in bench.own if w not in measured]
        progress("")
        return samples


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    options = parse(sys.argv[1:])
    if options.plan:  # for ./bench: which peers have to be built
        print(" ".join(p for p in options.peers if any(p in b.peers for b in options.benches)))
        return 0
    runner = Runner(options)
    if len(runner.machine.cores) == 1:
        print("There is one core only: servers and their load share it, and `wall` is the same as `w1`.")
    all_rows = []
    for bench in options.benches:
        samples = runner.run_bench(bench)
        print_bench(bench, samples)
        all_rows += rows(bench, samples)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(all_rows, indent=1) + "\n")
    if options.smoke:
        print("\n".join(runner.failures))
    return 1 if runner.failures else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that running programs are ended too
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
