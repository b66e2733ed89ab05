"""Adam on all parameters at once, laid end to end.

On a CPU the kernel computes it; elsewhere torch's function `adam`. The class `torch.optim.Adam`
gives the same, but imports torch's compiler on the first step, which takes longer than the whole
training of a small model.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from birnn.kernel import library, losses

DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8  # the paper's, and torch's, defaults


class Adam:
    """Kingma and Ba, Adam: A Method for Stochastic Optimization (2015), algorithm 1.

    It gives what `torch.optim.Adam` gives after `torch.nn.utils.clip_grad_norm_`.

    Args:
        parameters: what to train, all of one dtype and on one device.
        learning_rate: the step size.
        weight_decay: this times the parameters is added to the gradient.
        clip_norm: a gradient longer than this is shortened to it.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.clip_norm = clip_norm
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.mean = self.parameters[0].new_zeros(sum(self.sizes), requires_grad=False)
        self.square = torch.zeros_like(self.mean)
        # One count a parameter, all equal, as `adam` wants them.
        self.num_steps = self.mean.new_zeros(len(self.sizes), dtype=torch.float32)

    def take_gradient(self) -> Tensor:
        """Lay the gradients end to end and clear them; a parameter without one counts as zero."""
        parts = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in self.parameters
        ]
        for parameter in self.parameters:
            parameter.grad = None
        return torch.cat([part.flatten() for part in parts])

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move the parameters against a gradient that is laid end to end; it is overwritten."""
        if library.serves(gradient):
            self.num_steps += 1
            self._step_on_cpu(gradient)
            return
        # As clip_grad_norm_ does, without asking the device how long the gradient is.
        gradient.mul_((self.clip_norm / (gradient.norm() + 1e-6)).clamp(max=1.0))
        adam(
            self.parameters,
            self._parts(gradient),
            self._parts(self.mean),
            self._parts(self.square),
            [],
            list(self.num_steps.unbind()),  # `adam` raises each
            fused=True,  # one pass, where single operations take ten
            lr=self.learning_rate,
            beta1=DECAY,
            beta2=SQUARE_DECAY,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _step_on_cpu(self, gradient: Tensor) -> None:
        losses.adam_step(
            self.parameters,
            gradient,
            self.mean,
            self.square,
            step=int(self.num_steps[0]),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Give what a later `load_state_dict` needs to go on from here."""
        return {"mean": self.mean, "square": self.square, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state_dict` was taken."""
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])
        self.num_steps.copy_(state["num_steps"])

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Views in the shapes of the parameters."""
        parts = flat.split_with_sizes(self.sizes)
        return [part.view_as(own) for part, own in zip(parts, self.parameters, strict=True)]
