"""Tables of what was measured, as pages of Markdown, and one screen that sums them up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pages.anomaly import anomaly_page, sizes_page
from benchmarks.pages.calls import calls_page
from benchmarks.pages.files import large_page, robustness_page
from benchmarks.pages.flows import (
    QUALITY,
    SPEED,
    paper_page,
    quality_page,
    speed_page,
    stability_page,
)
from benchmarks.pages.images import foreign_page, images_page, pixelcnn_page
from benchmarks.pages.results import Result, Results
from benchmarks.pages.summary import SUMMARIES

# In the order of the documents; a section is made of each JSON file whose name starts so.
PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "calls": calls_page,
    "speed": speed_page,
    "quality": quality_page,
    "paper": paper_page,
    "anomaly": anomaly_page,
    "sizes": sizes_page,
    "images": images_page,
    "pixelcnn": pixelcnn_page,
    "foreign": foreign_page,
    "robustness": robustness_page,
    "large": large_page,
    "stability": stability_page,
}


@dataclass(frozen=True)
class Document:
    """A page of its own: which sections it has, and what holds for all of them."""

    title: str
    kinds: tuple[str, ...]
    introduction: str = ""


DOCUMENTS = {
    "speed": Document("Speed", ("calls", "speed"), SPEED),
    "quality": Document("Quality", ("quality", "paper"), QUALITY),
    "anomalies": Document("Anomalies", ("anomaly", "sizes")),
    "images": Document("Images", ("images", "pixelcnn", "foreign")),
    "robustness": Document("Robustness", ("robustness", "large", "stability")),
}


def section(page: Callable[[dict[str, Any]], str], result: Result) -> str:
    """The page of a result, with the remark under its heading that someone wrote into the JSON."""
    heading, _, rest = page(result).partition("\n")
    remark = result.get("remark")
    return "\n".join([heading, f"\n{remark}", rest] if remark else [heading, rest])


def write(folder: Path, out: Path) -> None:
    """Write the page that sums up, a page of tables for each of its parts, and the pictures.

    The pages of tables lie in a folder named as the page, and the pictures in `pictures`.
    """
    results: Results = {
        kind: [json.loads(path.read_text()) for path in sorted(folder.glob(f"{kind}*.json"))]
        for kind in PAGES
    }
    tables, pictures = out.with_suffix(""), out.parent / "pictures"
    tables.mkdir(exist_ok=True)
    pictures.mkdir(exist_ok=True)
    made_by = f"Made by `python -m benchmarks page {folder}` from the JSON files there"
    parts = ["# Benchmarks\n", f"{made_by}, which the other commands wrote.\n"]
    for name, document in DOCUMENTS.items():
        sections = [
            section(PAGES[kind], result) for kind in document.kinds for result in results[kind]
        ]
        if not sections:
            continue
        head = [f"# {document.title}\n", f"{made_by}; [a summary](../{out.name}).\n"]
        if document.introduction:
            head.append(f"{document.introduction.strip()}\n")
        (tables / f"{name}.md").write_text("\n".join([*head, *sections]))
        parts += [f"## {document.title}\n", *SUMMARIES[name](results, pictures)]
        parts.append(f"All tables: [{document.title.lower()}]({tables.name}/{name}.md).\n")
    out.write_text("\n".join(parts))
