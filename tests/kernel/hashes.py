"""Print a hash of what the kernel computes from fixed numbers: the same on every CPU.

python -m tests.kernel.hashes v2:2 v3:0    # a level, and in how many threads
"""

import hashlib
import os
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from birnn.kernel import layers, library, losses, recurrence
from birnn.kernel.recurrence import Start

SHAPES = [  # batch, steps, features, hidden, directions
    (1, 1, 1, 1, 1),
    (7, 40, 3, 10, 2),
    (64, 8, 32, 32, 2),
    (33, 9, 37, 57, 2),
    (100, 4, 20, 128, 1),
    (5, 3, 1, 300, 2),
]


def drawn(*shape: int) -> Tensor:
    """Numbers from -1 to 1 that a CPU cannot round: multiples of 2^-23."""
    return torch.randint(-(1 << 23), 1 << 23, shape).float() / (1 << 23)


def recurrences() -> Iterator[Tensor]:
    """Outputs and gradients of every cell, in several shapes."""
    for cell, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for batch, steps, features, hidden, directions in SHAPES:
            shapes = [(gates * hidden, features), (gates * hidden, hidden)]
            shapes += [(gates * hidden,)] * 2  # type: ignore[list-item]
            weights = [(drawn(*one) / 3).requires_grad_() for one in shapes * directions]
            values = (3 * drawn(batch, steps, features)).requires_grad_()
            lengths = torch.randint(1, steps + 1, (batch,))
            states, cells = (drawn(directions, batch, hidden).requires_grad_() for _ in "hc")
            start = Start(states, cells if cell == "LSTM" else None)
            output, last = recurrence.layer(cell, values, lengths, weights, start)
            output.backward(drawn(*output.shape))  # type: ignore[no-untyped-call]
            yield from (output, last, values.grad, states.grad)  # type: ignore[misc]
            yield from (weight.grad for weight in weights if weight.grad is not None)


def the_rest() -> Iterator[Tensor]:
    """What stands around a recurrence, and three steps of Adam."""
    for classes, inputs, rows in ((5, 64, 3000), (1, 3, 1), (37, 129, 1200), (300, 20, 300)):
        weight, bias = drawn(classes, inputs).requires_grad_(), drawn(classes).requires_grad_()
        values = drawn(rows, inputs).requires_grad_()
        labels, scales = torch.randint(-1, classes, (rows,)), drawn(rows).abs()
        logits = layers.linear(layers.dropout(values, 0.3, training=True), weight, bias)
        for gamma in (0.0, 2.0, 0.5):
            total, tally = losses.cross_entropy(
                logits, labels, scales, weights=drawn(classes).abs(), gamma=gamma
            )
            total.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            yield from (total, tally, values.grad)  # type: ignore[misc]
        yield losses.softmax(logits.detach())
        assert weight.grad is not None
        assert bias.grad is not None
        gradient = torch.cat([weight.grad.flatten(), bias.grad])
        mean, square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        for step in (1, 2, 3):
            losses.adam_step(
                [weight.detach(), bias.detach()],
                gradient,
                mean,
                square,
                step=step,
                learning_rate=0.01,
                weight_decay=0.1,
                clip_norm=1.0,
            )
        yield from (weight, bias, mean, square)
    states = drawn(9, 7, 33).requires_grad_()
    mean, most = layers.mean_and_most(states, torch.randint(1, 8, (9,)))
    (mean * drawn(9, 33) + most * drawn(9, 33)).backward(drawn(9, 33))  # type: ignore[no-untyped-call]
    yield from (mean, most, states.grad)  # type: ignore[misc]


def main() -> None:
    """Print the level and one hash of everything, a line for each level with a number of threads.

    All in one process: to import torch takes as long as to compute.
    """
    for asked in sys.argv[1:]:
        level, threads = asked.split(":")
        os.environ[library.ENVIRONMENT] = level
        library.found.cache_clear()
        library._tried.cache_clear()
        torch.manual_seed(3)
        library.set_threads(int(threads))
        digest = hashlib.sha256()
        for tensor in (*recurrences(), *the_rest()):
            digest.update(tensor.detach().numpy().tobytes())
        print(library.name(), digest.hexdigest())


if __name__ == "__main__":
    main()
