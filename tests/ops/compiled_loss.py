"""The loss inside a compiled function, in a process without type checks; started by test_contrastive.py.

The compiler's last stage, which writes C++, is left out: it is not ours, and takes half a minute.
"""

import torch
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import contrastive_loss


def main() -> None:
    """Compare loss and gradients with those of the plain function."""
    torch.manual_seed(0)
    present, subject, time_s = torch.rand(300, 3) < 0.8, torch.randint(0, 5, (300,)), torch.rand(300).double() * 500
    for rows, impl in ((300, "chunked"), (60, "reference")):

        def loss(z: torch.Tensor, scale: torch.Tensor, rows: int = rows, impl: str = impl) -> torch.Tensor:
            about = {"subject": subject[:rows], "time_s": time_s[:rows], "exclude_within_s": 60.0}
            return contrastive_loss(
                normalize(z, dim=-1), present[:rows], logit_scale=scale.exp(), impl=impl, **about
            ).loss

        answers = []
        z = torch.randn(3, rows, 8)
        for one in (loss, torch.compile(loss, backend="aot_eager")):
            leaf, scale = z.clone().requires_grad_(), torch.tensor(2.0, requires_grad=True)
            value = one(leaf, scale)
            value.backward()
            answers.append((value.detach(), leaf.grad, scale.grad))
        for plain, compiled in zip(*answers, strict=True):
            torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-7)
        print(impl, "agrees")


if __name__ == "__main__":
    main()
