"""Wheels that bring the kernel ready-made.

    BIRNN_SHIP=1 pip wheel --no-deps .

Without it, the wheel is for every machine, and the kernel is compiled where it is first used.

The stages are `birnn.stages` there, and `birnn init` finds a copy of the pipeline's files, which it
lays into other repositories.
"""

import importlib.util
import os
import shutil
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

SHIP = bool(os.environ.get("BIRNN_SHIP"))
ROOT = Path(__file__).parent
PIPELINE = (
    ".dvcignore",
    ".gitattributes",
    ".gitignore",
    "dvc.yaml",
    "sweep/README.md",
    *ROOT.glob(".dvc/plots/*.json"),
)


class WithPipelineAndKernel(build_py):
    """Bring the pipeline's files, and compile every level into the package."""

    def run(self) -> None:
        """Copy the modules and files, and compile."""
        super().run()
        if not self.editable_mode:  # where they are found in the checkout
            shipped = Path(self.build_lib, "birnn/project/shipped")
            for path in (ROOT / name for name in PIPELINE):
                place = shipped / path.relative_to(ROOT)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
        if SHIP:
            self.compile_kernel()

    def compile_kernel(self) -> None:
        """Compile the kernel for every level of CPU."""
        source = ROOT / "birnn" / "kernel" / "build.py"
        spec = importlib.util.spec_from_file_location("build_kernel", source)
        build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build)
        folder = Path(self.build_lib) / "birnn" / "kernel" / "shipped"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (build.PROCESSOR, *build.levels()):
            build.compile_into(folder / build.file_name(name), name, build.compiler())


class ForOneKindOfCPU(bdist_wheel):
    """Name the platform, but no version of Python: the kernel uses none of its headers."""

    def get_tag(self) -> tuple[str, str, str]:
        """`py3-none-PLATFORM`, or `py3-none-any` without the kernel."""
        return "py3", "none", super().get_tag()[2]


class Shipping(Distribution):
    """Let the wheel be one for a platform, where the kernel is in it."""

    def has_ext_modules(self) -> bool:
        """Say so."""
        return SHIP


setup(
    distclass=Shipping,
    cmdclass={"build_py": WithPipelineAndKernel, "bdist_wheel": ForOneKindOfCPU},
    packages=[*find_packages(include=["birnn*"]), "birnn.stages"],
    package_dir={"birnn.stages": "stages"},
)
