"""What computes a saved model's probabilities: the kernel where it may, else torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw

from birnn.errors import DataError, DeviceError
from birnn.kernel import library
from birnn.model import prediction, saved_model
from birnn.model.inference import Network
from birnn.model.networks import SequenceModel


@pytest.mark.skipif(library.found() is None, reason="needs the kernel")
class TestPredicting:
    def test_the_kernel_on_a_cpu(self, trained: Path) -> None:
        saved = saved_model.read(trained)
        assert isinstance(saved_model.predicting(saved), Network)
        assert isinstance(saved_model.predicting(saved, "cpu"), Network)
        automatic = saved_model.predicting(saved, "auto")
        assert isinstance(automatic, SequenceModel if torch.cuda.is_available() else Network)

    def test_torch_where_there_is_no_kernel(self, trained: Path) -> None:
        saved, sequences = saved_model.read(trained), draw([3, 5, 2], features=2)
        exact = prediction.probabilities(saved_model.predicting(saved), sequences)
        with library.off():
            found = saved_model.predicting(saved)
            assert isinstance(found, SequenceModel)
            shares = prediction.probabilities(found, sequences)
        np.testing.assert_allclose(shares, exact, atol=1e-6)

    def test_a_gpu_is_looked_for_only_where_torch_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(saved_model, "GPU_DEVICES", ("/dev/null",))
        assert saved_model.has_gpu()
        monkeypatch.setattr(saved_model, "find_spec", lambda _: None)
        assert not saved_model.has_gpu()

    def test_another_device(self, trained: Path) -> None:
        with pytest.raises(DeviceError, match="expected a machine with tpu, found none"):
            saved_model.predicting(saved_model.read(trained), "tpu")


def test_neither_kernel_nor_torch(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "birnn.model.devices", None)
    monkeypatch.delattr("birnn.model.devices", raising=False)
    with library.off(), pytest.raises(DeviceError, match=r"found neither .*`pip install torch`"):
        saved_model.predicting(saved_model.read(trained))


def test_a_module_of_torch_has_the_weights_of_the_kernels_network(trained: Path) -> None:
    saved = saved_model.read(trained)
    module = saved_model.network(saved)
    assert saved_model.network(module) is module
    for name, value in saved_model.network(saved).state_dict().items():
        np.testing.assert_array_equal(value.numpy(), saved.weights[name])


def test_a_graph_has_no_layers() -> None:
    class Graph:
        architecture = None

    with pytest.raises(DataError, match="expected a model's folder or address, found a graph"):
        saved_model.network(Graph())  # type: ignore[arg-type]


@pytest.mark.slow
def test_reading_and_predicting_load_no_torch(trained: Path) -> None:
    code = (
        "import sys, numpy, birnn\n"
        f"birnn.load({str(trained)!r}).predict([numpy.zeros((3, 2))])\n"
        "print({'torch', 'mlflow', 'scipy', 'sklearn'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("set()" if library.found() else done.stdout.strip())
