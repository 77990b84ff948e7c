"""Pages of images: sampling, models, foreign images."""

from __future__ import annotations

from typing import Any


def pixelcnn_page(result: dict[str, Any]) -> str:
    """Seconds of both ways to sample, and their ratio."""
    lines = [
        "## Sampling of PixelCNN\n",
        (
            f"Measured by `python -m benchmarks pixelcnn --threads {result['threads']} --repeats "
            f"{result['repeats']}`: 16 images of 28x28, 7 layers of 64 channels, random weights; "
            "each pixel computed once, and 784 passes over the whole images with the same "
            "generator.\n"
        ),
        "| levels | each pixel once, seconds | full passes, seconds | ratio | equal pixels |",
        "| --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        fast, slow = cell["seconds"], cell["full_pass_seconds"]
        row = [str(cell["n_levels"]), f"{fast:.3f}", f"{slow:.1f}", f"{slow / fast:.0f}"]
        lines.append("| " + " | ".join([*row, f"{cell['share_equal']:.2%}"]) + " |")
    return "\n".join(lines) + "\n"


# What each task of images is measured by, and what the papers or plain chance say.
_IMAGE_NOTES = {
    "binarized": "MADE 86.64 (Germain 2015), PixelCNN 81.30 (van den Oord 2016a), in nats",
    "glow": "Glow 1.05 bits (Kingma 2018)",
    "realnvp": "RealNVP 1.06 bits (as reported beside Glow)",
    "cifar pixelcnn": "on all 50,000 images: PixelCNN 3.14, gated 3.03 bits",
    "cifar glow": "on all 50,000 images: Glow 3.35, RealNVP 3.49 bits",
}

# Of those, the figure of the model at hand: what it is called here, its unit, and the value.
PUBLISHED = {
    "binarized": ("test nats", "nats", 81.30),
    "glow": ("bits per dimension", "bits", 1.05),
    "realnvp": ("bits per dimension", "bits", 1.06),
    "cifar pixelcnn": ("bits per dimension", "bits", 3.14),
    "cifar glow": ("bits per dimension", "bits", 3.35),
}

_IMAGE_PICTURES = {  # which the command draws into its folder, and docs/pictures keeps
    "binarized": {"binarized": "samples", "completions": "the lower half filled in"},
    "classes": {
        "classes": "samples of each class",
        "classes_guided": "samples of each class, guided by 2",
    },
    "glow": {"glow": "samples of each class", "translation": "threes, as eights, and back"},
    "realnvp": {"realnvp": "samples"},
    "super": {"super_resolution": "small images, drawn large, and true"},
}


def images_page(result: dict[str, Any]) -> str:
    """What each model of images reached, at which cost."""
    lines = [
        "## Images\n",
        (
            "Measured by `python -m benchmarks images`, one command a task, on test images that "
            "no fit saw. By default a step takes 8 of these images now; rows with 32 were measured "
            "before that. Seconds are those of one processor, whatever the number of threads; "
            "processors differ from row to row.\n"
        ),
        "| task | model | images | a step | epochs | CPU seconds | found | published |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        found = "; ".join(f"{key}: {value:.4g}" for key, value in cell["found"].items())
        if "remark" in cell:  # what sets the figures apart from those of the present code
            found += f" ({cell['remark']})"
        row = [
            cell["task"],
            f"`{' '.join(cell['model'].split())}`",
            *(str(cell[name]) for name in ("n_rows", "images_a_step", "epochs")),
        ]
        seconds = f"{cell['cpu_seconds']:.0f}"
        if cell.get("is_resumed"):
            seconds = f"{cell['seconds']:.0f} by the wall, from a checkpoint"
        row += [seconds, found, _IMAGE_NOTES.get(cell["task"], "")]
        lines.append("| " + " | ".join(row) + " |")
    for task in dict.fromkeys(cell["task"] for cell in result["cells"]):
        for name, title in _IMAGE_PICTURES.get(task, {}).items():
            lines += ["", f"![{task}: {title}](../pictures/{name}.png)"]
    return "\n".join(lines) + "\n"


def foreign_page(result: dict[str, Any]) -> str:
    """AUROC of each score against each foreign set of images."""
    cells = result["cells"]
    scores = list(dict.fromkeys(cell["score"] for cell in cells))
    lines = [
        "## Foreign images\n",
        (
            f"Measured by `python -m benchmarks foreign --n-train {result['n_train']} --epochs "
            f"{result['max_epochs']}`: AUROC of the scores of `AnomalyDetector` over "
            "PixelCNNs of so many training images, held-out images against foreign ones, in 256 "
            "levels of grey. The "
            "background of the ratio learns from the image at hand alone; that of the "
            "orientation is the model itself, over the other ways of turning an image.\n"
        ),
        "| trained on | foreign | " + " | ".join(scores) + " |",
        "| --- | --- | " + " | ".join("---" for _ in scores) + " |",
    ]
    for pair in dict.fromkeys((cell["trained_on"], cell["foreign"]) for cell in cells):
        own = {c["score"]: c for c in cells if (c["trained_on"], c["foreign"]) == pair}
        found = " | ".join(f"{own[score]['auroc']:.3f}" for score in scores)
        n_seen = next(iter(own.values()))["n_seen"]
        lines.append(f"| {pair[0]} ({n_seen}) | {pair[1]} | {found} |")
    return "\n".join(lines) + "\n"
