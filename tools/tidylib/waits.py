"""Every public call that may wait is cancelled by some test, at the place where it waits.

The calls are found in the public headers by their names. A call and its forms (_for, _until, the twin async_x)
count as one: `header.name`.
"""
import re

from . import tree

NAMES = ("wait", "acquire", "try_acquire", "receive", "send", "join", "get", "lock", "try_lock", "lock_shared", "sleep",
         "yield", "accept", "connect", "read_some", "read_exactly", "write_some", "write_all", "wait_readable",
         "wait_writable", "arrive_and_wait", "submit", "async", "start", "select", "call_once", "race", "join_all",
         "for_each_concurrent", "map_concurrent", "parallel_for", "parallel_reduce", "retry", "wait_on_address",
         "with_scope")
DECLARATION = re.compile(r"^\s*(?:\[\[nodiscard\]\]\s*)?(?:(?!return\b|friend\b)[\w:<>&*,\[\]]+\s+)+(?:async_)?(" +
                         "|".join(NAMES) + r")(?:_for|_until)?\(", re.M)

TABLE = "tests/semantics_cancellation_test.cpp"

# The call -> the kind in the table of TABLE.
KINDS = {
    "barrier.wait": "barrier_wait", "barrier.arrive_and_wait": "barrier_wait",
    "channel.send": "channel_send", "channel.receive": "channel_receive",
    "channel_ends.send": "sender_send", "channel_ends.receive": "channel_receive",
    "condition_variable.wait": "condition_variable_wait",
    "event.wait": "event_wait", "fiber.join": "fiber_join", "fiber.sleep": "sleep_for", "fiber.yield": "sleep_for",
    "future.get": "promise_wait", "future.wait": "future_wait",
    "guarded.wait": "guarded_wait", "task_sync.wait": "guarded_wait",
    "latch.wait": "latch_wait", "latch.arrive_and_wait": "latch_wait",
    "once.call_once": "call_once", "task_sync.call_once": "call_once",
    "select.select": "select", "select_list.wait": "select",
    "semaphore.acquire": "semaphore_acquire", "semaphore.try_acquire": "semaphore_acquire",
    "task.join": "task_join", "task.sleep": "sleep_for", "task.yield": "sleep_for",
    "tcp_listener.accept": "tcp_accept", "tcp_stream.read_some": "tcp_read", "tcp_stream.read_exactly": "tcp_read",
    "tcp_stream.wait_readable": "tcp_wait_readable", "tcp_stream.write_some": "tcp_write",
    "tcp_stream.write_all": "tcp_write", "tcp_stream.wait_writable": "tcp_write",
    "ticker.receive": "receive_of_a_timer",
    "wait_group.wait": "wait_group_wait", "wait_on_address.wait_on_address": "wait_on_address",
}

# Cancelled by tests of their own.
ELSEWHERE = {
    "concurrent.for_each_concurrent": "src/scope/concurrent_test.cpp",
    "concurrent.map_concurrent": "src/scope/concurrent_test.cpp",
    "concurrent.race": "src/scope/concurrent_test.cpp",
    "concurrent.join_all": "src/scope/concurrent_test.cpp",
    "concurrent.parallel_for": "src/scope/concurrent_test.cpp",
    "concurrent.parallel_reduce": "src/scope/concurrent_test.cpp",
    "rate_limiter.acquire": "src/scope/rate_limiter_test.cpp",
    "rate_limiter.try_acquire": "src/scope/rate_limiter_test.cpp",
    "retry.retry": "src/scope/retry_test.cpp",
    "scope.start": "src/scope/started_test.cpp",
    "scope.with_scope": "src/scope/scope_test.cpp",
    "task_scope.with_scope": "src/task/task_scope_test.cpp",
    "tcp_stream.connect": "src/net/tcp_test.cpp",
    "worker_pool.submit": "src/scope/worker_pool_test.cpp",
    "worker_pool.async": "src/scope/worker_pool_test.cpp",
    "worker_pool.join": "src/scope/worker_pool_test.cpp",
}

# No cancellation points, each with its reason.
EXEMPT = {
    "async.async": "starts a fiber", "scope.async": "starts a fiber", "when.start": "starts nothing that waits",
    "task.start": "starts a task", "worker_pool.send": "its own, under submit",
    "concurrent.get": "a result that is there", "context_value.get": "a value that is there",
    "fiber_local.get": "a value that is there",
    "guarded.lock": "locking", "lock.lock": "locking", "lock.try_lock": "locking", "mutex.lock": "locking",
    "mutex.try_lock": "locking", "shared_mutex.lock": "locking", "shared_mutex.try_lock": "locking",
    "shared_mutex.lock_shared": "locking", "shared_mutex.wait": "locking",
    "scope.join": "waits for cancelled children, too",
}


def check(files):
    """Calls in no list, and lists that name what is not there."""
    listed = KINDS.keys() | ELSEWHERE.keys() | EXEMPT.keys()
    findings = []
    for path, code in files.items():
        if not re.fullmatch(r"include/thrum/(net/)?\w+\.hpp", path):
            continue
        header = path.rsplit("/", 1)[1][:-4]
        for name in sorted(set(DECLARATION.findall(tree.blank(code)))):
            if f"{header}.{name}" not in listed:
                findings.append(f"{path}: {header}.{name} may wait, and no test cancels it: see tools/tidylib/waits.py")
    if TABLE in files:
        findings += [f"tools/tidylib/waits.py: {TABLE} has no kind {kind}" for kind in sorted(set(KINDS.values()))
                     if f'{{"{kind}",' not in files[TABLE]]
        findings += [f"tools/tidylib/waits.py: {path} cancels nothing" for path in sorted(set(ELSEWHERE.values()))
                     if not re.search(r"cancel|timed_out|deadline", files.get(path, ""))]
    return findings
