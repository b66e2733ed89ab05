"""The same tagger in Flax on JAX, which takes lengths: `pip install flax jax optax` to see it.

It begins with the weights of a torch module, and must give its logits before it is timed.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import nn

from benchmarks.padded import Padded

CELLS = {"LSTM": "OptimizedLSTMCell", "GRU": "GRUCell", "RNN": "SimpleCell"}
GATES = {"LSTM": "ifgo", "GRU": "rzn", "RNN": ("",)}  # in torch's order, by Flax's names
CLOSE = 1e-4


def installed() -> bool:
    """Whether Flax is there, with all that it needs."""
    return all(find_spec(name) is not None for name in ("flax", "jax", "optax"))


def epoch(
    batches: Iterable[Padded], *, cell: str, hidden: int, rnn: nn.RNNBase, linear: nn.Linear
) -> Callable[[], object]:
    """Prepare the batches; what comes back trains on them once.

    Args:
        batches: with numbers of steps that a compiled call expects.
        cell: LSTM, GRU or RNN.
        hidden: units of each direction.
        rnn: a bidirectional layer of torch, whose weights it begins with.
        linear: the layer on top, likewise.
    """
    jax, optax = import_module("jax"), import_module("optax")
    flax, jnp = import_module("flax.linen"), import_module("jax.numpy")
    recurrence = [flax.RNN(getattr(flax, CELLS[cell])(hidden)) for _ in range(2)]
    layer, top = flax.Bidirectional(*recurrence), flax.Dense(linear.out_features)

    def logits(weights: Any, values: Any, lengths: Any) -> Any:
        return top.apply(weights[1], layer.apply(weights[0], values, seq_lengths=lengths))

    def loss(weights: Any, one: Padded) -> Any:
        each = optax.softmax_cross_entropy_with_integer_labels(
            logits(weights, one.values, one.lengths), one.labels
        )
        return jnp.sum(each * one.real) / jnp.sum(one.real)

    optimizer = optax.adam(0.001)

    def step(state: Any, one: Padded) -> Any:
        weights, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(weights, one), moments)
        return optax.apply_updates(weights, updates), moments

    weights = (_recurrent(cell, rnn), _dense(linear))
    ready = [Padded(*map(jnp.asarray, one)) for one in batches]
    _check(logits(weights, ready[0].values, ready[0].lengths), ready[0], rnn, linear)
    state, compiled = (weights, optimizer.init(weights)), jax.jit(step)

    def train() -> None:
        nonlocal state
        for one in ready:
            state = compiled(state, one)
        jax.block_until_ready(state)

    return train


def _recurrent(cell: str, rnn: nn.RNNBase) -> dict[str, Any]:
    directions = {"forward_rnn": "", "backward_rnn": "_reverse"}
    found = {name: {"cell": _cell(cell, rnn, end)} for name, end in directions.items()}
    return {"params": found}


def _cell(cell: str, rnn: nn.RNNBase, end: str) -> dict[str, Any]:
    """One direction's weights; Flax has one bias a gate where torch adds two."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    arrays = [getattr(rnn, f"{kind}_l0{end}").detach().numpy() for kind in kinds]
    parts: dict[str, Any] = {}
    for number, gate in enumerate(GATES[cell]):
        w, u, b, c = (np.split(array, len(GATES[cell]))[number] for array in arrays)
        x, h = {"kernel": w.T}, {"kernel": u.T}
        if cell == "LSTM":
            h["bias"] = b + c
        elif gate == "n":
            x["bias"], h["bias"] = b, c
        else:
            x["bias"] = b + c
        parts |= {f"i{gate}": x, f"h{gate}": h}
    return parts


def _dense(linear: nn.Linear) -> dict[str, Any]:
    kernel, bias = linear.weight.detach().numpy().T, linear.bias.detach().numpy()
    return {"params": {"kernel": kernel, "bias": bias}}


def _check(found: Any, one: Padded, rnn: nn.RNNBase, linear: nn.Linear) -> None:
    """Fail unless the logits of real steps are those of packed torch."""
    expected = one.expected(rnn, linear)
    gap = np.abs(np.asarray(found) - expected)[np.asarray(one.real) > 0].max()
    assert gap < CLOSE, f"expected the logits of torch, found them {gap} apart"
