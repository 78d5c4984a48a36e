"""Proof that every rule fires on a bad sample, says what is wrong, and is silent on a good one."""
import json
import pathlib
import tempfile

from . import banned, dead, functions, layers, text, waits

HEAD = "// A sample.\n"

# (rule, path, text, a part of the expected finding; None: no finding)
SAMPLES = [
    (layers.check, "src/context/a.cpp", '#include "sched/worker.hpp"\n', "context may not know sched"),
    (layers.check, "src/sched/a.cpp", '#include "context/switch.hpp"\n', None),
    (layers.check, "src/base/a.cpp", '#include "os/report.hpp"\n', None),
    (layers.check, "src/net/a.cpp", "#include <thrum/mutex.hpp>\n", None),
    (layers.check, "src/sched/a.cpp", "#include <thrum/mutex.hpp>\n", "sched may not know sync"),
    (layers.check, "src/sched/a.cpp", "#include <thrum/thrum.hpp>\n", "sched may not know the facade"),
    (layers.check, "src/chan/a.cpp", '#include "sync/mutex_core.hpp"\n', "chan may not know sync"),
    (layers.check, "src/sched/a.cpp", '#include "obs/metrics.hpp"\n', "nobody includes an edge"),
    (layers.check, "src/weaving/a.cpp", '#include "base/assert.hpp"\n', "src/weaving is in no layer"),
    (layers.check, "include/thrum/mutex.hpp", "#include <pthread.h>\n", "the system's <pthread.h>"),
    (layers.check, "include/thrum/mutex.hpp", "#include <sys/mman.h>\n", "the system's <sys/mman.h>"),
    (layers.check, "include/thrum/mutex.hpp", '#include "base/assert.hpp"\n', "users do not have it"),
    (layers.check, "include/thrum/mutex.hpp", "#include <atomic>\n", None),
    (layers.check, "include/thrum/thrum.hpp", "#include <thrum/net.hpp>\n", None),
    (layers.check, "include/thrum/loom.hpp", "#include <thrum/mutex.hpp>\n", "is in no layer"),
    (banned.check, "src/sched/a.cpp", "std::mutex m;\n", "std::mutex is banned"),
    (banned.check, "src/sched/a_test.cpp", "std::mutex m;\n", None),
    (banned.check, "src/sched/a.cpp", "// std::mutex\nconst char* s = \"std::mutex\";\n", None),
    (banned.check, "src/sched/a.cpp", "thread_local int x;\n", "thread_local is banned"),
    (banned.check, "src/net/a.cpp", "::usleep(1);\n", "use the timers"),
    (banned.check, "src/net/a.cpp", "::sleep(1);\n", "use the timers"),
    (banned.check, "src/net/a.cpp", "void worker::sleep();\n", None),
    (banned.check, "src/net/a.cpp", "thrum::this_fiber::sleep_for(d);\n", None),
    (banned.check, "src/net/a.cpp", "std::this_thread::sleep_for(d);\n", "use the timers"),
    (banned.check, "src/net/a.cpp", 'std::printf("x");\n', "use os::report"),
    (banned.check, "src/net/a.cpp", 'std::snprintf(b, 1, "x");\n', None),
    (banned.check, "src/net/a.cpp", "std::condition_variable c;\n", "use the wait queue"),
    (banned.check, "src/net/a.cpp", "std::thread t;\n", "use os::start_thread"),
    (banned.check, "src/net/a.cpp", "std::stop_callback c(t, f);\n", "compares thread ids"),
    (banned.check, "src/net/a.cpp", "assert(x);\n", "use THRUM_ASSERT"),
    (banned.check, "src/net/a.cpp", "static_assert(x);\n", None),
    (banned.check, "lab/a.cpp", "int x = rand();\n", "use base::rng"),
    (banned.check, "lab/a.cpp", "int x = operand();\n", None),
    (banned.check, "lab/a.cpp", "puts(std::strerror(errno));\n", "strerror is banned"),
    (banned.check, "lab/a.cpp", "gets(b);\n", "use fgets"),
    (banned.check, "lab/a.cpp", 'sprintf(b, "x");\n', "use snprintf"),
    (banned.check, "lab/a.cpp", "strcpy(a, b);\n", "strcpy is banned"),
    (banned.check, "lab/a.cpp", "int x = atoi(s);\n", "use std::from_chars"),
    (banned.check, "lab/a.cpp", "strtok(s, t);\n", "strtok is banned"),
    (banned.check, "lab/a.cpp", "std::localtime(&t);\n", "the _r variant"),
    (banned.check, "lab/a.cpp", "inet_ntoa(a);\n", "inet_ntop"),
    (banned.check, "lab/a.cpp", "mktemp(a);\n", "use mkstemp"),
    (banned.check, "lab/a.cpp", "::signal(1, f);\n", "use sigaction"),
    (banned.check, "lab/a.cpp", "::signal(SIGPIPE, SIG_IGN);\n", None),
    (text.check, "benches/a.go", "package main\n\n// A sample.\n", None),
    (banned.check, "lab/a.cpp", "out << std::endl;\n", r"use '\n'"),
    (banned.check, "lab/a.cpp", "using namespace std;\n", "use qualified names"),
    (banned.check, "tests/a_test.cpp", "#define private public\n", "an interface that tests can use"),
    (waits.check, "include/thrum/loom.hpp", "  void wait();\n", "loom.wait may wait, and no test cancels it"),
    (waits.check, "include/thrum/loom.hpp", "  auto async_receive_for(int d) {\n", "loom.receive may wait"),
    (waits.check, "include/thrum/loom.hpp", "  void go() { return wait(); }  // wait()\n", None),
    (waits.check, "include/thrum/event.hpp", "  bool wait_for(int d);\n  auto async_wait_for(int d);\n", None),
    (waits.check, "include/thrum/event.hpp", "  bool wait_for(int d);\n  auto async_wait();\n",
     "event.wait_for has no twin async_wait_for for tasks"),
    (waits.check, "include/thrum/event.hpp", "  task<> f() {\n    co_await async_receive();\n  }\n", None),
    (text.check, "src/sched/a.cpp", HEAD + "// " + "x" * 118 + "\n", "121 columns"),
    (text.check, "src/sched/a.cpp", HEAD + "// " + "x" * 107 + "\n", None),
    (text.check, "src/sched/a.cpp", HEAD + "int x; \n", "blanks at the end"),
    (text.check, "src/sched/a.cpp", HEAD + "\tint x;\n", "a tab"),
    (text.check, "src/sched/a.cpp", HEAD + "// TO" + "DO: more\n", "left over"),
    (text.check, "run", "#!/bin/sh\n# A sample.\nmktemp a.XXXXXX\n", None),
    (text.check, "src/sched/a.cpp", "#include <atomic>\n", "open the file with a comment"),
    (text.check, "tools/a.py", "import os\n", "open the file with a comment"),
    (text.check, "src/sched/a.cpp", HEAD + "int x;", "no line break at the end"),
    (dead.check, "src/sched/a.hpp", HEAD, "nobody includes this header"),
]

