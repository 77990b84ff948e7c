"""Tables of what was measured, as pages of Markdown."""

from collections.abc import Callable
from typing import Any

from benchmarks.pages.anomaly import anomaly_page, sizes_page
from benchmarks.pages.files import large_page, robustness_page
from benchmarks.pages.flows import paper_page, quality_page, speed_page, stability_page
from benchmarks.pages.images import foreign_page, images_page, pixelcnn_page

__all__ = [
    "PAGES",
    "anomaly_page",
    "foreign_page",
    "images_page",
    "large_page",
    "paper_page",
    "pixelcnn_page",
    "quality_page",
    "robustness_page",
    "section",
    "sizes_page",
    "speed_page",
    "stability_page",
]

# In the order of the document; a page is made of each JSON file whose name starts so.
PAGES = {
    "speed": speed_page,
    "quality": quality_page,
    "paper": paper_page,
    "stability": stability_page,
    "pixelcnn": pixelcnn_page,
    "images": images_page,
    "anomaly": anomaly_page,
    "sizes": sizes_page,
    "foreign": foreign_page,
    "robustness": robustness_page,
    "large": large_page,
}


def section(page: Callable[[dict[str, Any]], str], result: dict[str, Any]) -> str:
    """The page of a result, with the remark under its heading that someone wrote into the JSON."""
    heading, _, rest = page(result).partition("\n")
    remark = result.get("remark")
    return "\n".join([heading, f"\n{remark}", rest] if remark else [heading, rest])
