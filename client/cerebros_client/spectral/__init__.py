"""Spectral normalisation: is it in a model or a configuration, and put it into a Keras model.

    from cerebros_client.spectral import apply_spectral_norm, has_spectral_norm

No framework is imported: what a model says of itself decides (names of classes, hooks, keys).
"""

from cerebros_client.spectral.applying import apply_spectral_norm
from cerebros_client.spectral.detection import has_spectral_norm

__all__ = ["apply_spectral_norm", "has_spectral_norm"]
