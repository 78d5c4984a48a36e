"""Dead files: headers that nobody includes, sources that no target compiles."""
import json
import os

from . import layers, tree

INSTEAD = "tests/memory_model/instead/"  # Headers there take the place of the library's.
SOURCES = (".cpp", ".c", ".cc", ".S")


def check(files):
    """Headers that no file includes."""
    included = set()
    for name, text in files.items():
        if tree.is_cpp(name) or name.endswith((".S", ".in")):
            for match in layers.INCLUDE.finditer(text):
                path = match.group(2)
                beside = os.path.normpath(os.path.join(os.path.dirname(name), path))
                included |= {beside, "src/" + path, "include/" + path, "tests/" + path, path, "lab/" + path,
                             INSTEAD + path}
    headers = [name for name in files if name.endswith((".hpp", ".h"))]
    return [f"{name}: nobody includes this header" for name in headers
            if name not in included and name != "include/thrum/thrum.hpp"]


def check_build(root, files, build):
    """Sources outside every target; areas that the build leaves out altogether are not judged."""
    commands = json.loads((build / "compile_commands.json").read_text())
    paths = [os.path.join(c["directory"], c["file"]) for c in commands]
    for unity in [path for path in paths if os.path.basename(path).startswith("unity_")]:
        with open(unity, encoding="utf-8") as file:
            paths += [match.group(2) for match in layers.INCLUDE.finditer(file.read())]
    compiled = {os.path.relpath(path, root) for path in paths}
    areas = {name.split("/")[0] for name in compiled}
    return [f"{name}: no target compiles this source" for name in files
            if name.endswith(SOURCES) and name not in compiled and name.split("/")[0] in areas
            and "/project/" not in name and "/peers/" not in name]
