"""The rules of the house, read from the imports of every file."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Who may import whom: a room, a folder or a file of tfstyle/, may import those of the rows above
# its own, and within its row those before it. What no row names is not allowed to exist.
ROWS = (
    ("errors", "quiet", "keras_settings", "files", "machine", "images", "losses"),
    ("networks", "features"),
    ("data", "metrics", "stylize", "gatys", "training"),
    ("export",),
    ("video", "learning", "serving", "web", "explain"),
    ("cli",),
    ("pipelines", "__main__"),
)
ORDER = [room for row in ROWS for room in row]

# Distributions whose modules have another name.
DISTRIBUTIONS = {"absl": "absl-py", "PIL": "pillow", "cv2": "opencv-python-headless"}
DISTRIBUTIONS |= {
    "c2pa": "c2pa-python",
    "grpc": "grpcio",
    "google": "protobuf",
    "skimage": "scikit-image",
    "tensorflow_serving": "tensorflow-serving-api",
}

# What a module asks for by itself, with an error that names the extra.
OPTIONAL = {
    "tfstyle.video.writer": {"av"},
    "tfstyle.images.contrast": {"opencv-python-headless"},
    "tfstyle.images.camera": {"opencv-python-headless"},
    "tfstyle.images.formats": {"pillow-heif"},
    "tfstyle.serving.server": {"aiohttp", "prometheus-client"},
    # c2pa-python brings cryptography with it.
    "tfstyle.images.provenance": {"c2pa-python", "cryptography"},
}
# All of tfstyle.explain asks for the extra of that name.
EXPLAIN = {"scipy", "matplotlib", "jinja2"}

# Modules of TensorFlow and Keras that are not public: {file: {module}}, each for want of another.
PRIVATE = re.compile(r"(tensorflow\.(python|core|compiler|tsl|dtensor)|keras\.src)\b")
# Attributes with an underscore that are public in spite of it, of named tuples, and what argparse
# gives no other name.
NO_OTHER_NAME = {"_asdict", "_replace"}
NO_OTHER_NAME |= {"_SubParsersAction", "_ActionsContainer", "_actions"}
ALLOWED = {
    # How long a silent worker of several is waited for; without them TensorFlow's default stands.
    "tfstyle.training.strategy": {
        "tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2",
        "tensorflow.python.eager.context",
    },
}

FILES = sorted((ROOT / "tfstyle").rglob("*.py")) + sorted((ROOT / "pipelines").rglob("*.py"))
SOURCES = [
    pytest.param(path, id=path.relative_to(ROOT).as_posix())
    for path in FILES
    if path != ROOT / "tfstyle" / "__init__.py"
]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILE_OF = {dotted(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, inside functions too; relative imports resolved."""
    package = dotted(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(base + ([node.module] if node.module else []))
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def members(face: str) -> dict[str, str]:
    """{name: dotted name of the file that defines it} of what the face of a room hands out."""
    stub = FILE_OF[face].with_suffix(".pyi")
    if not stub.exists():
        return {}
    nodes = [n for n in ast.parse(stub.read_text()).body if isinstance(n, ast.ImportFrom)]
    # A face may hand out a whole room: `from . import images`.
    return {a.name: f"{face}.{node.module or a.name}" for node in nodes for a in node.names}


def project_files(path: Path) -> set[str]:
    """Dotted names of the project's files that a file imports, through faces too."""
    found = set()
    for name in imports(path):
        face, _, member = name.rpartition(".")
        if name in FILE_OF:
            found.add(name)
        elif face in FILE_OF:
            found.add(members(face).get(member, face))
    return found


def module(name: str) -> str:
    """tfstyle.networks.layers -> networks; pipelines.fast -> pipelines; tfstyle -> ""."""
    top, *rest = name.split(".")
    return top if top == "pipelines" else rest[0] if rest else ""


def test_the_package_itself_imports_its_face_and_what_settles_keras_alone():
    own = {"lazy_loader", "tfstyle.keras_settings", "tfstyle.quiet"}
    assert imports(ROOT / "tfstyle" / "__init__.py") == own
    assert imports(ROOT / "tfstyle" / "keras_settings.py") - sys.stdlib_module_names <= {
        "types.ModuleType",
        "wrapt",
    }


def test_contributing_lists_the_rooms_in_the_same_order():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \d* ?\| `(\w+)` \|", text, re.MULTILINE) == ORDER
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    assert rows == [(str(number), row[0]) for number, row in enumerate(ROWS, 1)]


@pytest.mark.parametrize("path", SOURCES)
def test_imports_go_only_to_the_rooms_before(path):
    here = module(dotted(path))
    assert here in ORDER, f"{here}: no row of ROWS names it"
    there = {module(name) for name in project_files(path)} - {"", here}
    wrong = sorted(name for name in there if ORDER.index(name) > ORDER.index(here))
    assert not wrong, f"{here} imports {wrong}, which stand behind it in ROWS"


def test_no_files_import_each_other_in_a_circle():
    graph = {name: project_files(path) - {name, "tfstyle"} for name, path in FILE_OF.items()}
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph, f"a circle among {sorted(graph)}"


@pytest.mark.parametrize("path", SOURCES)
def test_only_the_command_line_knows_flags_and_no_library_file_knows_pipelines(path):
    found = imports(path)
    if module(dotted(path)) != "cli":
        assert not [name for name in found if re.match(r"absl\.(flags|app)\b", name)]
    if dotted(path).startswith("tfstyle"):
        assert not [name for name in found if name.split(".")[0] == "pipelines"]


@pytest.mark.parametrize("path", SOURCES)
def test_whatever_a_file_imports_is_installed_with_the_package(path):
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    listed = re.search(r"install_requires=\[(.*?)\n    \]", setup, re.DOTALL)[1]
    required = {name.replace("_", "-") for name in re.findall(r'"([\w-]+)[>{]', listed)}
    required |= OPTIONAL.get(dotted(path), set())
    if dotted(path).startswith("tfstyle.explain"):
        required |= EXPLAIN
    tops = {name.split(".")[0] for name in imports(path)}
    tops -= sys.stdlib_module_names | {"tfstyle", "pipelines"}
    assert {DISTRIBUTIONS.get(top, top.replace("_", "-")) for top in tops} <= required


def ours(path: Path) -> set[str]:
    """Names with a leading underscore that a file itself defines, or the project's classes do."""
    return set(re.findall(r"(?:def |self\.|cls\.|^\s*|class )(_[a-z]\w*)", path.read_text(), re.M))


OURS = set().union(*map(ours, FILES))


@pytest.mark.parametrize("path", SOURCES)
def test_nothing_private_of_tensorflow_or_keras_is_used(path):
    found = {name for name in imports(path) if PRIVATE.match(name)}
    assert found == ALLOWED.get(dotted(path), set())
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    chains = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    assert not [chain for chain in chains if PRIVATE.match(chain.replace("tf.", "tensorflow.", 1))]
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    private = {name for name in names if name.startswith("_") and not name.endswith("__")}
    assert private <= OURS | NO_OTHER_NAME


def test_what_is_private_is_imported_inside_functions_alone():
    """So that `import tfstyle.training` works where TensorFlow has moved it."""
    for name in ALLOWED:
        top = ast.parse(FILE_OF[name].read_text(encoding="utf-8")).body
        found = [ast.unparse(n) for n in top if isinstance(n, ast.Import | ast.ImportFrom)]
        assert not [line for line in found if PRIVATE.search(line)]


def missing_annotations(path: Path) -> list[str]:
    """What has no annotation among the parameters, returns and class attributes of public names."""
    found = []

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("_") and node.name not in ("__init__", "__call__"):
                    continue
                signature = node.args
                given = [*signature.posonlyargs, *signature.args]
                given = given[1:] if prefix and given and given[0].arg in ("self", "cls") else given
                given += [*signature.kwonlyargs, signature.vararg, signature.kwarg]
                bare = [each.arg for each in given if each and each.annotation is None]
                bare += ["return"] if node.returns is None else []
                found.extend(f"{prefix}{node.name}: {name}" for name in bare)
            elif isinstance(node, ast.ClassDef):
                if not node.name.startswith("_"):
                    look(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign) and prefix:
                names = [each.id for each in node.targets if isinstance(each, ast.Name)]
                found.extend(prefix + name for name in names if not name.startswith("_"))
            elif isinstance(node, ast.If | ast.Try | ast.With):
                look(node.body, prefix)

    look(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


@pytest.mark.parametrize("path", [each for each in SOURCES if "pipelines" not in each.id])
def test_all_that_is_public_is_annotated(path):
    assert missing_annotations(path) == []


def test_what_is_not_annotated_is_seen(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "def bare(a, *b, c: int = 1, **d): ...\n"
        "def _private(a): ...\n"
        "class Public:\n"
        "    size = 1\n"
        "    _hidden = 1\n"
        "    known: int = 1\n"
        "    def __init__(self, a: int): ...\n"
        "    def method(self, a: int) -> None: ...\n"
        "    @staticmethod\n"
        "    def of(x) -> int: ...\n"
    )
    assert missing_annotations(file) == [
        *("bare: a", "bare: b", "bare: d", "bare: return"),
        *("Public.size", "Public.__init__: return", "Public.of: x"),
    ]


def test_git_keeps_exactly_the_models_that_the_wheel_carries():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    shipped = ast.literal_eval(re.search(r"SHIPPED_MODELS = (\[.*?\])", setup, re.DOTALL)[1])
    kept = re.findall(r"^!/saved_models/(.+)$", (ROOT / ".gitignore").read_text(), re.MULTILINE)
    assert sorted(kept) == sorted(line for name in shipped for line in (f"{name}/", f"{name}.*"))
