"""Time `defusion map`: against the network alone, and for growing numbers of photos.

    python -m tools.bench_map              # minutes: outputs/cpu/results/bench_map.json, and a table
    python -m tools.bench_map --photos 100 --growth 1000 10000 100000

Against the network: photos of 12 megapixels, as JPEG. The same process times the network alone on these photos before
and after the run that maps them, with contact sheets and gallery. Beside seconds the ratio of processor time is
stored: other programs on the same cores change it little.

Growing numbers: tiny pictures and a network of one parameter, in a new process each. So the time is that of files,
rows and pages, and the memory that of the rows.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tools.bench import in_a_process, peak, photograph

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 4000, 3000
TINY = 8  # pixels per side


def clocks(call: Callable[[], object]) -> np.ndarray:
    """Measure a call: seconds, and seconds of processor time."""
    begun = time.perf_counter(), time.process_time()
    call()
    return np.subtract((time.perf_counter(), time.process_time()), begun)


def against_the_network(folder: Path, count: int) -> dict[str, float]:
    """Map `count` photos of 12 megapixels in this process, and compare with the network alone."""
    import torch

    from defusion_lib.apps import photo_folder
    from defusion_lib.apps.photo_folder import mapping
    from defusion_lib.runs.run import THREADS
    from defusion_lib.weights import load_network, resolve

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(min(THREADS, cores))
    noise = np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH, 3))
    flower = Image.fromarray(photograph("640x427")).resize((WIDTH, HEIGHT))
    photo = Image.fromarray(np.clip(np.asarray(flower) + noise, 0, 255).astype(np.uint8))
    photos, into = folder / "photos", folder / "maps"
    photos.mkdir()
    for number in range(count):
        photo.save(photos / f"{number}.jpg", quality=92)
    network = load_network(resolve("shipped"), torch.device("cpu"))
    job = mapping.Job(network, 320, into)
    row = photo_folder.Row("0.jpg", "0.jpg_defocus.png")
    read = [mapping.read_photo(row, photos / "0.jpg", job, ours=True)]

    def alone():
        for _ in range(count):
            mapping.predict(read, job)

    def whole():
        found = photo_folder.map_folder(photos, network, into=into, progress=False)
        photo_folder.write_gallery(found.rows, photos, into)
        photo_folder.write_sheets(found.rows, into, progress=False)

    mapping.predict(read, job)
    before, mapped, after = clocks(alone), clocks(whole), clocks(alone)
    network_alone = (before + after) / 2
    return {
        "photos-12mp/defusion-map/cores": cores,
        "photos-12mp/defusion-map/photos": count,
        "photos-12mp/defusion-map/seconds": mapped[0],
        # Maps, previews, table, contact sheets and gallery.
        "photos-12mp/defusion-map/bytes": sum(path.stat().st_size for path in into.rglob("*") if path.is_file()),
        "photos-12mp/network/seconds": network_alone[0],
        "photos-12mp/defusion-map/ratio": mapped[0] / network_alone[0],
        "photos-12mp/defusion-map/processor-ratio": mapped[1] / network_alone[1],
        # 1 where the machine does the same work in the same time.
        "photos-12mp/network/after-to-before": after[0] / before[0],
    }


def growth(folder: Path, count: int) -> dict[str, float]:
    """Map `count` tiny pictures in this process; the bytes are those of table, journal and gallery."""
    import torch

    from defusion_lib.apps import photo_folder
    from defusion_lib.apps.photo_folder import gallery, table
    from defusion_lib.network import Maps

    class Grey(torch.nn.Module):
        """Take the mean of the colours as the map."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(8.0))

        def forward(self, photo: torch.Tensor) -> Maps:
            return Maps(self.scale * (photo.mean(dim=1, keepdim=True) - 0.5), [])

    torch.set_num_threads(1)
    photos, into = folder / "photos", folder / "maps"
    photos.mkdir()
    for number in range(count):
        pixels = np.full((TINY, TINY, 3), number % 256, np.uint8)
        Image.fromarray(pixels).save(photos / f"IMG_{number:06d}.png")
    written = {"table": 0, "gallery": 0}
    append = table.Journal.append

    def counting(name: str, whole: Callable) -> Callable:
        def write(path: Path, content: bytes) -> None:
            written[name] += len(content)
            whole(path, content)

        return write

    def appends(journal: table.Journal, row: table.Row) -> None:
        written["table"] += len(json.dumps(row)) + 1
        append(journal, row)

    table.write_atomically, gallery.write_atomically = (
        counting("table", table.write_atomically),
        counting("gallery", gallery.write_atomically),
    )
    table.Journal.append = appends  # type: ignore[method-assign]
    network, before = Grey(), peak()
    found: list = []
    first = clocks(lambda: found.append(photo_folder.map_folder(photos, network, 32, into, progress=False)))
    bytes_of_table = written["table"]
    again = clocks(lambda: photo_folder.map_folder(photos, network, 32, into, progress=False))
    page = clocks(lambda: photo_folder.write_gallery(found[0].rows, photos, into))
    return {
        f"tiny-{count}/defusion-map/seconds": first[0],
        f"tiny-{count}/defusion-map/processor-seconds": first[1],
        f"tiny-{count}/defusion-map/seconds-again": again[0],
        f"tiny-{count}/defusion-map/gallery-seconds": page[0],
        f"tiny-{count}/defusion-map/peak-mib-above-start": peak() - before,
        f"tiny-{count}/defusion-map/table-bytes-written": bytes_of_table,
        f"tiny-{count}/defusion-map/gallery-bytes": written["gallery"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=20, help="photos of 12 megapixels (20)")
    parser.add_argument("--growth", type=int, nargs="*", default=[1000, 10000], help="numbers of tiny pictures")
    parser.add_argument("--one", nargs=2, metavar=("WHICH", "COUNT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        which = {"network": against_the_network, "growth": growth}[given.one[0]]
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(which(Path(folder), int(given.one[1]))))
        return
    from defusion_lib.runs.run import Run

    parameters = {"profile": "cpu", "seed": 0, "photos": given.photos, "growth": given.growth}
    run = Run("bench_map", parameters, parameters)
    values = in_a_process(__spec__.name, "network", str(given.photos))
    for count in given.growth:
        values |= in_a_process(__spec__.name, "growth", str(count))
    run.results(values)
    for key, value in values.items():
        print(f"{key:55}{value:16,.2f}")


if __name__ == "__main__":
    main()
