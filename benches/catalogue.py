"""What the benchmarks are and what thrum wants to reach: data only.

A bench is run with one worker (`w1`) and with all of them (`wall`). A program may print several results,
told apart by a suffix of the variant. The goals are ratios to a peer measured in the same run, or, without
a peer, plain limits.
"""

from dataclasses import dataclass, field

OWN = ["thrum", "thrum-task"]  # fibers; stackless tasks, which are one program with all their benches
PEERS = ["go", "boost-fiber", "tokio", "thread", "erlang", "epoll-c", "uring", "asio", "epoll-openssl", "onetbb",
         "pipe", "client-loop", "client-threads"]
LOOPS = ["epoll-c", "uring"]  # written by hand
CHEAPER_LOOP = "cheaper-loop"  # as the peer of a goal: whichever of them has the smaller median
FIBER_LIKE = ["go", "boost-fiber", "tokio", "thread", "erlang"]  # what starts many activities that wait


@dataclass(frozen=True)
class Bench:
    name: str
    question: str
    peers: list
    own: tuple = ("thrum",)
    variants: tuple = ("w1", "wall")
    # One program run each; the second element is for --quick.
    argument_sets: tuple = ((),)
    quick_argument_sets: tuple = None
    # A server program driven by load_client: (variant suffix, client arguments, server arguments).
    loads: tuple = ()
    program: str = None  # whose name is not the bench's
    # What it is a client of: servers that tools/private_servers starts, on the cores that `w1` leaves over.
    servers: tuple = ()
    # The most rounds that a peer (or "*") takes part in, because they are long or hopeless.
    rounds_max: dict = field(default_factory=dict)


def hogs(seconds, kinds):
    return tuple(("--seconds", seconds, "--kind", k, "--hogs", h) for k, h in kinds)


HOG_CASES = (("spin", "1"), ("spin", "4"), ("syscall", "1"), ("syscall", "4"), ("call", "1"), ("call", "4"))
HOG_CASES_QUICK = (("spin", "1"), ("spin", "4"), ("syscall", "1"), ("call", "1"))

BOTH = tuple(OWN)

C100 = ("--connections", "100")
# What the driver fills in: a rate, half of what the closed loop reached with epoll-c (or else with us); files.
HALF_LOAD, CERTIFICATE, KEY = "{half load}", "{certificate}", "{key}"
CERTIFIED = ("--certificate", CERTIFICATE, "--key", KEY, "--buffer", "4096")

