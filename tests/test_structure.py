"""What holds the code together: who may import whom, and what dvc.yaml says that a stage reads."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from birnn.files import paths

ROOT = Path(__file__).parents[1]
ROOMS = (  # in the order in which data flow; a room imports from those before it alone
    "errors",
    "files",
    "params",
    "sources",
    "data",
    "kernel",
    "model",
    "evaluation",
    "estimators",
    "tracking",
    "sweep",
    "serving",
    "report",
    "retraining",
    "project",
    "cli",
)
PICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
FORBIDDEN_CALLS = {
    *("__import__", "eval", "exec", "importlib.import_module"),
    *("pd.read_pickle", "torch.load", "torch.save"),
}
STAGES: dict[str, dict[str, Any]] = {
    name: keys.get("do", keys)  # of those that run for each model
    for name, keys in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}


def dotted(path: Path) -> str:
    """`birnn/sources/hmm.py` as `birnn.sources.hmm`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    dotted(path): path
    for folder in ("birnn", "stages")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def room(module: str) -> str:
    """The room that a module lies in; of a stage, `stages`."""
    package, *names = module.split(".")
    return names[0] if package == "birnn" else package


@cache
def imports(module: str) -> set[str]:
    """All that a file imports, also inside functions and for type checking only."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        match node:
            case ast.Import(names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(source, names, 0):
                found |= {f"{source}", *(f"{source}.{alias.name}" for alias in names)}
            case ast.ImportFrom():
                raise AssertionError(f"{module}, line {node.lineno}: a relative import")
    return found


def ours(module: str) -> set[str]:
    """The modules of this repository among a file's imports."""
    return (imports(module) & MODULES.keys()) - {"birnn", "stages"}


def packages(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def non_empty(found: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: names for name, names in found.items() if names}


def parameters(module: str) -> dict[str, int]:
    """How many each function of a file takes, by its name."""
    nodes = ast.walk(ast.parse(MODULES[module].read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    return {
        f"{module}.{one.name}": len([*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs])
        for one in functions
    }


def calls(module: str) -> set[str]:
    """The names of all functions that a file calls."""
    tree = ast.walk(ast.parse(MODULES[module].read_text()))
    return {ast.unparse(node.func) for node in tree if isinstance(node, ast.Call)}


def closure(module: str) -> set[str]:
    """The library modules that run when a module runs."""
    found: set[str] = set()
    left = [module]
    while left:
        new = ours(left.pop()) - found
        found |= new
        left += new
    return found


class TestImports:
    def test_every_module_lies_in_a_room(self) -> None:
        rooms = {room(module) for module in MODULES if module.startswith("birnn.")}
        assert rooms == {*ROOMS}

    def test_come_from_the_rooms_before(self) -> None:
        order = [*ROOMS, "stages"]
        backward = [
            f"{module} imports {found}"
            for module in MODULES
            if module not in ("birnn", "stages")
            for found in ours(module)
            if order.index(room(found)) > order.index(room(module))
        ]
        assert backward == []

    def test_go_round_in_no_circle(self) -> None:
        TopologicalSorter({module: ours(module) - {module} for module in MODULES}).prepare()

    def test_of_stages_are_none_of_each_other(self) -> None:
        stages = [module for module in MODULES if module.startswith("stages.")]
        assert not [name for name in stages if ours(name) & {*stages}]

    def test_nothing_is_pickled(self) -> None:
        found = {module: packages(module) & PICKLING for module in MODULES}
        assert non_empty(found) == {}

    def test_yaml_is_read_by_params_alone(self) -> None:
        readers = [module for module in MODULES if "yaml" in packages(module)]
        modules = ("loading", "lock", "pipeline", "trees", "writing")
        assert readers == [f"birnn.params.{name}" for name in modules]

    def test_no_code_comes_from_text(self) -> None:
        found = {module: calls(module) & FORBIDDEN_CALLS for module in MODULES}
        assert non_empty(found) == {}

    def test_nothing_prints_but_the_console(self) -> None:
        """Which shows the control characters that names of the data may hold."""
        printing = [module for module in MODULES if "print" in calls(module)]
        assert printing == ["birnn.errors", "birnn.files.console"]

    def test_nothing_imports_the_servable_model(self) -> None:
        """It acts when it is imported, which is for MLflow alone to do."""
        assert not [module for module in MODULES if "birnn.tracking.serving" in ours(module)]


def test_functions_take_eight_parameters_at_most() -> None:
    """More of them belong together, as options that have a name.

    But scikit-learn reads the parameters of an estimator from the signature of its `__init__`.
    """
    found = [name for module in MODULES for name, many in parameters(module).items() if many > 8]
    assert found == ["birnn.estimators.classes.__init__"]


def name(entry: str | dict[str, Any]) -> str:
    """Of a dependency, a param or an out, which may have settings of its own."""
    return entry if isinstance(entry, str) else next(iter(entry))


class TestStages:
    def test_depend_on_the_rooms_that_they_run_and_no_others(self) -> None:
        for stage, keys in STAGES.items():
            listed = {Path(dep).stem for dep in keys["deps"] if dep.startswith("birnn/")}
            assert listed == {room(module) for module in closure(f"stages.{stage}")}, stage

    def test_a_changed_reader_does_not_retrain_and_a_changed_loss_does(self) -> None:
        assert "birnn/sources" not in STAGES["train"]["deps"]
        assert "birnn/model" in STAGES["train"]["deps"]

    def test_run_and_depend_on_their_own_module(self) -> None:
        run = {stage: keys["cmd"].split()[:3] for stage, keys in STAGES.items()}
        assert run == {stage: ["python", "-m", f"stages.{stage}"] for stage in STAGES}
        without = [name for name, keys in STAGES.items() if f"stages/{name}.py" not in keys["deps"]]
        assert without == []

    def test_write_files_that_have_a_name(self) -> None:
        """In `birnn.files.paths`, so that who writes a file and who reads it mean the same one."""
        keys = ("outs", "metrics", "plots")
        outs = [
            name(one) for stage in STAGES.values() for key in keys for one in stage.get(key, [])
        ]
        assert {Path(out).name for out in outs} <= {*map(str, vars(paths).values())}

    def test_lists_are_sorted(self) -> None:
        listed = {
            (stage, key): [name(one) for one in keys.get(key, [])]
            for stage, keys in STAGES.items()
            for key in ("deps", "params", "outs", "metrics", "plots")
        }
        assert listed == {where: sorted(set(found)) for where, found in listed.items()}


def test_every_stage_is_in_the_pipeline() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert files == STAGES.keys()
