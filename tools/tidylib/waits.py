"""Every public call that may wait is cancelled by some test, at the place where it waits, and has a twin for tasks.

The calls are found in the public headers by their names. A call and its forms (_for, _until, the twin async_x)
count as one: `header.name`. Of a call with forms each needs its twin.
"""
import re

from . import tree

NAMES = ("wait", "acquire", "try_acquire", "receive", "send", "join", "get", "lock", "try_lock", "lock_shared", "sleep",
         "yield", "accept", "connect", "read_some", "read_exactly", "write_some", "write_all", "wait_readable",
         "wait_writable", "arrive_and_wait", "submit", "async", "start", "select", "call_once", "race", "join_all",
         "for_each_concurrent", "map_concurrent", "parallel_for", "parallel_reduce", "retry", "wait_on_address",
         "resolve", "query_srv", "query_mx", "query_txt", "query_ptr",
         "with_scope", "send_descriptor", "receive_descriptor",
         "blocking", "open", "read_all", "read_at", "write_at", "sync", "data_sync", "truncate",
         "read_file", "write_file", "stat_file", "list_directory", "make_directory", "remove_file", "rename_file",
         "read_line", "read_until", "peek", "skip", "write", "flush", "copy", "relay",
         "terminate", "run_process", "send_to", "receive_from", "serve", "shutdown",
         "send_file", "splice", "next", "call", "maybe_yield")
DECLARATION = re.compile(r"^\s*(?:\[\[nodiscard\]\]\s*)?"
                         r"(?:(?!(?:return|friend|co_await|co_return)\b)[\w:<>&*,\[\]]+\s+)+"
                         r"(?P<twin>async_)?(?P<name>" + "|".join(NAMES) + r")(?P<form>_for|_until)?\(", re.M)

TABLE = "tests/semantics_calls.hpp"

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
    "task_handle.join": "task_join", "task_sleep.sleep": "sleep_for", "task_sleep.yield": "sleep_for",
    "datagram_socket.send": "send_datagram", "datagram_socket.receive": "receive_datagram",
    "udp_socket.receive_from": "udp_receive_from", "unix_datagram.send_to": "unix_send_to",
    "unix_datagram.receive_from": "unix_receive_from", "unix_listener.accept": "unix_accept",
    "unix_stream.send_descriptor": "send_descriptor", "unix_stream.receive_descriptor": "receive_descriptor",
    "tcp_listener.accept": "tcp_accept", "byte_stream.read_some": "tcp_read",
    "stream_calls.read_some": "tcp_read", "stream_calls.read_exactly": "tcp_read",
    "stream_calls.write_some": "tcp_write", "stream_calls.write_all": "tcp_write",
    "byte_stream.wait_readable": "tcp_wait_readable", "byte_stream.write_some": "tcp_write",
    "byte_stream.write_all": "tcp_write", "byte_stream.wait_writable": "tcp_wait_writable",
    "ticker.receive": "receive_of_a_timer",
    "wait_group.wait": "wait_group_wait", "wait_on_address.wait_on_address": "wait_on_address",
    "worker_pool.submit": "worker_pool_submit", "worker_pool.join": "worker_pool_join",
}

FILES = ("open", "read_some", "read_all", "read_at", "write_all", "write_at", "sync", "data_sync", "truncate",
         "read_file", "write_file", "stat_file", "list_directory", "make_directory", "remove_file", "rename_file")

