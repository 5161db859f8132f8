"""Write twins.npz: what timm's Twins answers to seeded weights and images. Only this script needs torch and timm.

    python tests/golden/make_golden.py
"""

from pathlib import Path

import numpy as np
import timm
import timm.layers
import torch
from torch.utils.flop_counter import FlopCounterMode

import seeded

NAMES = [f"twins_{family}_{size}" for family in ("pcpvt", "svt") for size in ("small", "base", "large")]
PADDED = (256, 192)
LABEL = 7


def multiply_adds(model):
    """PyTorch's own count for one 224×224 image: (linear maps and convolutions, attention products)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    flops = counter.get_flop_counts()["Global"]
    attention = flops.pop(torch.ops.aten.bmm)
    return np.array([sum(flops.values()), attention], np.int64) // 2


def main():
    timm.layers.set_fused_attn(False)  # the counter does not see the products inside a fused attention
    golden = {}
    for name in NAMES:
        model = timm.create_model(name).eval()
        shapes = {n: tuple(p.shape) for n, p in model.state_dict().items()}
        model.load_state_dict({n: torch.from_numpy(w) for n, w in seeded.weights(shapes).items()})
        logits = model(torch.from_numpy(seeded.images(1, 224, 224)))
        torch.nn.functional.cross_entropy(logits, torch.tensor([LABEL])).backward()
        golden[f"{name}/parameters"] = np.int64(sum(p.numel() for p in model.parameters()))
        golden[f"{name}/multiply_adds"] = multiply_adds(model)
        golden[f"{name}/logits"] = logits.detach().numpy()
        golden[f"{name}/names"] = np.array([n for n, _ in model.named_parameters()])
        golden[f"{name}/gradients"] = np.stack([seeded.fingerprint(p.grad.numpy()) for p in model.parameters()])
        if name.endswith("small"):
            with torch.no_grad():
                golden[f"{name}/padded_logits"] = model(torch.from_numpy(seeded.images(2, *PADDED))).numpy()
                maps = model.forward_intermediates(torch.from_numpy(seeded.images(1, *PADDED)), intermediates_only=True)
            golden[f"{name}/padded_maps"] = np.stack([seeded.fingerprint(m.numpy()) for m in maps])
        print(f"{name}: logits {logits.std().item():.3f} std, {len(shapes)} tensors")
    golden["versions"] = np.array([f"torch {torch.__version__}", f"timm {timm.__version__}"])
    path = Path(__file__).with_name("twins.npz")
    np.savez_compressed(path, **golden)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
