"""Values from JSON and tensors, trusting neither."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from densekit import registry
from densekit.exceptions import AlteredFileError, MissingPluginError, UnknownNameError, shorten
from densekit.persistence.budget import Allowance
from densekit.persistence.container import MAX_DIMENSIONS
from densekit.persistence.encoding import (
    BUILT_WITH,
    DENSITY,
    IS,
    bytes_of_texts,
    stored_types,
    texts,
)
from densekit.persistence.names import BUILD

# No size in a description may be larger than this, or than all tensors together.
LARGEST_SIZE = 2**20
MAX_FLOAT_TEXT = 40  # characters; "-1.7976931348623157e+308" has 24
MAX_NAME_TEXT = 100  # characters of a date, a zone or a frequency
LARGEST_KEY = 2**31  # of a dict, among whole numbers; their hashes differ
MOST_OTHER_KEYS = 2000  # all may have one hash, and are compared each with each
MOST_ITEMS = 1000  # of all sequences in parameters together, and an eighth of the numbers
_DTYPE = re.compile(r"[<>|=]?([biufmMUSO])\d{0,4}(\[\d{0,4}[a-zA-Z]{1,2}\])?")
_FITTED_NAME = re.compile(r"_?[A-Za-z]\w*_|_[A-Za-z]\w*")


class Decoder:
    """Undoes `Encoder`; whatever does not fit raises an error.

    Parameters
    ----------
    tensors : dict from str to Tensor
    device : torch.device
        Where densities go.
    allowance : Allowance
        What arrays, texts and objects may take, together with all that building allocates.
    """

    def __init__(self, tensors: dict[str, Tensor], device: torch.device, allowance: Allowance):
        self._tensors, self._device, self._allowance = tensors, device, allowance
        self._names = sorted(tensors)
        self._unused = set(tensors)
        self._records: dict[str, Any] = {}
        self._classes: dict[tuple[str, str, str], Any] = {}
        self._n_numbers = sum(tensor.numel() for tensor in tensors.values())
        self._largest_size = max(LARGEST_SIZE, self._n_numbers)
        self._n_items_left = MOST_ITEMS + self._n_numbers // 8
        self._n_other_keys_left = MOST_OTHER_KEYS

    def check_all_used(self) -> None:
        """Refuse tensors that nothing is made of."""
        if self._unused:
            name = min(self._unused)
            raise AlteredFileError(
                f"nothing takes {len(self._unused):,} of its tensors, such as {name[:80]!r}"
            )

    def decode(self, value: Any) -> Any:
        """One value."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        kind = value.get(IS)
        decode = self._KINDS.get(kind) if isinstance(kind, str) else None
        if decode is None:
            raise AlteredFileError(f"there is no kind of value {str(kind)[:40]!r}")
        return decode(self, value)

    def _float(self, value: dict[str, Any]) -> float:
        digits = _text(value["value"])
        if len(digits) > MAX_FLOAT_TEXT:
            raise AlteredFileError(f"a number has {len(digits):,} characters")
        return float(digits)

    def _tuple(self, value: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self._list(value["items"]))

    def _dict(self, value: dict[str, Any]) -> dict[Any, Any]:
        return {self._key(key): self.decode(item) for key, item in value["items"]}

    def _key(self, value: Any) -> Any:
        """A key: a text or a number of usual size, or one of few others.

        Many other numbers and tuples can be chosen so that all have one hash.
        """
        key = self.decode(value)
        if isinstance(key, int) and abs(key) < LARGEST_KEY:
            return key
        if not isinstance(key, str):
            self._n_other_keys_left -= 1
            if self._n_other_keys_left < 0:
                raise AlteredFileError("there are too many keys that are neither texts nor small")
        return key

    def _range(self, value: dict[str, Any]) -> range:
        found = range(*(_integer(item) for item in value["items"]))
        if len(found) > self._largest_size:
            raise AlteredFileError("a range is too long")
        return found

    def _dtype(self, value: dict[str, Any]) -> np.dtype[Any]:
        name = value["value"]
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise AlteredFileError(f"there is no number type {str(name)[:40]!r}")
        return np.dtype(name)

    def _array(self, value: dict[str, Any]) -> NDArray[Any]:
        dtype = self._dtype({"value": value["dtype"]})
        stored = self._take(_text(value["tensor"])).numpy()
        self._allowance.take(stored.nbytes)
        plain = np.dtype(np.int64) if dtype.kind in "mM" else dtype.newbyteorder("=")
        if stored.dtype != plain:
            raise AlteredFileError(f"an array of {dtype} is stored as {stored.dtype}")
        return stored.copy().view(dtype) if dtype.kind in "mM" else stored.astype(dtype)

    def _scalar(self, value: dict[str, Any]) -> Any:
        return self.decode(value["value"])[()]

    def _objects(self, value: dict[str, Any]) -> NDArray[Any]:
        items = self._list(value["items"])
        self._allowance.take(8 * len(items))
        found = np.empty(len(items), dtype=object)
        found[:] = items
        return found.reshape(_shape(value["shape"]))

    def _texts(self, value: dict[str, Any]) -> NDArray[Any]:
        items = [_text(item) for item in self._list(value["items"])]
        self._allowance.take(bytes_of_texts(items))
        return texts(items).reshape(_shape(value["shape"]))

    def _take(self, name: str) -> Tensor:
        """A tensor, which no other value may be made of."""
        if name not in self._unused:
            what = "is named twice" if name in self._tensors else "is not there"
            raise AlteredFileError(f"the tensor {name[:80]!r} {what}")
        self._unused.remove(name)
        return self._tensors[name]

    def _random_state(self, value: dict[str, Any]) -> np.random.RandomState:
        found, state = np.random.RandomState(), self.decode(value["state"])
        if not 0 <= _integer(state["state"]["pos"]) <= len(state["state"]["key"]):
            raise AlteredFileError(
                "a random state is not within its key"
            )  # compiled code trusts it
        found.set_state(state)
        return found

    def _name(self, value: dict[str, Any]) -> Any:
        """A name of a column that is a date or the like."""
        args = self._list(value["args"])
        if any(len(arg) > MAX_NAME_TEXT for arg in args if isinstance(arg, str)):
            raise AlteredFileError("a date has a text of too many characters")
        return BUILD[_text(value["type"])](*args)

    def _record(self, value: dict[str, Any]) -> Any:
        cls = self._records[value["type"]]
        fields = {name: self.decode(item) for name, item in value["fields"].items()}
        known = dataclasses.fields(cls)
        # Fields that came later have defaults, which earlier files do not hold.
        needed = {field.name for field in known if field.default is dataclasses.MISSING}
        if not needed <= fields.keys() <= {field.name for field in known}:
            raise AlteredFileError(f"{cls.__name__} has other fields than {sorted(fields)}")
        return cls(**fields)

    def _class(self, value: dict[str, Any]) -> Any:
        """The class behind a registered name."""
        group, name, distribution = (value[key] for key in ("group", "name", "distribution"))
        if not all(isinstance(part, str) for part in (group, name, distribution)):
            raise AlteredFileError("a registered name is no text")
        if (group, name, distribution) not in self._classes:
            self._classes[group, name, distribution] = self._find(group, name, distribution)
        return self._classes[group, name, distribution]

    def _find(self, group: str, name: str, distribution: str) -> Any:
        try:
            target = registry.load(group, f"{distribution}:{name}" if distribution else name)
        except UnknownNameError as error:
            owner = f"the distribution {distribution!r}" if distribution else "densekit.register"
            raise MissingPluginError(
                f"it needs the plugin {name[:80]!r} of {group[:80]!r}, which came from "
                f"{owner[:120]} and is not here: {shorten(error)}"
            ) from None
        return registry.owner(target)

    def _instance(self, value: dict[str, Any]) -> Any:
        cls = self._class(value)
        if issubclass(cls, BaseEstimator):
            raise AlteredFileError(f"{cls.__name__} stands where a part of an estimator should")
        args, options = self._list(value["args"]), self._named(value["options"])
        self._check_sizes([args, options])
        found = cls(*args, **options)
        if "weights" in value:
            self._load(self._in_stored_precision(found, value["weights"]), value["weights"])
        return found

    def _in_stored_precision(self, module: nn.Module, path: str) -> nn.Module:
        """The module in the floating-point type of its stored state, where that is one."""
        kinds = {self._tensors[name].dtype for name in self._names_below(f"{_text(path)}.")}
        kinds = {kind for kind in kinds if kind.is_floating_point}
        return module.to(kinds.pop()) if len(kinds) == 1 else module

    def _estimator(self, value: dict[str, Any]) -> Any:
        cls = self._class(value)
        if not issubclass(cls, BaseEstimator):
            raise AlteredFileError(f"{cls.__name__} stands where an estimator should")
        cls = self._class_of_images(cls, value)
        outer, self._records = self._records, stored_types(cls)
        known = set(cls._get_param_names())
        # Tables and images shared classes, and so parameters, until 0.1.
        dropped = getattr(cls, "_dropped_parameters", frozenset[str]()) - known
        parameters, own = (
            {k: v for k, v in self._named(value[part]).items() if k not in dropped}
            for part in ("parameters", "built_with")
        )
        before = getattr(cls, "_before", {})
        built_with = before | parameters | own
        if unknown := built_with.keys() - known:
            raise AlteredFileError(f"{cls.__name__} has no parameters {sorted(unknown)}")
        found: Any = cls(**parameters)
        attributes = self._named(value["attributes"])
        _check_attributes(attributes, cls)
        vars(found).update(attributes)
        if "density" in value:
            setattr(found, BUILT_WITH, built_with)
            setattr(found, DENSITY, self._density(found, built_with, value["density"]))
        self._records = outer
        return found

    def _class_of_images(self, cls: Any, value: dict[str, Any]) -> Any:
        """The class itself, or that of images, which was one with it until 0.1."""
        form = value["attributes"].get("_form_")
        name = getattr(cls, "_image_estimator", None)
        is_of_images = isinstance(form, dict) and form.get("type") == "Images"
        return registry.load("estimators", name) if name is not None and is_of_images else cls

    def _density(self, estimator: Any, built_with: dict[str, Any], value: dict[str, Any]) -> Any:
        """Build a density as `fit` did, and give it its weights."""
        shapes = [_shape(value["event_shape"])]
        if value["context_shape"] is not None:
            shapes.append(_shape(value["context_shape"]))
        # Bounds and statistics of each column are among the tensors, so rows cannot be longer.
        if math.prod(shapes[0]) > self._n_numbers:
            raise AlteredFileError(f"rows of shape {shapes[0]} are longer than all tensors")
        steps = [self.decode(step) for step in self._list(value["preprocessing"])]
        dtype = getattr(torch, value["dtype"], None) if isinstance(value["dtype"], str) else None
        if dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise AlteredFileError("the density has no floating-point type")
        trained_by = type(estimator)._not_built_with
        self._check_sizes([v for k, v in built_with.items() if k not in trained_by])
        builder = type(estimator)(**built_with)
        vars(builder).update({k: v for k, v in vars(estimator).items() if k not in built_with})
        outline = {
            "event_shape": shapes[0],
            "context_shape": shapes[1] if len(shapes) > 1 else None,
            "preprocessing": steps,
            "dtype": dtype,
        }
        density: nn.Module = builder._rebuild_density(outline, self._device)
        is_flow = hasattr(getattr(density, "model", None), "transform")
        self._load(density, value["weights"], _NamesNow(len(steps), is_flow))
        return density

    def _names_below(self, start: str) -> list[str]:
        """Names of tensors that begin with a text.

        They follow each other; going through all for each part could take hours.
        """
        first = bisect.bisect_left(self._names, start)
        names = itertools.islice(self._names, first, None)
        return list(itertools.takewhile(lambda name: name.startswith(start), names))

    def _load(
        self, module: nn.Module, path: str, name_now: Callable[[str], str] = lambda name: name
    ) -> None:
        """Give a module its state, once all names, shapes and types are known to fit."""
        start = f"{_text(path)}."
        stored = {
            name_now(name.removeprefix(start)): self._take(name)
            for name in self._names_below(start)
        }
        state = module.state_dict()
        if stored.keys() != state.keys():
            name = sorted(stored.keys() ^ state.keys())[0]
            where = "file has no" if name in state else "model takes no"
            raise AlteredFileError(f"its parts do not fit together: the {where} {name[:80]!r}")
        for name, tensor in stored.items():
            expected = state[name]
            if (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
                raise AlteredFileError(
                    f"its parts do not fit together: {name!r} is {tensor.dtype} of shape "
                    f"{tuple(tensor.shape)}, expected {expected.dtype} of {tuple(expected.shape)}"
                )
        _check_indices(module, stored)
        _check_numbers(module, stored, state)
        module.load_state_dict(stored)

    def _check_sizes(self, value: Any) -> None:
        """Refuse sizes and lengths that the tensors do not bear out, before anything is built."""
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            self._n_items_left -= len(value)
            if self._n_items_left < 0:
                raise AlteredFileError("its parameters are longer than its tensors bear out")
            for item in value:
                self._check_sizes(item)
        elif isinstance(value, int) and abs(value) > self._largest_size:
            raise AlteredFileError(f"a size of {value} is more than all tensors hold")

    def _named(self, values: Any) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise AlteredFileError("named values are no JSON object")
        return {name: self.decode(value) for name, value in values.items()}

    def _list(self, values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise AlteredFileError("items are no JSON list")
        return [self.decode(value) for value in values]

    _KINDS = {
        "float": _float,
        "tuple": _tuple,
        "dict": _dict,
        "range": _range,
        "dtype": _dtype,
        "array": _array,
        "scalar": _scalar,
        "objects": _objects,
        "texts": _texts,
        "random_state": _random_state,
        "record": _record,
        "name": _name,
        "class": _class,
        "instance": _instance,
        "estimator": _estimator,
    }


@dataclasses.dataclass
class _NamesNow:
    """Names of a density's weights in files of format 1, where preprocessing and layers were one
    chain, as they are now."""

    n_steps: int
    is_flow: bool

    def __call__(self, name: str) -> str:
        part, _, rest = name.partition(".")
        if part == "base":
            return f"model.base.{rest}" if self.is_flow else f"model.{rest}"
        if part != "transform":
            return name
        number, _, below = rest.removeprefix("transforms.").partition(".")
        if int(number) < self.n_steps:
            return f"preprocessing.{rest}"
        return f"model.transform.{below}"  # behind a step that changed the number type


def _check_indices(module: nn.Module, stored: dict[str, torch.Tensor]) -> None:
    """Refuse indices that the built module does not have, which compiled code would follow."""
    for path, part in module.named_modules():
        for buffer in getattr(part, "index_buffers", ()):
            name = f"{path}.{buffer}" if path else buffer
            built = getattr(part, buffer).cpu()
            if not torch.equal(stored[name].cpu().sort().values, built.sort().values):
                raise AlteredFileError(f"its parts do not fit together: {name!r} has other indices")


def _check_numbers(
    module: nn.Module, stored: dict[str, torch.Tensor], built: dict[str, torch.Tensor]
) -> None:
    """Refuse weights that are not finite, and NaN in buffers, whose bounds may be infinite."""
    learned = {name for name, _ in module.named_parameters()}
    for name, tensor in stored.items():
        if not tensor.is_floating_point():
            continue
        # By `all`, because torch would import its compiler for `any`, which takes seconds.
        is_right = tensor.isfinite() if name in learned else tensor.isnan().logical_not()
        if not is_right.all() and built[name].isnan().logical_not().all():
            raise AlteredFileError(f"its weights {name[:80]!r} hold a number that is not finite")


def _check_attributes(attributes: dict[str, Any], cls: type) -> None:
    """Fitted attributes end or begin with an underscore, and hide nothing of the class."""
    for name in attributes:
        if not _FITTED_NAME.fullmatch(name) or name == DENSITY or hasattr(cls, name):
            raise AlteredFileError(f"{cls.__name__} cannot have the attribute {name[:40]!r}")


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise AlteredFileError("a shape is no JSON list")
    if len(value) > MAX_DIMENSIONS:
        raise AlteredFileError(f"a shape has {len(value):,} sizes")
    n_numbers = 1
    for size in map(_integer, value):
        n_numbers *= size
        if not 0 <= n_numbers < 2**48 or size < 0:  # before the product is long itself
            raise AlteredFileError(f"there is no shape {str(value[:4])[:40]}")
    return tuple(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise AlteredFileError(f"{shorten(value, 40)!r} is no text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise AlteredFileError(f"{shorten(value, 40)!r} is no integer")
    return value
