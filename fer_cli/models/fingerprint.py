"""Telling networks apart by what they compute."""

import hashlib

from torch import nn


def fingerprint(network: nn.Module) -> str:
    """A digest of what a network computes: its class, and its weights and statistics by name."""
    digest = hashlib.sha256(type(network).__qualname__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        # How many batches it was trained on has no part in what it computes.
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
