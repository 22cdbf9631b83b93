"""A page in, the picture that headless Chromium draws of it out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def photograph(html: str, folder: Path, *, width: int = 1000, height: int = 3000, dark: bool = False) -> NDArray[Any]:
    """(height, width, 3) from 0 to 255. Skips the test where no browser is, but never in continuous integration."""
    if _BROWSER is None:
        reason = "no Chromium on this machine; install the package chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    page, picture = folder / "page.html", folder / "page.png"
    page.write_text(html, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    subprocess.run(
        [_BROWSER, *options, f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return np.round(matplotlib.image.imread(picture)[..., :3] * 255).astype(np.uint8)


def share_of(colour: str, picture: NDArray[Any]) -> float:
    """Of the picture's points that have exactly this colour, as "#3b6fd4"."""
    return float((picture == list(bytes.fromhex(colour.removeprefix("#")))).all(axis=-1).mean())