# Cancelled by tests of their own.
ELSEWHERE = {
    "cpu.maybe_yield": "src/runtime/cpu_test.cpp", "task_cpu.maybe_yield": "src/runtime/cpu_test.cpp",
    "blocking.blocking": "src/blocking/blocking_test.cpp",
    "task_blocking.blocking": "src/blocking/blocking_test.cpp",
    "buffered_reader.read_line": "src/net/buffered_reader_test.cpp",
    "buffered_reader.read_until": "src/net/buffered_reader_test.cpp",
    "buffered_reader.read_exactly": "src/net/buffered_reader_test.cpp",
    "buffered_reader.read_some": "src/net/buffered_reader_test.cpp",
    "buffered_reader.peek": "src/net/buffered_reader_test.cpp",
    "buffered_reader.skip": "src/net/buffered_reader_test.cpp",
    "buffered_writer.write": "src/net/buffered_writer_test.cpp",
    "buffered_writer.write_some": "src/net/buffered_writer_test.cpp",
    "buffered_writer.write_all": "src/net/buffered_writer_test.cpp",
    "buffered_writer.flush": "src/net/buffered_writer_test.cpp",
    "splice.splice": "src/net/splice_test.cpp", "send_file.send_file": "src/file/send_file_test.cpp",
    "directory_walk.next": "src/file/directory_walk_test.cpp",
    "connect.connect": "src/net/connect_test.cpp",
    "copy.copy": "src/net/memory_stream_test.cpp", "copy.relay": "src/net/memory_stream_test.cpp",
    **{f"memory_stream.{call}": "src/net/memory_stream_test.cpp"
       for call in ("read_some", "write_some")},
    "asio.read_some": "tests/beast/beast.cpp", "asio.write_some": "tests/beast/beast.cpp",
    "server.serve": "src/net/server_test.cpp", "server.shutdown": "src/net/server_test.cpp",
    "concurrent.for_each_concurrent": "src/scope/concurrent_test.cpp",
    "concurrent.map_concurrent": "src/scope/concurrent_test.cpp",
    "concurrent.race": "src/scope/concurrent_test.cpp",
    "concurrent.join_all": "src/scope/concurrent_test.cpp",
    "concurrent.parallel_for": "src/scope/concurrent_test.cpp",
    "concurrent.parallel_reduce": "src/scope/concurrent_test.cpp",
    "pipe.read_some": "src/process/pipe_test.cpp",
    "pseudo_terminal.read_some": "src/process/pseudo_terminal_test.cpp",
    "pseudo_terminal.write_some": "src/process/pseudo_terminal_test.cpp",
    "pipe.wait_readable": "src/process/pipe_test.cpp", "pipe.write_some": "src/process/pipe_test.cpp",
    "pipe.wait_writable": "src/process/pipe_test.cpp",
    "process.wait": "src/process/process_test.cpp", "process.terminate": "src/process/process_test.cpp",
    "process.run_process": "src/process/process_test.cpp", "signal_set.receive": "src/process/signal_set_test.cpp",
    "process_pool.call": "src/process/process_pool_test.cpp",
    "process_pool.join": "src/process/process_pool_test.cpp",
    "rate_limiter.acquire": "src/scope/rate_limiter_test.cpp",
    "rate_limiter.try_acquire": "src/scope/rate_limiter_test.cpp",
    **{f"file.{name}": "src/file/file_test.cpp" for name in FILES},
    "file_watcher.receive": "src/file/file_watcher_test.cpp",
    **{f"resolver.{call}": "src/dns/dns_test.cpp"
       for call in ("connect", "resolve", "query_srv", "query_mx", "query_txt", "query_ptr")},
    "retry.retry": "src/scope/retry_test.cpp",
    "scope.start": "src/scope/started_test.cpp",
    "scope.with_scope": "src/scope/scope_test.cpp",
    "task_scope.with_scope": "src/task/task_scope_test.cpp",
    "tcp_stream.connect": "src/net/tcp_errors_test.cpp",
    **{f"tls_stream.{call}": "src/tls/tls_test.cpp"
       for call in ("accept", "connect", "read_some", "write_some")},
    "udp_socket.send_to": "src/net/udp_test.cpp",
    "unix_stream.connect": "src/net/unix_test.cpp",
    "task_concurrent.for_each_concurrent": "src/task/task_concurrent_test.cpp",
    "task_concurrent.map_concurrent": "src/task/task_concurrent_test.cpp",
    "task_concurrent.race": "src/task/task_concurrent_test.cpp",
    "task_concurrent.join_all": "src/task/task_concurrent_test.cpp",
    "task_concurrent.parallel_for": "src/task/task_concurrent_test.cpp",
    "task_concurrent.parallel_reduce": "src/task/task_concurrent_test.cpp",
    "task_retry.retry": "src/task/task_retry_test.cpp",
    "worker_pool.async": "src/scope/worker_pool_test.cpp",
}

# No cancellation points, each with its reason.
EXEMPT = {
    "file_watcher.open": "never waits", "udp_socket.open": "never waits", "unix_datagram.open": "never waits",
    "pseudo_terminal.open": "never waits", "directory_walk.skip": "never waits",
    "asio.next": "its own, over buffers",
    "async.async": "starts a fiber", "scope.async": "starts a fiber", "when.start": "starts nothing that waits",
    "worker_pool.send": "its own, under submit",
    "channel.copy": "copies an element",
    "concurrent.get": "a result that is there", "context_value.get": "a value that is there",
    "fiber_local.get": "a value that is there", "udp_socket.connect": "sends nothing",
    "guarded.lock": "locking", "lock.lock": "locking", "lock.try_lock": "locking", "mutex.lock": "locking",
    "mutex.try_lock": "locking", "shared_mutex.lock": "locking", "shared_mutex.try_lock": "locking",
    "shared_mutex.lock_shared": "locking", "shared_mutex.wait": "locking",
    "scope.join": "waits for cancelled children, too",
    "wire.write": "into memory", "shared_memory.write": "into memory",
    "future.call": "its own, of then()", "task_blocking.call": "its own, of async_blocking()",
    "blocking.call": "a variable",
}


