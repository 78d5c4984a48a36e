"""Text: line length, blanks, markers, the opening comment, clang-format."""
import re
import shutil
import subprocess

from . import tree

LINE_LENGTH = 120
MARKER = re.compile(r"\b(?:FIX" r"ME|TO" r"DO|X" r"XX|HA" r"CK)\b")
LONG_LINES = (".md", ".json")     # Tables in prose, and data.
TABS = (".go", ".gitmodules")     # gofmt wants them.
WITHOUT_COMMENT = (".md", ".json", ".in", ".txt")
DIRECTIVES = ("#include", "#pragma", "#if", "#define")
FORMATTER = "clang-format-14"     # Debian 12's; other versions format a little differently.


def check_line(name, number, line):
    if len(line) > LINE_LENGTH and not name.endswith(LONG_LINES):
        yield f"{name}:{number}: {len(line)} columns; the limit is {LINE_LENGTH}"
    if line != line.rstrip():
        yield f"{name}:{number}: blanks at the end of the line"
    if "\t" in line and not name.endswith(TABS):
        yield f"{name}:{number}: a tab; indent with spaces"
    marker = MARKER.search(line)
    if marker:
        yield f"{name}:{number}: {marker.group(0)} left over; do it, or write it down as an issue"


def opens_with_comment(name, text):
    """Whether a source says what it is for before anything else."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#!", "package "))]
    first = lines[0].lstrip() if lines else ""
    if name.endswith(WITHOUT_COMMENT) and not name.endswith("CMakeLists.txt"):
        return True
    return first.startswith(("//", "/*", "#", "%", '"""')) and not first.startswith(DIRECTIVES)


def check(files):
    findings = []
    for name, text in files.items():
        for number, line in enumerate(text.split("\n"), 1):
            findings += check_line(name, number, line)
        if not opens_with_comment(name, text):
            findings.append(f"{name}:1: open the file with a comment that says its purpose")
        if text and not text.endswith("\n"):
            findings.append(f"{name}: no line break at the end of the file")
    return findings


def check_format(root, files):
    """clang-format's opinion of every C and C++ file, one finding per file."""
    formatter = shutil.which(FORMATTER)
    if not formatter:
        return [f"tidy: {FORMATTER} is not installed; run tools/prepare tidy"]
    sources = [name for name in files if tree.is_cpp(name)]
    if not sources:
        return []
    run = subprocess.run([formatter, "--dry-run", *sources], cwd=root, capture_output=True, text=True,
                         check=False)
    wrong = re.findall(r"^(\S+?):(\d+):\d+: warning: code should be clang-formatted", run.stderr, re.M)
    first = {}
    for name, line in wrong:
        first.setdefault(name, line)
    return [f"{name}:{line}: not formatted; run {FORMATTER} -i {name}" for name, line in first.items()]