BENCHES = [
    Bench("yield", "8 fibers yield in a loop: one yield", FIBER_LIKE, own=BOTH),
    Bench("spawn_join", "start one, wait for its end; batch: start 1,000, wait for all", FIBER_LIKE, own=BOTH),
    Bench("chan_pingpong", "a round trip over two unbuffered channels", FIBER_LIKE, own=BOTH),
    Bench("chan_throughput", "a message through a channel of 128, 1 or 4 at each end", FIBER_LIKE),
    Bench("select", "a message chosen among 4 unbuffered channels", ["go", "tokio", "erlang"]),
    Bench("mutex", "8 contenders: lock, increment, unlock", ["go", "boost-fiber", "tokio", "thread"]),
    Bench("skynet", "a tree with a million leaves, sums over unbuffered channels: one leaf",
          ["go", "boost-fiber", "tokio", "erlang"], own=BOTH),
    Bench("ring", "1,000 in a ring of unbuffered channels pass a token on: one hop", FIBER_LIKE),
    Bench("timers", "a wait with a limit of 1 h that data cut short, 1,000 at once; scope: a deadline set and "
          "cancelled", FIBER_LIKE),
    Bench("interposed", "libc's calls outside of fibers, by fibers, and libc's own: poll of nothing, a byte sent and "
          "received, a round trip between two", []),
    Bench("uncontended", "one takes and gives back what nobody else wants: mutex, shared_mutex, semaphore, channel",
          ["thread"], variants=("w1",)),
    Bench("contended", "8, 64, 1,000 contenders: mutex; rwlock, 95% readers; semaphore, 2 permits per worker",
          ["go", "thread"], variants=("wall",)),
    Bench("cancel", "a scope with 100,000 that wait: from cancel() to the end of join(), per child", []),
    Bench("for_each", "a million empty items, 64 at a time: one item, times the number of workers", []),
    Bench("parallel", "y = a * x + y, and the sum of y, over 100 million doubles: one element", ["onetbb"],
          variants=("wall",)),
    Bench("maybe_yield", "a loop that computes offers to give way beside a sleeper: one offer", [], variants=("w1",)),
    Bench("simulation", "a decision of a simulated program; hour: 360,000 sleeps in an hour of virtual time", [],
          variants=("w1",)),
    Bench("parked_memory", "sleepers, all alive at once", FIBER_LIKE, own=BOTH,
          argument_sets=(("--count", "1000000", "--seconds", "14"), ("--count", "100000", "--seconds", "5")),
          quick_argument_sets=(("--count", "100000", "--seconds", "5"),),
          rounds_max={"*": 3, "boost-fiber": 1, "thread": 1, "erlang": 1}),
    Bench("parked_on_channel", "those who wait on a channel, all alive at once", ["go"], own=("thrum-task",),
          argument_sets=(("--count", "1000000"),), quick_argument_sets=(("--count", "100000"),),
          rounds_max={"*": 3}),
    Bench("hog_fairness", "a 1 ms ticker beside hogs that spin, block in system calls, or call without waiting",
          FIBER_LIKE,
          argument_sets=hogs("3", HOG_CASES), quick_argument_sets=hogs("1", HOG_CASES_QUICK),
          rounds_max={"go": 1, "boost-fiber": 1, "tokio": 1, "erlang": 1}),
    Bench("echo", "TCP, 64 bytes, server on one core, load on another",
          ["go", "tokio", "thread", "erlang", "epoll-c", "uring", "asio"], own=BOTH, variants=("w1",),
          loads=tuple((n, ("--connections", n), ()) for n in ("100", "1000", "10000")),
          rounds_max={"thread": 3, "erlang": 3}),
    Bench("echo_shapes", "TCP echo by 100 connections: 16 KiB; 16 requests of 64 bytes under way; connect, echo, close",
          LOOPS, own=BOTH, variants=("w1",), program="echo",
          loads=(("16k", (*C100, "--bytes", "16384"), ("--buffer", "32768")),
                 ("pipelined", (*C100, "--depth", "16"), ("--buffer", "4096")),
                 ("churn", (*C100, "--churn", "1"), ()))),
    Bench("echo_idle", "10,000 connections that are silent after one echo each: memory of one",
          ["go", "tokio", "epoll-c"], own=BOTH, variants=("w1",), program="echo",
          loads=(("", ("--connections", "10000", "--idle", "1"), ("--borrow",)),), rounds_max={"*": 3}),
    Bench("c10k", "10,000 connections, each request waits 100 ms; server on one core, load on another",
          ["go", "tokio", "thread", "erlang", "epoll-c", "asio"], own=BOTH, variants=("w1",),
          loads=(("", ("--connections", "10000", "--spread-ms", "100"), ()),
                 ("borrow", ("--connections", "10000", "--spread-ms", "100"), ("--borrow",))),
          rounds_max={"tokio": 3, "thread": 3, "erlang": 1}),
    Bench("mixed", "TCP echo of 64 bytes, 5% of the requests compute for 1 ms; server and load on all cores",
          ["go", "epoll-c"], variants=("wall",),
          loads=(("closed", (*C100, "--compute-percent", "5"), ()),
                 ("open", ("--connections", "1000", "--compute-percent", "5", "--rate", HALF_LOAD), ()))),
    Bench("hogged_echo", "TCP echo of 64 bytes beside one hog for each core, which spins or sits in system calls of "
          "50 ms; server and load on all cores", ["epoll-c"], variants=("wall",),
          loads=tuple((f"{kind}-{loop}", (*C100, *rate), ("--kind", kind, "--hogs", "1"))
                      for kind in ("spin", "syscall")
                      for loop, rate in (("closed", ()), ("open", ("--rate", HALF_LOAD))))),
    Bench("tls", "TLS 1.3 with P-256 by 100 connections: echo of 1 KiB; handshake, echo of 64 bytes, close",
          ["epoll-openssl"], variants=("w1",),
          loads=(("echo", (*C100, "--tls", "1", "--bytes", "1024"), CERTIFIED),
                 ("handshake", (*C100, "--tls", "1", "--churn", "1"), CERTIFIED))),
    Bench("clients", "libpq and hiredis: 1,000 sleeps over 100 connections; a query on each of 200; an echo on 1,000",
          ["client-loop", "client-threads"], variants=("w1",), servers=("postgres", "redis"),
          argument_sets=tuple(("--kind", k) for k in ("sleep", "postgres", "redis"))),
    Bench("transfers", "5,000 of libcurl's blocking transfers under way at once: one of them; threads", [],
          variants=("wall",), servers=("nginx",)),
    Bench("process_call", "64 bytes to another process and back: a call in a process_pool; a bare pipe each way",
          ["pipe"]),
    Bench("file_reads", "16 at a time read 4 KiB at random from a file in the page cache: one read", ["uring"],
          variants=("w1",)),
]

