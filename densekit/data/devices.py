"""Names of devices."""

import torch

from densekit.exceptions import ParameterError


def parse_device(device: str, source: str) -> torch.device:
    """Return torch's device of that name, once it is known to be there; "auto" is a GPU if any."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError, TypeError) as error:  # torch raises any of them
        raise ParameterError(
            f"{source} got device={device!r}, expected 'auto', 'cpu' or another device that torch "
            f"has here: {str(error).splitlines()[0]}"
        ) from None
