"""`defusion data`: what a copy of a data set holds."""

from collections import Counter
from typing import Any

import click

from defusion_lib.apps.cli.terminal import finish, json_option, report

SHOWN = 20  # files with the same problem that are named; --json names all


@click.group()
def data() -> None:
    """Check copies of data sets.

    \b
    Example:
      defusion data check data/shi
    """


@data.command()
@click.argument("root", type=click.Path(exists=True, file_okay=False))
@json_option
def check(root: str, as_json: bool) -> None:
    """Tell which data set is in the folder ROOT, and whether it is whole.

    Recognises Shi's set, SZU-BD, DUT, CTCUG, and a folder of your own photos with a folder masks. Reads every file, and
    compares Shi's photos and masks with their SHA-256. What white means in the masks comes from the manifest, or from
    comparing masks with photos: the blurred part holds less detail.

    \b
    Examples:
      defusion data check data/shi          a copy of Shi's set, in any of its layouts
      defusion data check BD_EFPN           a clone of the public repository: Shi's set and SZU-BD
      defusion data check my_data --json    photos and masks of your own; the result for a program

    Exit codes: 0 whole, 1 something is missing, broken or different and is named, 2 there is no data set.
    """
    from dataclasses import asdict

    from defusion_lib.data.check import check_data

    checks = check_data(root)
    result = {"root": root, "datasets": [asdict(each) | {"whole": each.whole} for each in checks]}
    report(result, "\n\n".join(map(_text, checks)), as_json)
    finish({name: problem for each in checks for name, problem in _shortened(each.problems).items()})


def _text(check: Any) -> str:
    expected = "" if check.expected is None else f" of {check.expected}"
    white = {"blurred": "white = blurred", "focus": "white = in focus", "": "not clear what white means"}[check.white]
    problems = f"no: {len(check.problems)} problem{'s' * (len(check.problems) > 1)}"
    lines = [
        f"{check.dataset}: {check.title}",
        f"  photos  {check.photos}{expected}",
        *[f"  part    {part}: {count}" for part, count in check.parts.items()],
        f"  masks   {white} ({check.evidence})",
        f"  whole   {'yes' if check.whole else problems}",
    ]
    return "\n".join(lines + [f"  note    {note}" for note in check.notes])


def _shortened(problems: dict[str, str]) -> dict[str, str]:
    """Keep the first `SHOWN` of the files that have the same problem."""
    kept: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for name, problem in problems.items():
        seen[problem] += 1
        if seen[problem] <= SHOWN:
            kept[name] = problem
    return kept | {
        f"and {count - SHOWN} more ({problem})": "see --json" for problem, count in seen.items() if count > SHOWN
    }
