"""The linear model that Captum's LIME and Kernel SHAP fit, in double precision."""

import torch
from captum._utils.models.model import Model
from torch import Tensor
from torch.utils.data import DataLoader


class LeastSquares(Model):
    """Weighted least squares with an intercept; of several solutions the shortest.

    Captum's own goes through scikit-learn in single precision. There, a weight on Kernel SHAP's two ends that is large
    enough to hold the sum drowns all other samples.
    """

    def fit(self, train_data: DataLoader, **kwargs: object) -> None:
        """Captum hands over all samples as one batch: features (0 or 1), outputs, weights."""
        features, outputs, weights = (torch.cat(parts).double() for parts in zip(*train_data, strict=True))
        root = weights.sqrt()
        design = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
        # `gelsd` alone bears features that were drawn alike; it runs on the CPU.
        system, wanted = (root[:, None] * design).cpu(), (root * outputs)[:, None].cpu()
        solution = torch.linalg.lstsq(system, wanted, driver="gelsd").solution
        self.weights = solution[:-1, 0].to(outputs.device)

    def representation(self) -> Tensor:
        """(feature,)"""
        return self.weights

    def __call__(self, x: Tensor) -> Tensor:
        """What the fit says of samples, without the intercept; Captum asks for it in the protocol and never calls."""
        return x.double() @ self.weights
