"""Calls that are banned, where, what to use instead, and the few places that may use them all the same."""
import re

from . import tree

# The homes of thread-local state: the worker, behind accessors that compilers cannot see through; the waiter
# of a plain thread and its fiber_locals, which no fiber asks for; the random source of threads without a
# processor, which is never used across a wait; and the mark that a thread is within dlsym.
THREAD_LOCALS = ("src/sched/self.cpp", "src/sched/thread_waiter.cpp", "src/sched/thread_lease.cpp",
                 "src/sched/wait.cpp", "src/runtime/locals.cpp", "src/interpose/real.cpp")
LIBRARY = ("src/", "include/")
EVERYWHERE = ("src/", "include/", "lab/", "tests/", "benches/", "examples/")


def call(names):
    """Calls of these functions of the C library: plain or qualified with :: or std::, but no members."""
    return r"(?<![\w.>:])(?:std::|::)?(?:" + names + r")\s*\("


# (pattern, replacement, where, allowed): `where` are prefixes of paths, `allowed` the files or directories in
# which the call is at home. LIBRARY leaves tests out. The pattern sees code without comments and literals.
BANNED = [
    (call("this_thread::sleep_(?:for|until)|usleep|nanosleep|clock_nanosleep") + r"|(?<![\w:])::sleep\s*\(",
     "the timers (this_fiber::sleep_for), or os::sleep_thread_ns where there is no fiber",
     LIBRARY, ("src/os/", "src/interpose/")),
    (r"\bstd::(?:recursive_|timed_|shared_)*mutex\b|\bpthread_mutex_\w+",
     "the spinlock in the runtime, thrum::mutex above it", LIBRARY, ("src/lock_check/interpose.cpp",)),
    (r"\bstd::condition_variable(?:_any)?\b|\bpthread_cond_\w+",
     "the wait queue, or os/futex.hpp for threads", LIBRARY, ()),
    (r"\bstd::stop_callback\b", "a fiber-aware callback: its destructor compares thread ids", LIBRARY, ()),
    (r"\bstd::(?:thread|jthread|async)\b",
     "os::start_thread, which blocks signals and names the thread", LIBRARY, ()),
    (r"\bthread_local\b|\b__thread\b",
     "the scheduler's accessor: the compiler caches addresses of thread locals across a switch",
     LIBRARY, THREAD_LOCALS),
    (call("printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror") + r"|\bstd::c(?:out|err|log)\b",
     "os::report, the report writer", LIBRARY, ("src/os/report.cpp",)),
    (call("assert"), "THRUM_ASSERT", LIBRARY, ()),
    (call("s?rand"), "base::rng", EVERYWHERE, ()),
    (call("strerror"), "std::error_code's message(), which is thread-safe", EVERYWHERE, ()),
    (call("gets"), "fgets", EVERYWHERE, ()),
    (call("v?sprintf"), "snprintf", EVERYWHERE, ()),
    (call("str(?:cpy|cat)"), "std::string or a bounded copy", EVERYWHERE, ()),
    (call("atoi|atol|atoll|atof"), "std::from_chars, which tells bad input", EVERYWHERE, ()),
    (call("strtok"), "std::string_view and find", EVERYWHERE, ()),
    (call("gmtime|localtime|ctime|asctime"), "the _r variant", EVERYWHERE, ()),
    (call("gethostbyname|inet_ntoa"), "getaddrinfo, inet_ntop", EVERYWHERE, ()),
    (call("tmpnam|mktemp|tempnam"), "mkstemp", EVERYWHERE, ()),
    (call("signal") + r"(?![^()]*SIG_(?:IGN|DFL))", "sigaction for a handler", EVERYWHERE, ()),
    (r"\bstd::endl\b", r"'\n'", EVERYWHERE, ()),
    (r"\busing\s+namespace\s+std\s*;", "qualified names", EVERYWHERE, ()),
    (r"#\s*define\s+(?:private|protected|class)\b", "an interface that tests can use", EVERYWHERE, ()),
]
RULES = [(re.compile(pattern), *rest) for pattern, *rest in BANNED]


def applies(name, where, allowed):
    if not name.startswith(where) or name.startswith(allowed):
        return False
    return where is EVERYWHERE or not tree.is_test(name)


def check(files):
    findings = []
    for name, text in files.items():
        if not tree.is_cpp(name):
            continue
        code = tree.blank(text)
        for pattern, replacement, where, allowed in RULES:
            if not applies(name, where, allowed):
                continue
            for match in pattern.finditer(code):
                where_found = f"{name}:{tree.line_of(code, match.start())}"
                found = match.group(0).rstrip("( ")
                findings.append(f"{where_found}: {found} is banned; use {replacement}")
    return findings
