"""Include layering: who may include whom. This is the table of ARCHITECTURE.md; change both together."""
import re

from . import tree

# From the bottom up. A module may include itself, its neighbours in `together`, and every lower row.
ROWS = [
    ("base", "os"),
    ("context",),
    ("sched",),
    ("io",),
    ("runtime", "sync", "chan", "scope"),
    ("task",),
    ("blocking", "net", "process"),
    ("tls", "dns"),
    ("file",),
    ("actor", "http", "grpc", "cluster"),
    ("interpose", "sim", "obs", "lock_check"),
]

# Rows whose modules may include one another: base asserts, and os says how the sentence reaches the terminal.
TOGETHER = [("base", "os")]

# (from, to): the exceptions, each with its reason.
EXCEPTIONS = {
    ("scope", "runtime"): "a scope starts fibers",
    ("scope", "sync"): "a future's state and a scope's join use the mutex and the wait group",
    ("scope", "chan"): "cancellation is a case of select",
    ("process", "net"): "a pipe waits for its descriptor as a socket does",
}

# Public headers, or directories of them, belong to the layer that implements them; thrum.hpp, the facade, may
# include them all.
PUBLIC = {
    "clock": "base", "cancelled": "sched", "inspector": "sched", "stall": "sched", "io_engine": "io",
    "runtime": "runtime", "fiber": "runtime", "fiber_local": "runtime", "context_value": "runtime",
    "label": "runtime", "cpu": "runtime", "task_cpu": "task", "pin": "runtime",
    "mutex": "sync", "shared_mutex": "sync", "condition_variable": "sync", "wait_group": "sync", "semaphore": "sync",
    "latch": "sync", "barrier": "sync", "event": "sync", "once": "sync", "guarded": "sync", "lock": "sync",
    "wait_on_address": "sync", "detail/shown_predicate": "sync",
    "channel": "chan", "select": "chan", "select_list": "chan", "channel_ends": "chan", "ticker": "chan",
    "detail/select_core": "chan",
    "scope": "scope", "future": "scope", "promise": "scope", "async": "scope", "when": "scope", "concurrent": "scope",
    "started": "scope", "select_end": "scope", "worker_pool": "scope", "rate_limiter": "scope", "retry": "scope",
    "detail/future_core": "scope", "detail/concurrent_work": "scope", "detail/channel_awaiters": "chan",
    "task": "task", "task_handle": "task", "task_scope": "task", "task_sleep": "task", "task_sync": "task",
    "task_concurrent": "task", "task_retry": "task",
    "net": "net", "net/tls_context": "tls", "net/tls_stream": "tls", "net/resolver": "dns",
    "detail/transfer": "net", "detail/stream_buffers": "net",
    "blocking": "blocking", "task_blocking": "blocking", "file": "file", "file_watcher": "file",
    "send_file": "file", "directory_walk": "file",
    "pipe": "process", "pseudo_terminal": "process", "process": "process", "signal_set": "process",
    "process_pool": "process", "task_process_pool": "process", "worker_error": "process", "wire": "process",
    "shared_memory": "process", "detail/remote_call": "process",
    "sim": "sim", "sim_gtest": "sim", "sim_network": "sim", "sim_allocations": "sim", "sim_disk": "sim",
    "sim_escapes": "sim", "sim_names": "sim", "detail/sim_calls": "sim",
    "linearizable": "sim",
}
DETAIL = "base"  # include/thrum/detail: small helpers that public headers share, unless named in PUBLIC.

# Headers that are the operating system's: never in a public header.
SYSTEM = re.compile(r"(sys|linux|arpa|netinet|net|asm|bits)/"
                    r"|(unistd|pthread|fcntl|poll|sched|signal|errno|dlfcn|semaphore|ucontext|netdb"
                    r"|ifaddrs|termios|execinfo|spawn)\.h$|csignal$|cerrno$")
EDGES = ("interpose", "sim", "obs", "lock_check", "lab")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def rank(module):
    for position, row in enumerate(ROWS):
        if module in row:
            return position
    return None


def module_of_public(path):
    """The layer of include/thrum/<path>; None for the facade, "?" for a header that the table lacks."""
    stem = path.removesuffix(".hpp")
    if stem == "thrum":
        return None
    unnamed = DETAIL if stem.startswith("detail/") else PUBLIC.get(stem.split("/")[0], "?")
    return PUBLIC.get(stem, unnamed)


def module_of_file(name):
    parts = name.split("/")
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if name.startswith("include/thrum/"):
        return module_of_public(name.removeprefix("include/thrum/"))
    return None


def module_of_include(path):
    """The module an #include leads to, or None for a header that is not ours."""
    if path.startswith("thrum/"):
        return module_of_public(path.removeprefix("thrum/")) or "the facade"
    first = path.split("/")[0]
    return first if "/" in path and (rank(first) is not None or first == "lab") else None


def may_include(user, used):
    if user == used or (user, used) in EXCEPTIONS or any(user in t and used in t for t in TOGETHER):
        return True
    return rank(user) is not None and rank(used) is not None and rank(used) < rank(user)


def verdict(name, path):
    """What is wrong with `#include path` in the file name, or None."""
    public = name.startswith("include/")
    user, used = module_of_file(name), module_of_include(path)
    if public and SYSTEM.match(path):
        return f"a public header includes the system's <{path}>; include it in the source"
    if public and used and not path.startswith("thrum/"):
        return f'a public header includes the internal "{path}"; users do not have it'
    if used in EDGES and user not in (used, None):
        return f"nobody includes an edge: {user} includes {used}"
    if "?" in (user, used):
        unknown = path if used == "?" else name
        return f"{unknown} is in no layer: add it to PUBLIC in tools/tidylib/layers.py"
    if user is None or used is None or tree.is_test(name):
        return None
    if rank(user) is None:
        return f"src/{user} is in no layer: add it to ROWS in tools/tidylib/layers.py"
    return None if may_include(user, used) else f"layering: {user} may not know {used} ({path})"


def check(files):
    findings = []
    for name, text in files.items():
        if not tree.is_cpp(name) or not name.startswith(("src/", "include/")):
            continue
        for match in INCLUDE.finditer(text):
            problem = verdict(name, match.group(2))
            if problem:
                findings.append(f"{name}:{tree.line_of(text, match.start())}: {problem}")
    return findings