# What a peer is not asked to do, because it would take too long or cannot: (bench, peer, argument or suffix).
LEFT_OUT = {
    ("parked_memory", "boost-fiber", "1000000"),  # 128 KiB of address space and a mapping each
    ("parked_memory", "thread", "1000000"),
    ("parked_memory", "thread", "100000"),
    ("hog_fairness", "erlang", "syscall"),  # a process there cannot block in a system call
    ("clients", "client-threads", "sleep"),  # a thousand threads would wait for a hundred connections
    ("c10k", "*", "borrow"),  # only thrum's server makes that difference
}

# Threads cannot number a million: they are asked for as many as usually fit, and compared per thread.
INSTEAD = {("parked_memory", "thread"): (("--count", "10000", "--seconds", "5"),)}

KIB = 1024


@dataclass(frozen=True)
class Goal:
    bench: str
    variant: str  # with its suffix
    metric: str
    relation: str  # "<=" or ">="
    limit: float
    peer: str = None  # None: a plain limit
    who: str = "thrum"

    def near_parity(self):
        return self.peer is not None and 0.9 <= self.limit <= 1.15


def at_most(bench, variants, metric, who="thrum", **limits):
    return [Goal(bench, v, metric, "<=", limit, peer.replace("_", "-"), who)
            for v in variants for peer, limit in limits.items()]


def at_least(bench, variants, metric, who="thrum", **limits):
    return [Goal(bench, v, metric, ">=", limit, peer.replace("_", "-"), who)
            for v in variants for peer, limit in limits.items()]


def limited(bench, variants, metric, limit, who="thrum"):
    return [Goal(bench, v, metric, "<=", limit, who=who) for v in variants]


UNCONTENDED = [f"w1-{what}" for what in ("mutex", "shared_mutex", "shared_mutex-read", "semaphore", "channel")]
CONTENDED = [f"wall-{what}-{n}" for what in ("mutex", "rwlock", "semaphore") for n in (8, 64, 1000)]
HOGGED = [f"{v}-{kind}-{n}x" for v in ("w1", "wall") for kind, n in HOG_CASES]
HOGGED_ECHO = ["wall-spin-open", "wall-syscall-open"]

