"""Method: the contract of a kind of method."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ssl_zoo.batch import Batch, InputSpec, StepOutput
from ssl_zoo.methods.contract import Trial


class Method(nn.Module):
    """A method in training, made of parts. A registered `method` returns one; any loop can train it.

    Attributes:
        encoder: view -> h.
    """

    encoder: nn.Module

    @property
    def product(self) -> nn.Module:
        """What is evaluated and exported: the encoder, unless a method needs more to be of use."""
        return self.encoder

    @property
    def shrinks(self) -> bool:
        """Whether embeddings that shrink to one point lower the loss; the collapse guard then judges their scale."""
        return False

    @property
    def cluster_temperature(self) -> float | None:
        """The temperature of the softmax that embeddings are scores of; None where they are no scores of clusters.

        The collapse guard then judges how many clusters are in use.
        """
        return None

    def forward(self, batch: Batch) -> StepOutput:
        """Return the loss of one batch."""
        raise NotImplementedError

    def draws(self, spec: InputSpec) -> Callable[[int, Tensor], dict[str, Tensor]] | None:
        """Return what draws for samples on the host, or None where nothing has to be.

        What is random and decides shapes is drawn there: the host would have to wait for a GPU to know them. The loader
        calls it, perhaps in a worker process, so it can be pickled and holds no tensor of a device; what it returns
        arrives with the batch as `Batch.drawn`. A method whose batch has none draws in its forward pass.

        Args:
            spec: of the views.

        Returns:
            A function of the number of optimizer steps done and the positions of samples in the data set `(B,)`, int64
            on the CPU; it returns tensors by name, on the CPU.
        """
        return None

    def after_step(self, progress: float) -> None:
        """Move the parts that follow the training: once per optimizer step, `progress` in [0, 1]."""

    def try_parts(self, trial: Trial) -> None:
        """Try that the parts fit together; by default the encoder alone.

        Raises:
            PartFailed: one does not keep its contract.
        """
        trial.encoder()