FUNCTIONS = """// A sample.
#include <vector>
#define SWALLOW(x) { x; }
namespace a { namespace {
struct s : base<int> {
  s() : x_{1}, y_{
    2} {
    x_ = 3;
  }
  int x_{0}; std::vector<int> v = {1, 2};
  int get() const noexcept { return x_; }
};
enum class e { one, two };
template <class T> requires std::is_class_v<T>
auto long_one(T t, const char* brace = "{")
    -> int {
  auto f = [](int i) {
    return i;
  };
  if (t) {
    for (;;) {}
  }
  return f('{');
}
}}
TEST(group, name) {
  int table[] = {1, 2};
}
"""
EXPECTED = [("s", 4), ("get", 1), ("long_one", 11), ("TEST", 3)]


def check_samples():
    for rule, path, sample, expected in SAMPLES:
        findings = rule({path: sample})
        right = expected in "\n".join(findings) if expected else not findings
        if not right:
            yield f"{rule.__module__} on {path} {sample!r}: expected {expected!r}, found {findings}"


def check_functions():
    found = [(name, lines) for _, name, lines in functions.lengths(FUNCTIONS)]
    if found != EXPECTED:
        yield f"function lengths: expected {EXPECTED}, found {found}"
    long_one = {"src/a/a.cpp": "void f() {\n" + "  g();\n" * 60 + "}\n"}
    if not functions.compare(functions.measure(long_one), {}, long_one):
        yield "the ratchet let a function of 62 lines pass"
    if functions.compare(functions.measure(long_one), {"library": {"longest": 62, "long": 1}}, long_one):
        yield "the ratchet rejected what it allows"


def check_on_disk():
    """The rules that read the disk: formatting and sources in no target."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        files = {"src/a/good.cpp": HEAD + "int x;\n", "src/a/bad.cpp": HEAD + "int  x ;\n"}
        for name, sample in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(sample)
        formatted = text.check_format(root, files)
        if len(formatted) != 1 or "src/a/bad.cpp:2: not formatted" not in formatted[0]:
            yield f"formatting: found {formatted}"
        commands = [{"directory": directory, "file": "src/a/good.cpp"}]
        (root / "compile_commands.json").write_text(json.dumps(commands))
        unused = dead.check_build(root, files, root)
        if unused != ["src/a/bad.cpp: no target compiles this source"]:
            yield f"dead sources: found {unused}"


def run():
    failures = [*check_samples(), *check_functions(), *check_on_disk()]
    for failure in failures:
        print(failure)
    print(f"tidy: self-test {'failed' if failures else 'passed'}, {len(SAMPLES)} samples")
    return 1 if failures else 0
