"""The hash of the C++ sources that a built extension carries; run by CMake as a script, imported by glm4v.ops."""

import hashlib
import sys
from pathlib import Path


def source_hash(root: Path) -> str:
    """First 16 hex digits of the SHA-256 over names and contents of CMakeLists.txt and csrc/ below `root`."""
    digest = hashlib.sha256()
    sources = sorted(path for path in (root / "csrc").rglob("*") if path.is_file())
    for path in [root / "CMakeLists.txt", *sources]:
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    print(source_hash(Path(sys.argv[1])))