GOALS = [
    *at_most("yield", ["w1"], "ns_op", go=0.25, boost_fiber=0.3),
    *at_most("spawn_join", ["w1", "w1-batch"], "ns_op", go=0.3, boost_fiber=0.15),
    *at_most("chan_pingpong", ["w1", "wall"], "ns_op", go=0.3, tokio=0.4),
    *at_most("chan_throughput", ["w1-1x1", "w1-4x4"], "ns_op", go=0.55, boost_fiber=1.0),
    *at_most("chan_throughput", ["wall-1x1", "wall-4x4"], "ns_op", go=0.8),
    *at_most("select", ["w1"], "ns_op", go=0.4),
    *at_most("mutex", ["wall"], "ns_op", thread=1.0),
    *at_most("ring", ["w1"], "ns_op", go=0.4),
    *at_most("skynet", ["wall"], "ns_op", go=0.3),
    *at_most("timers", ["w1", "w1-scope"], "ns_op", go=0.35),
    *at_most("uncontended", UNCONTENDED, "ns_op", thread=1.3),
    *at_most("contended", CONTENDED, "ns_op", thread=1.0, go=0.7),
    *limited("cancel", ["w1", "wall"], "times_throw", 2),
    *limited("maybe_yield", ["w1"], "ns_op", 5),
    *limited("for_each", ["w1", "wall"], "ns_op", 20),
    *at_most("parallel", ["wall-for", "wall-reduce"], "ns_op", onetbb=1.1),
    *limited("simulation", ["w1"], "ns_op", 1000),
    *limited("simulation", ["w1-hour"], "ms", 1000),
    *limited("parked_memory", ["w1-1m"], "rss_bytes_each", 4.6 * KIB),
    *limited("parked_memory", ["w1-1m"], "rss_pte_bytes_each", 5.2 * KIB),
    *at_most("parked_memory", ["w1-1m"], "cpu_s", go=1.4),
    *limited("parked_memory", ["w1-100k"], "idle_cpu_ms_s", 1.0),
    *at_least("hog_fairness", HOGGED, "ticks", thread=0.95),
    *at_most("hog_fairness", HOGGED, "p50_us", thread=1.1),
    *at_most("hog_fairness", HOGGED, "p99_us", thread=2.0),
    *at_most("echo", ["w1-100", "w1-1000"], "cpu_us_op", epoll_c=1.03, go=0.75, tokio=0.92, asio=0.92),
    *at_most("echo", ["w1-10000"], "cpu_us_op", epoll_c=1.06, go=0.75, tokio=0.92, asio=0.92),
    *at_most("echo", ["w1-100", "w1-1000", "w1-10000"], "p99_us", epoll_c=1.1),
    *at_least("echo", ["w1-100", "w1-1000"], "ops_s", epoll_c=0.93),
    *at_most("echo_shapes", ["w1-16k", "w1-pipelined"], "cpu_us_op", cheaper_loop=1.06),
    *at_most("echo_shapes", ["w1-churn"], "cpu_us_op", cheaper_loop=1.15),
    *limited("echo_idle", ["w1"], "rss_bytes_each", 4.8 * KIB),
    *limited("echo_idle", ["w1"], "rss_bytes_each", 1.2 * KIB, who="thrum-task"),
    *at_least("c10k", ["w1"], "ops_s", epoll_c=0.97),
    *at_most("c10k", ["w1"], "cpu_us_op", epoll_c=1.2, go=0.6),
    *at_most("c10k", ["w1"], "cpu_us_op", who="thrum-task", epoll_c=1.15),
    *at_most("c10k", ["w1"], "rss_bytes", thread=0.6),
    *at_least("mixed", ["wall-closed"], "ops_s", epoll_c=0.95),
    *at_most("mixed", ["wall-open"], "p999_us", epoll_c=0.65),
    *at_least("hogged_echo", HOGGED_ECHO, "ops_s", epoll_c=0.9),
    *at_most("hogged_echo", HOGGED_ECHO, "p99_us", epoll_c=1.5),
    *at_most("tls", ["w1-echo", "w1-handshake"], "cpu_us_op", epoll_openssl=1 / 0.95),
    *at_most("file_reads", ["w1"], "ns_op", uring=1 / 0.9),
    *at_most("clients", ["w1-sleep"], "ms", client_loop=1.03),
    *at_least("clients", ["w1-postgres", "w1-redis"], "ops_s", client_loop=0.95),
    *at_most("clients", ["w1-postgres", "w1-redis"], "cpu_us_op", client_threads=0.5),
    *limited("clients", ["w1-sleep", "w1-postgres", "w1-redis"], "threads", 1 + 8),
    *limited("transfers", ["wall"], "threads_beside_workers", 8),
    *at_most("process_call", ["w1", "wall"], "ns_op", pipe=1.3),
    *limited("c10k", ["w1-borrow"], "rss_bytes_each", 5.0 * KIB),

    *at_most("spawn_join", ["w1"], "ns_op", who="thrum-task", go=0.25),
    *at_most("skynet", ["wall"], "ns_op", who="thrum-task", go=0.1),
    *limited("parked_memory", ["w1-1m"], "rss_bytes_each", 320, who="thrum-task"),
    *at_most("parked_memory", ["w1-1m"], "rss_bytes_each", who="thrum-task", go=0.125),
    *at_most("parked_memory", ["w1-1m"], "cpu_s", who="thrum-task", go=0.25, tokio=0.8),
    *limited("parked_on_channel", ["w1-1m"], "rss_bytes_each", 320, who="thrum-task"),
    *at_most("parked_on_channel", ["w1-1m"], "rss_bytes_each", who="thrum-task", go=0.125),
]


def rounds(bench, who, quick):
    """How many times a program runs: more where a goal is so near to parity that noise would decide it."""
    close = any(who in (g.who, *(LOOPS if g.peer == CHEAPER_LOOP else [g.peer]))
                for g in GOALS if g.bench == bench.name and g.near_parity())
    n = (3 if close else 1) if quick else (11 if close else 5)
    if close:
        return n
    return min(n, bench.rounds_max.get(who, bench.rounds_max.get("*", n)))
