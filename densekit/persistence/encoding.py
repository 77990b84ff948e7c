"""Values as JSON and tensors: a closed set of types, and classes by their registered names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from densekit import registry
from densekit.exceptions import UnsavableError
from densekit.persistence.names import ARGUMENTS
from densekit.recorded import Recorded

IS = "is"  # the key that says what a JSON object stands for
DENSITY = "density_"  # the one fitted attribute that is a torch module
BUILT_WITH = "_built_with_"  # the parameters that it was built with, which may have changed since
MAX_TEXT_BYTES = 2**26 - 2**22  # of arrays of texts, in which all are as wide as the widest


def stored_types(cls: type) -> dict[str, Any]:
    """The dataclasses that may stand in the attributes of an estimator, by their names in files."""
    found: dict[str, Any] = getattr(cls, "_stored_types", {})
    return found


class Encoder:
    """Turns values into JSON's types; arrays go to `tensors` under the path of the value.

    Attributes
    ----------
    tensors : dict from str to Tensor
    plugins : dict from str to str
        Distributions whose classes were met, and their versions.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.plugins: dict[str, str] = {}
        self._records: dict[str, Any] = {}
        self._n_text_bytes = 0

    def encode(self, value: Any, path: str) -> Any:
        """One value; an UnsavableError names the path of what cannot be written."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {IS: "float", "value": repr(value)}
        if isinstance(value, list):
            return self._items(value, path)
        if isinstance(value, tuple):
            return {IS: "tuple", "items": self._items(value, path)}
        if isinstance(value, dict):
            pairs = [
                [self.encode(k, path), self.encode(v, f"{path}.{k}")] for k, v in value.items()
            ]
            return {IS: "dict", "items": pairs}
        if isinstance(value, range):
            return {IS: "range", "items": [value.start, value.stop, value.step]}
        if isinstance(value, np.ndarray | np.generic | np.dtype):
            return self._numpy(value, path)
        return self._object(value, path)

    def _items(self, values: Iterable[Any], path: str) -> list[Any]:
        return [self.encode(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _numpy(self, value: Any, path: str) -> Any:
        if isinstance(value, np.dtype):
            return {IS: "dtype", "value": value.str}
        if isinstance(value, np.generic):
            return {IS: "scalar", "value": self._numpy(np.asarray(value), path)}
        if value.dtype.kind == "O":
            items = self._items(value.ravel().tolist(), path)
            return {IS: "objects", "shape": list(value.shape), "items": items}
        if value.dtype.kind == "U":
            self._n_text_bytes += value.nbytes
            if self._n_text_bytes > MAX_TEXT_BYTES:
                raise UnsavableError(
                    f"{path} is an array of more text than files hold: with those before it "
                    f"{self._n_text_bytes:,} bytes, expected {MAX_TEXT_BYTES:,} at most, where "
                    "each text of an array counts as much as its longest."
                )
            items = value.ravel().tolist()
            return {IS: "texts", "shape": list(value.shape), "items": items}
        plain = np.ascontiguousarray(value, value.dtype.newbyteorder("="))
        plain = plain.reshape(value.shape)  # a number has no shape, and would get one
        if plain.dtype.kind in "mM":
            plain = plain.view(np.int64)
        while path in self.tensors:  # as of the keys 1 and "1" of a dict
            path += "'"
        try:
            self.tensors[path] = torch.from_numpy(plain.copy())
        except TypeError:
            raise UnsavableError(
                f"{path} is an array of {value.dtype}, which files do not hold."
            ) from None
        return {IS: "array", "tensor": path, "dtype": value.dtype.str}

    def _object(self, value: Any, path: str) -> Any:
        if isinstance(value, type):
            return {IS: "class", **self._name(value, path)}
        if isinstance(value, BaseEstimator):
            return self._estimator(value, path)
        if isinstance(value, Recorded):
            return self.recorded(value, path, is_whole=True)
        record = next((name for name, kind in self._records.items() if kind is type(value)), None)
        if record is not None:
            fields = {
                field.name: self.encode(getattr(value, field.name), f"{path}.{field.name}")
                for field in dataclasses.fields(value)
            }
            return {IS: "record", "type": record, "fields": fields}
        if type(value) in ARGUMENTS:
            args = self._items(ARGUMENTS[type(value)](value), path)
            return {IS: "name", "type": type(value).__name__, "args": args}
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
            return {IS: "random_state", "state": self.encode(state, path)}
        raise UnsavableError(
            f"{path} is of the type {type(value).__module__}.{type(value).__qualname__}, which "
            "files do not hold; use a number, a text, an array or a registered name or class, or "
            "keep the estimator with joblib, which takes any type."
        )

    def recorded(self, value: Recorded, path: str, *, is_whole: bool = False) -> dict[str, Any]:
        """A map, a layer or a base by its class and arguments, and if it is whole its weights."""
        if value.arguments is None:
            raise UnsavableError(
                f"{path} is an instance of {type(value).__name__} that was built with more than "
                "plain values; use a registered name or a class and its options instead."
            )
        args, options = value.arguments
        found = {
            IS: "instance",
            **self._name(type(value), path),
            "args": self._items(args, f"{path}.args"),
            "options": {k: self.encode(v, f"{path}.{k}") for k, v in options.items()},
        }
        if is_whole and isinstance(value, nn.Module):
            found["weights"] = self.weights(value, f"{path}.weights")
        return found

    def weights(self, module: nn.Module, path: str) -> str:
        """Put a module's state into the tensors; return the start of their names."""
        for part in module.modules():
            for item in (part, getattr(part, "elementwise", None)):
                self._note(type(item))
        for name, value in module.state_dict().items():
            self.tensors[f"{path}.{name}"] = value
        return path

    def _estimator(self, value: BaseEstimator, path: str) -> dict[str, Any]:
        outer, self._records = self._records, stored_types(type(value))
        start = f"{path}." if path else ""
        name = self._name(type(value), path or type(value).__name__)
        parameters = value.get_params(deep=False)
        attributes = {k: v for k, v in vars(value).items() if k not in parameters}
        found: dict[str, Any] = {IS: "estimator", **name}
        found["parameters"] = self._named(parameters, start)
        before = attributes.pop(BUILT_WITH, {})
        changed = {k: v for k, v in before.items() if v is not parameters.get(k, self)}
        found["built_with"] = self._named(changed, f"{start}{BUILT_WITH}.")
        density = attributes.pop(DENSITY, None)
        found["attributes"] = self._named(attributes, start)
        if density is not None:
            outline: dict[str, Any] = value._outline_density()
            outline["preprocessing"] = [
                self.recorded(step, f"{start}preprocessing.{i}")
                for i, step in enumerate(outline["preprocessing"])
            ]
            found["density"] = outline | {"weights": self.weights(density, f"{start}{DENSITY}")}
        self._records = outer
        return found

    def _named(self, values: dict[Any, Any], start: str) -> dict[Any, Any]:
        return {name: self.encode(value, f"{start}{name}") for name, value in values.items()}

    def _name(self, cls: type, path: str) -> dict[str, Any]:
        """A class by its registered name, and the distribution that it comes from."""
        plugin = registry.find(cls)
        if plugin is None:
            raise UnsavableError(
                f"{path} is {cls.__module__}.{cls.__qualname__}, which has no registered name, so "
                "a file cannot say what it is; give it one by an entry point or densekit.register, "
                "or keep what holds it by pickle or joblib."
            )
        self._note(cls)
        return {"group": plugin.group, "name": plugin.name, "distribution": plugin.distribution}

    def _note(self, cls: type) -> None:
        """Remember the distribution that a class comes from, unless it is densekit itself."""
        if cls.__module__.partition(".")[0] in ("builtins", "densekit", "torch"):
            return
        plugin = registry.find(cls)
        if plugin is not None and plugin.distribution:
            self.plugins[plugin.distribution] = plugin.version


def texts(items: list[str]) -> NDArray[Any]:
    """Texts as an array, in which each takes as much memory as the longest."""
    return np.array(items, dtype=f"<U{max(1, max(map(len, items), default=1))}")


def bytes_of_texts(items: list[str]) -> int:
    """Memory that `texts` takes."""
    return 4 * max(1, max(map(len, items), default=1)) * len(items)
