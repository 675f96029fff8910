"""What a wheel and a source distribution contain: all that git tracks of the package, the licence, and nothing else.

python .ci/contents.py dist/fer_cli-….whl dist/fer_cli-….tar.gz
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(wheel: Path, source: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "fer_cli"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.split("\n")) - {""}
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
    own = {name for name in names if ".dist-info/" not in name}
    with tarfile.open(source) as file:
        sources = {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()}
    faults = [
        *(f"{wheel.name} lacks {name}" for name in sorted(tracked - own)),
        *(f"{wheel.name} has {name}, which is not tracked" for name in sorted(own - tracked)),
        *(f"{source.name} lacks {name}" for name in sorted(tracked - sources)),
        *(f"{source.name} has {name}" for name in sorted(sources) if name.startswith(("shared/", ".venv/", "data/"))),
    ]
    if not any(name.endswith("licenses/LICENSE") for name in names):
        faults.append(f"{wheel.name} lacks the licence")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{wheel.name}: {len(own)} files of {len(tracked)} tracked; {source.name}: {len(sources)} files")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
