#!/usr/bin/env python3
"""Fails when a room includes a header of a room it may not use (docs/architecture.md)."""
import pathlib
import re
import sys

ALL = None
MAY_USE = {
    "common": set(),
    "net": {"common"},
    "tensor": {"common"},
    "ps": {"common", "net", "tensor"},
    "collective": {"common", "net"},
    "data": {"common"},
    "model": {"common", "data", "tensor"},
    "mining": {"common", "data", "tensor", "model"},
    "scheduler": {"common", "net"},
    "bo_driver": {"common", "scheduler"},
    "worker": {"common", "net", "tensor", "ps", "collective", "data", "model", "scheduler"},
    "bench": ALL,
    "launch": ALL,
}
ALSO = {"bo_driver": {"model/architecture.h"}}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def main(root: pathlib.Path) -> int:
    failures = 0
    for room, allowed in MAY_USE.items():
        if allowed is ALL:
            continue
        for path in sorted((root / room).rglob("*")):
            if path.suffix not in {".h", ".cc", ".cu", ".cuh"}:
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                header = match.group(1)
                other = header.split("/")[0]
                if other == room or other not in MAY_USE or other in allowed or header in ALSO.get(room, ()):
                    continue
                print(f"{path.relative_to(root)}:{number}: {room}/ may not include {header}", file=sys.stderr)
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
