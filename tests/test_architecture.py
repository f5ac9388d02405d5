"""The picture of imports: rooms in a row, arrows run down only, and nothing heavy is imported for a name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import msg

PACKAGE = Path(msg.__file__).parent
# a room may import those that stand before it, never those after it
ROWS = [
    {"registry", "report", "process", "calls", "sizes", "kernels"},
    {"names"},
    {"datasets", "neurons", "manifolds", "graph"},
    {"layers"},
    {"gradients"},
    {"models"},
    {"nn"},
    {"testing", "energy", "nir"},
    {"training"},
    {"experiments", "geometry"},
    {"cli"},
]
ROW = {room: number for number, rooms in enumerate(ROWS) for room in rooms}


def _room(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Rooms that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "msg":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {name.name for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("msg.")}
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if _room(path) not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_run_down(path):
    own = _room(path)
    for room in _imports(path) - {own, "__version__"}:
        assert ROW[room] < ROW[own], f"{path.name} of {own} imports {room}, which stands no lower"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_is_hidden_from_the_running_program(path):
    assert "TYPE_CHECKING" not in path.read_text(encoding="utf-8")


def test_every_room_has_its_row():
    assert {_room(path) for path in FILES} == set(ROW)


def test_graphs_are_not_made_to_be_listed_nor_kernels_compiled_for_an_import():
    """PyG imports numba by itself where it is there."""
    rooms = [
        f"msg.{room}" for room in ("datasets.generators", "kernels.trains", "kernels.geometry", "kernels.sampling")
    ]
    code = (
        f"import sys, msg.nn, msg.datasets; msg.datasets.available(); print([m for m in {rooms} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["msg", "msg.names", "msg.registry", "msg.process"])
def test_names_need_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_top_of_the_package_is_lazy_and_complete():
    assert msg.MSG is msg.nn.MSG
    for name in dir(msg):
        assert getattr(msg, name) is not None
    with pytest.raises(AttributeError, match="anything"):
        msg.anything  # noqa: B018
