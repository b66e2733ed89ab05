"""`torch.nn`'s layers with the kernel's arithmetic, and draws that are the same on every CPU."""

from __future__ import annotations

import math

from torch import Tensor, nn

from birnn.kernel import draws, layers


class Linear(nn.Linear):
    """`torch.nn.Linear`, drawn from the same distribution."""

    def reset_parameters(self) -> None:
        """Draw weights and bias from U(-1/sqrt(inputs), 1/sqrt(inputs))."""
        for parameter in self.parameters():
            draws.uniform_(parameter, self.in_features**-0.5)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, torch's name
        """See `birnn.kernel.layers.linear`."""
        return layers.linear(input, self.weight, self.bias)


class Embedding(nn.Embedding):
    """`torch.nn.Embedding`, whose rows begin with a length of about one (Ma and Hovy 2016).

    torch's are as long as the root of their width. What a rare token is then taken for is decided
    by chance, because the little that is learned about it counts for nothing beside that.
    """

    def reset_parameters(self) -> None:
        """Draw every row from U(-sqrt(3 / width), sqrt(3 / width))."""
        draws.uniform_(self.weight, math.sqrt(3 / self.embedding_dim))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, torch's name
        """See `birnn.kernel.layers.embedding`."""
        return layers.embedding(input, self.weight)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, torch's name
        """See `birnn.kernel.layers.dropout`."""
        return layers.dropout(input, self.p, self.training)