# Where the twins of a header's calls are, if not beside them.
TWINS_IN = {"concurrent": "task_concurrent", "retry": "task_retry", "once": "task_sync", "guarded": "task_sync",
            "scope": "task_scope", "fiber": "task_sleep", "blocking": "task_blocking",
            "cpu": "task_cpu"}

# Calls without a twin, or with one of another name, each with its reason.
NO_TWIN = {
    "file_watcher.open": "never waits", "udp_socket.open": "never waits", "unix_datagram.open": "never waits",
    "pseudo_terminal.open": "never waits", "directory_walk.skip": "never waits",
    "asio.next": "its own, over buffers",
    "asio.read_some": "Asio's synchronous concepts", "asio.write_some": "Asio's synchronous concepts",
    "async.async": "starts a fiber", "scope.async": "starts a fiber", "when.start": "starts nothing that waits",
    "task.start": "starts a task", "worker_pool.send": "its own, under submit",
    "channel.copy": "copies an element",
    "concurrent.get": "a result that is there", "context_value.get": "a value that is there",
    "fiber_local.get": "a value that is there", "udp_socket.connect": "sends nothing",
    "lock.lock": "of std's kind: async_lock of the mutex, and adopt it", "lock.try_lock": "never waits",
    "mutex.try_lock": "never waits", "shared_mutex.try_lock": "never waits", "shared_mutex.wait": "its own, under lock",
    "semaphore.try_acquire": "never waits", "rate_limiter.try_acquire": "never waits",
    "wire.write": "into memory", "shared_memory.write": "into memory",
    "future.call": "its own, of then()", "task_blocking.call": "its own, of async_blocking()",
    "blocking.call": "a variable",
    "worker_pool.async": "async_future: a twin of that name would be async_async",
}


def check(files):
    """Calls in no list, calls without a twin, and lists that name what is not there."""
    listed = KINDS.keys() | ELSEWHERE.keys() | EXEMPT.keys()
    findings = twinless(files)
    for path, code in files.items():
        if not re.fullmatch(r"include/thrum/(net/)?\w+\.hpp", path):
            continue
        header = path.rsplit("/", 1)[1][:-4]
        for name in sorted({call["name"] for call in DECLARATION.finditer(tree.blank(code))}):
            if f"{header}.{name}" not in listed:
                findings.append(f"{path}: {header}.{name} may wait, and no test cancels it: see tools/tidylib/waits.py")
    if TABLE in files:
        findings += [f"tools/tidylib/waits.py: {TABLE} has no kind {kind}" for kind in sorted(set(KINDS.values()))
                     if f'{{"{kind}",' not in files[TABLE]]
        findings += [f"tools/tidylib/waits.py: {path} cancels nothing" for path in sorted(set(ELSEWHERE.values()))
                     if not re.search(r"cancel|timed_out|deadline", files.get(path, ""))]
    return findings


def calls_of(files, header):
    """The forms of waiting calls in a public header, and those that have a twin there."""
    plain, twins = set(), set()
    for path, code in files.items():
        if re.fullmatch(rf"include/thrum/(net/)?{header}\.hpp", path):
            for call in DECLARATION.finditer(tree.blank(code)):
                (twins if call["twin"] else plain).add((call["name"], call["form"] or ""))
    return plain, twins


def twinless(files):
    findings = []
    for path in files:
        if not re.fullmatch(r"include/thrum/(net/)?\w+\.hpp", path):
            continue
        header = path.rsplit("/", 1)[1][:-4]
        plain, twins = calls_of(files, header)
        twins |= calls_of(files, TWINS_IN.get(header, header))[1]
        for name, form in sorted(plain - twins):
            if f"{header}.{name}{form}" not in NO_TWIN:
                findings.append(f"{path}: {header}.{name}{form} has no twin async_{name}{form} for tasks: "
                                "see tools/tidylib/waits.py")
    return findings
