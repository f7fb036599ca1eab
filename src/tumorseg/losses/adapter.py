"""What MONAI's losses expect of a reference, made of ours."""

from typing import cast

from torch import Tensor, nn


class IndexTarget(nn.Module):
    """Hands (N, H, W) class indices to a loss that wants them as (N, 1, H, W)."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, reference: Tensor) -> Tensor:
        """A scalar of (N, K, H, W) logits and (N, H, W) int64."""
        return cast(Tensor, self.loss(logits, reference[:, None]))


def one_hot(logits: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of the classes and the reference in the same form, background left out.

    Args:
        logits: (N, 1, H, W), or (N, K + 1, H, W) with background first.
        reference: (N, 1, H, W) float, 0 and 1; or (N, H, W) int64, 0 to K.

    Returns:
        (N, 1 or K, H, W) float, twice.
    """
    if logits.shape[1] == 1:
        return logits.sigmoid(), reference.float()
    classes = nn.functional.one_hot(reference, logits.shape[1]).movedim(-1, 1)
    return logits.softmax(dim=1)[:, 1:], classes[:, 1:].to(logits.dtype)
