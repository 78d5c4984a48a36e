"""The files that the rules look at, and C++ with its comments and literals blanked out."""
import os
import re
import subprocess

CPP = (".cpp", ".hpp", ".h", ".c", ".cc")
CHECKED = CPP + (".S", ".py", ".cmake", ".txt", ".sh", ".md", ".json", ".in", ".go", ".rs", ".erl")


def names(root):
    """Paths of the files that git knows or would add; without git, everything outside build directories."""
    git = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
                         capture_output=True, text=True, check=False)
    if git.returncode == 0 and git.stdout:
        return sorted(name for name in git.stdout.split("\0") if name and (root / name).is_file())
    found = []
    for directory, subdirectories, entries in os.walk(root):
        subdirectories[:] = [d for d in subdirectories if not d.startswith((".git", "build", "__pycache__"))]
        found += [os.path.relpath(os.path.join(directory, e), root) for e in entries]
    return sorted(found)


def is_script(root, name):
    with open(root / name, "rb") as file:
        return file.read(2) == b"#!"


def load(root):
    """Path -> text of every file that some rule can judge."""
    files = {}
    for name in names(root):
        if name.endswith(CHECKED) or is_script(root, name):
            files[name] = (root / name).read_text(encoding="utf-8", errors="replace")
    return files


def is_cpp(name):
    return name.endswith(CPP)


def is_test(name):
    return name.startswith("tests/") or re.search(r"_(test|bench)\.[ch]pp$", name) is not None


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^()\s\\"]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
                   r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])*'", re.S)


def blank(code, keep_comments=False):
    """The code with comments and the insides of literals replaced by blanks; line breaks stay."""
    def replacement(match):
        token = match.group(0)
        if keep_comments and token.startswith("/"):
            return token
        spaces = re.sub(r"[^\n]", " ", token)
        return spaces if token.startswith("/") else '"' + spaces[1:-1] + '"' if len(token) > 1 else token
    return TOKEN.sub(replacement, code)


def line_of(text, position):
    return text.count("\n", 0, position) + 1
