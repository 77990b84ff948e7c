"""Files that say what densekit never writes, under a checksum that is right."""

import hashlib
import json
import struct

from densekit.persistence import container as files

SIZES = {"F64": 8, "F32": 4, "I64": 8, "U8": 1, "BOOL": 1}


def write(path, content, tensors=(), *, kind="model", envelope=None, **parts):
    """Write any content, and tensors as (name, dtype, shape, bytes); a text is taken as it is."""
    entries, data = [], []
    place = 0
    for name, dtype, shape, values in tensors:
        end = place + len(values)
        shown = shape if isinstance(shape, str) else json.dumps(list(shape))
        entries.append(
            f'{json.dumps(name)}:{{"dtype":"{dtype}","shape":{shown},"data_offsets":[{place},{end}]}}'
        )
        data.append(values)
        place = end
    text = content if isinstance(content, str) else json.dumps(content)
    whole = envelope or (
        f'{{"kind": "{kind}", "format": {files.FORMAT}, "sha256": "{"0" * 64}", "content": {text}}}'
    )
    header = f'{{"__metadata__":{{"densekit":{json.dumps(whole)}}}'
    header += "".join(f",{entry}" for entry in [*entries, *parts.get("entries", ())]) + "}"
    header += " " * (-len(header) % 8)
    sealed(path, header.encode(), b"".join(data))


def sealed(path, header, data):
    """Write a header and data, with the checksum where its zeros stand."""
    whole = struct.pack("<Q", len(header)) + header + data
    zeros = rb"\"sha256\": \"" + b"0" * 64
    digest = hashlib.sha256(whole).hexdigest().encode()
    path.write_bytes(whole.replace(zeros, zeros[:-64] + digest, 1))


def plain(tensors):
    """Tensors of a container as `write` takes them."""
    names = {"float64": "F64", "float32": "F32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
    return [
        (
            name,
            names[str(t.dtype).removeprefix("torch.")],
            t.shape,
            t.contiguous().numpy().tobytes(),
        )
        for name, t in tensors.items()
    ]
