"""Objects of libraries that are too heavy for `make test`, made from their documented attributes.

They raise where the real ones raise. Real JAX arrays and Keras variables are in tests/frameworks.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class TorchTensor:
    """torch.Tensor: `numpy()` refuses gradients and bfloat16, `tolist()` refuses what has no data."""

    def __init__(self, data: Any, *, grad: bool = False, device: str = "cpu") -> None:
        self._data, self.requires_grad, self.device = np.asarray(data), grad, device
        self.shape, self.dtype = self._data.shape, "torch.float32"

    def detach(self) -> TorchTensor:
        return TorchTensor(self._data, device=self.device)

    def cpu(self) -> TorchTensor:
        if self.device == "meta":
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        return TorchTensor(self._data, grad=self.requires_grad)

    def numpy(self) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad, or of bfloat16")

    def tolist(self) -> Any:
        if self.device != "cpu":
            raise RuntimeError("not on the CPU")
        return self._data.tolist()

    def reshape(self, *_: int) -> TorchTensor:
        return TorchTensor(self._data.reshape(-1))

    def __getitem__(self, which: Any) -> TorchTensor:
        return TorchTensor(self._data[which])

    def __bool__(self) -> bool:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")


class TensorFlowTensor:
    """tf.Tensor (eager) and tf.Variable: `numpy()`, no `tolist`; a symbolic one has no numpy."""

    def __init__(self, data: Any, *, symbolic: bool = False) -> None:
        self._data, self._symbolic = np.asarray(data), symbolic
        self.shape, self.dtype = self._data.shape, "<dtype: 'float32'>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} object has no attribute {name!r}")

    def numpy(self) -> Any:
        if self._symbolic:
            raise NotImplementedError("numpy() is only available when eager execution is enabled.")
        return self._data

    def __array__(self) -> Any:
        return self.numpy()


class KerasVariable:
    """keras.Variable (Keras 3): `numpy()`, and a `value` that is the backend's own."""

    def __init__(self, data: Any) -> None:
        self.value = TensorFlowTensor(data)
        self.shape, self.dtype = self.value.shape, "float32"

    def numpy(self) -> Any:
        return self.value.numpy()


class BFloat16:
    """A scalar of ml_dtypes, as numpy's arrays of JAX hold them: only `float` turns it into something."""

    dtype = "bfloat16"

    def __init__(self, number: float) -> None:
        self._number = number

    def item(self) -> BFloat16:
        return self

    def tolist(self) -> BFloat16:
        return self

    def __float__(self) -> float:
        return self._number
