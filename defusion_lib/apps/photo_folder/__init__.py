"""Map photos: one defocus map per photo, a table with verdicts, contact sheets, and a gallery for a browser.

`files` lists photos and names their maps, `mapping` computes and writes one map, `run` maps many and resumes, `shards`
splits a folder over several runs and joins their tables, `table` holds the rows, `sheets` and `gallery` show them.
`example` and `tiles` are what notebook 13 shows.
"""

from defusion_lib.apps.photo_folder.example import write_example
from defusion_lib.apps.photo_folder.files import count_skipped, default_folder, list_photos, map_names, printable
from defusion_lib.apps.photo_folder.gallery import write_gallery
from defusion_lib.apps.photo_folder.run import FolderReport, map_folder, merge
from defusion_lib.apps.photo_folder.shards import Shard, parse_shard
from defusion_lib.apps.photo_folder.sheets import contact_sheet, write_sheets
from defusion_lib.apps.photo_folder.table import NUMBERS, TABLE, Row, read_table
from defusion_lib.apps.photo_folder.tiles import compare_tiles, draw_tiles

__all__ = [
    "NUMBERS",
    "TABLE",
    "FolderReport",
    "Row",
    "Shard",
    "compare_tiles",
    "contact_sheet",
    "count_skipped",
    "default_folder",
    "draw_tiles",
    "list_photos",
    "map_folder",
    "map_names",
    "merge",
    "parse_shard",
    "printable",
    "read_table",
    "write_example",
    "write_gallery",
    "write_sheets",
]
