"""Whether a built extension fits its C++ sources: run by CMake as a script, imported by glm4v.ops and the doctor."""

import hashlib
import sys
from pathlib import Path

BUILD_COMMAND = "pip install -e . --no-build-isolation"


def source_hash(root: Path) -> str:
    """First 16 hex digits of the SHA-256 over names and contents of CMakeLists.txt and csrc/ below `root`."""
    digest = hashlib.sha256()
    sources = sorted(path for path in (root / "csrc").rglob("*") if path.is_file())
    for path in [root / "CMakeLists.txt", *sources]:
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def is_stale(built_from: str) -> bool:
    """Whether sources stand beside the package (an editable install) whose hash is another than `built_from`."""
    root = Path(__file__).parents[1]
    return (root / "csrc").is_dir() and source_hash(root) != built_from


if __name__ == "__main__":
    print(source_hash(Path(sys.argv[1])))
