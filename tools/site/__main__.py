"""Build the site into a folder: python -m tools.site [build/site].

Nothing is executed: the pages show the stored outputs. A broken link, a page that loads something from a network, or
one of more than 3 MB ends the build with exit code 1. Where npm is missing, the page of the detector says so, and all
others are built.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from defusion_lib.paths import display_path, project_root
from tools.site import check, detector, ledger, pages, paper_index


def build(root: Path, folder: Path) -> list[str]:
    """Build the site, and return what is wrong with it, one sentence each."""
    found = pages.broken(root)
    if found:
        return found
    work = folder.with_name(f"{folder.name}-work")
    pages.stage(root, work / "pages")
    paper_index.write(root, work / "pages")
    ledger.write(root, work / "pages")
    missing = detector.write(root, work / "pages", work / "detector")
    shutil.rmtree(folder, ignore_errors=True)
    options = ["-b", "html", "-W", "--keep-going", "-q", "-c", str(Path(__file__).parent), "-d", str(work / "doctrees")]
    done = subprocess.run([sys.executable, "-m", "sphinx", *options, str(work / "pages"), str(folder)])
    if done.returncode:
        return ["Sphinx found the errors above."]
    if missing:
        print(f"The site has no detector: {missing}", file=sys.stderr)
    else:
        shutil.copytree(work / "detector", folder / "_static/detector")
    return check.problems(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=project_root() / "build/site", help="replaced if it exists"
    )
    folder = parser.parse_args().folder.absolute()
    found = build(project_root(), folder)
    if found:
        sys.exit("\n".join(found))
    print(f"Open {display_path(folder / 'index.html')} in a browser.")


if __name__ == "__main__":
    main()
