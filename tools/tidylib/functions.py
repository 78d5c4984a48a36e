"""Function length, as a ratchet: per area, the longest function and the number of long ones may only fall.

The numbers are in tools/tidy_ratchet.json. After shortening functions, run `tools/tidy --tighten` and commit
the file; the tool never raises a number, and a reviewer should not either.
"""
import json
import re

from . import tree

LONG = 50
RATCHET = "tools/tidy_ratchet.json"
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
NOT_A_FUNCTION = re.compile(r"\b(?:namespace|enum|union)\b|=\s*$")
TYPE = re.compile(r"^(?:template\s*<.*>\s*)?(?:export\s+)?(?:class|struct|union)\b(?![^<>]*\)\s*$)", re.S)


def area_of(name):
    if tree.is_test(name):
        return "tests"
    return {"src": "library", "include": "library"}.get(name.split("/")[0], name.split("/")[0])


def kind_of(head, enclosing):
    """What an opening brace opens, judged by the text since the last statement."""
    if enclosing in ("function", "block"):
        return "block"
    head = re.sub(r"^\s*#.*$", "", head, flags=re.M).strip()
    if re.match(r"(?:inline\s+)?namespace\b", head) or re.match(r'extern\s*"', head):
        return "scope"
    if TYPE.match(re.sub(r"\[\[.*?\]\]|alignas\s*\(.*?\)", "", head).strip()):
        return "scope"
    return "function" if "(" in head and not NOT_A_FUNCTION.search(head) else "block"


def lengths(code):
    """(first line, name, number of lines) of every function at namespace or class scope."""
    code = tree.blank(code)
    code = DIRECTIVE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), code)
    found, stack, head_start = [], [], 0
    for match in re.finditer(r"[{};]", code):
        position, enclosing = match.start(), stack[-1][0] if stack else "scope"
        if match.group() == "{":
            head = code[head_start:position]
            stack.append((kind_of(head, enclosing), head_start + len(head) - len(head.lstrip()), head))
        elif match.group() == "}" and stack:
            kind, start, head = stack.pop()
            if kind in ("function", "block") and (not stack or stack[-1][0] == "scope"):
                if re.match(r"\s*[,{]", code[position + 1:position + 40]):
                    head_start = start  # A member initialiser's braces: the function's body is still to come.
                    continue
                if kind == "function":
                    first, last = tree.line_of(code, start), tree.line_of(code, position)
                    names = re.findall(r"([\w:~]+)\s*\(", head)
                    found.append((first, names[0] if names else "?", last - first + 1))
        if not stack or stack[-1][0] == "scope":
            head_start = position + 1
    return found


def measure(files):
    """Area -> {"longest": lines, "long": count}."""
    areas = {}
    for name, text in files.items():
        if not tree.is_cpp(name):
            continue
        area = areas.setdefault(area_of(name), {"longest": 0, "long": 0})
        for _, _, lines in lengths(text):
            area["longest"] = max(area["longest"], lines)
            area["long"] += lines > LONG
    return areas


def offenders(files, area):
    """The long functions of an area, longest first, as printable text."""
    found = [(lines, f"{name}:{first} {function} ({lines} lines)") for name, text in files.items()
             if tree.is_cpp(name) and area_of(name) == area
             for first, function, lines in lengths(text) if lines > LONG]
    return ", ".join(text for _, text in sorted(found, reverse=True)[:5])


def compare(now, allowed, files):
    findings = []
    for area, measured in now.items():
        limit = allowed.get(area, {"longest": LONG, "long": 0})
        limit = {"longest": max(limit["longest"], LONG), "long": limit["long"]}
        for what, text in (("longest", "the longest function has {} lines; it may have {}"),
                           ("long", f"{{}} functions have over {LONG} lines; {{}} may")):
            if measured[what] > limit[what]:
                numbers = text.format(measured[what], limit[what])
                findings.append(f"{area}: {numbers}: {offenders(files, area)}")
    return findings


def read_ratchet(root):
    path = root / RATCHET
    return json.loads(path.read_text()) if path.exists() else {}


def check_ratchet(root, files):
    return compare(measure(files), read_ratchet(root), files)


def tighten(root, files):
    now, allowed = measure(files), read_ratchet(root)
    for area, measured in now.items():
        old = allowed.get(area, measured)
        allowed[area] = {what: min(old[what], measured[what]) for what in ("longest", "long")}
    text = ",\n".join(f'  "{area}": {json.dumps(allowed[area])}' for area in sorted(allowed) if area in now)
    (root / RATCHET).write_text("{\n" + text + "\n}\n")
    print(f"tidy: {RATCHET} is now\n{{\n{text}\n}}")
    return 0
