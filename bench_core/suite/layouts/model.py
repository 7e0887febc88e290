"""`Model`, the base of the layouts: a model that can initialize itself again."""

from __future__ import annotations

from torch import nn


class Model(nn.Module):
    """A model that can do again what its constructor did to its tensors, as is needed after `to_empty`.

    The method names are those of transformers' `PreTrainedModel`.
    """

    def init_weights(self) -> None:
        """Write every parameter and every buffer, from the distributions and formulas of the constructor."""
        self.apply(self._init_weights)

    def tie_weights(self) -> None:
        """Let the names that share one parameter share it again. Most layouts have none."""

    def _init_weights(self, module: nn.Module) -> None:
        """Initialize what `module` itself holds, and not what its children hold."""
        raise NotImplementedError
