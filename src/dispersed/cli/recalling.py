"""What `dispersed recall` does: cues in, batch after batch, rows and states out."""

import contextlib
import csv
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.cli.terminal import say
from dispersed.dynamics import Dynamics, Recall, named, recall
from dispersed.dynamics.recall import chosen_dynamics
from dispersed.engines import Scanned
from dispersed.engines.choice import MANY
from dispersed.memories import PatternMemory
from dispersed.paper.results import Row, output_folder
from dispersed.processes import VE, VP
from dispersed.progress import track
from dispersed.reading import Source, open_source
from dispersed.storage import PatternStore, open_patterns
from dispersed.storage.npy import npy_header
from dispersed.validation import InputError, random_seed, whole_number

BATCH = 256
"""The number of cues recalled at once; one compiled program serves every batch."""
ENTRIES = 1 << 24
"""The number of their entries: of larger cues fewer are recalled at once."""
CERTAIN = 0.99
"""The probability above which the summary counts a recall as certain."""
MOST_STEPS = 100_000
MOST_ALTERNATIVES = 1000

Labels = Callable[[np.ndarray], list[Row]]
"""What is known of the rows of a source at some indices: labels, or the file."""


def recall_files(
    patterns: Path,
    cues: Path,
    out: Path,
    *,
    alpha: float | None,
    sigma: float | None,
    estimated: bool,
    process: str | None,
    dynamics: str | None,
    steps: int | None,
    missing: float | None,
    top: int | None,
    seed: int,
    reading: dict[str, Any],
) -> None:
    """Recall every cue of a file and write what was found into the folder `out`.

    `reading` are options of `dispersed.reading.open_source`.
    """
    random_seed(seed)
    if steps is not None:
        whole_number("steps", steps, 1, MOST_STEPS)
    if top is not None:
        whole_number("top", top, 1, MOST_ALTERNATIVES)
    if estimated and (alpha is not None or sigma is not None):
        raise InputError("estimate-sigma", "got a noise level beside it", "give one of --alpha, --sigma and this")
    rows, of_pattern, about_patterns = _stored(patterns, reading)
    memory = PatternMemory(rows, engine=Scanned() if dynamics == "certified" else None)
    chosen = _dynamics(dynamics, steps, memory)
    source = open_source(cues, "cues", **reading)
    (count, units), of_cue = source.shape, _names(source, "cue_file")
    stored = memory.held.shape[0]
    if units != memory.dimension:
        given = f"got {units} entries a cue for patterns of {memory.dimension}"
        raise InputError("cues", given, "cues and patterns of one size are accepted")
    if top is not None:
        top = min(top, stored)
    made_by = None if process is None else {"vp": VP, "ve": VE}[process]()
    size = min(BATCH, count, max(1, ENTRIES // units))
    key, summary = jax.random.key(seed), Summary()
    tables = ["recall"] if top is None else ["recall", "alternatives"]
    with _results(output_folder(out), (count, units), tables) as (states, table):
        for number, start in enumerate(track(range(0, count, size), "Recall")):
            places = np.arange(start, min(start + size, count))
            x, observed = _checked(source.read(start, start + len(places)), missing, start)
            filled = np.minimum(np.arange(size), len(places) - 1)  # the last batch, with copies
            result = recall(
                memory,
                x[filled],
                chosen,
                alpha=alpha,
                sigma=sigma,
                process=made_by,
                known=None if observed is None else observed[filled],
                key=jax.random.fold_in(key, number),
            )
            found = _rows(result, places, of_cue(places), of_pattern)
            summary.add(found)
            states.write(np.asarray(result.x[: len(places)], jnp.result_type(float)).tobytes())
            table["recall"].write(found)
            if top is not None:
                table["alternatives"].write(_alternatives(result, top, places, of_cue(places), of_pattern))
    say(f"Patterns {about_patterns()}")
    say(f"Cues {source.about()}")
    say(f"Recalled {count} cues of {units} units from {stored} patterns by {chosen!r}.")
    for line in summary.lines():
        say(line)
    say(f"Written: {out}/recalled.npy, {', '.join(f'{name}.json, {name}.csv' for name in tables)}")


def _dynamics(name: str | None, steps: int | None, memory: PatternMemory) -> Dynamics:
    """The dynamics of that name, or the memory's default, with so many steps."""
    default = chosen_dynamics(None, memory)
    if steps is None:
        return default if name is None else chosen_dynamics(named(name), memory)
    return type(default)(steps=steps) if name is None else chosen_dynamics(named(name, steps=steps), memory)


def _stored(path: Path, options: dict[str, Any]) -> tuple[Any, Labels, Callable[[], str]]:
    """Patterns as a `PatternMemory` takes them, what is known of each, and what is said of them all.

    Stores, .safetensors files and large .npy files of float32 and float16 are memory-mapped.
    """
    source = open_source(path, "patterns", **options)
    mapped: Any = None
    labels = _names(source, "file")
    if path.is_dir() and source.names is None:
        mapped = PatternStore.open(path)
        labels = mapped.metadata
    elif source.scale in (None, "none") and path.suffix.lower() in (".safetensors", ".npy"):
        with contextlib.suppress(InputError):  # of another type or order
            found = open_patterns(path)
            mapped = found if path.suffix.lower() == ".safetensors" or len(found) >= MANY else None
    if mapped is None:
        return source.all("patterns"), labels, source.about
    source.notes.append("memory-mapped")
    return mapped, labels, source.about


def _names(source: Source, column: str) -> Labels:
    """The file of each image; nothing of other sources."""
    names = source.names
    if names is None:
        return lambda places: [{}] * len(places)
    return lambda places: [{column: names[place]} for place in places]


def _checked(cues: np.ndarray, missing: float | None, start: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Cues with zeros where entries are missing, and which were observed."""
    observed = None
    if missing is not None:
        # The value as the file has it, in whose precision it may be another number.
        value = cues.dtype.type(missing) if cues.dtype.kind == "f" else missing
        observed = ~np.isnan(cues) if math.isnan(missing) else cues != value
        cues = np.where(observed, cues, 0)
    unusable = ~np.isfinite(cues).all(axis=1)
    if unusable.any():
        given = f"cue {start + int(unusable.argmax())} has NaN or infinite entries"
        raise InputError("cues", given, "finite numbers are accepted; --missing nan takes NaN for unobserved entries")
    return cues, observed


def _rows(result: Recall, places: np.ndarray, of_cue: list[Row], of_pattern: Labels) -> list[Row]:
    """One row a cue: what was recalled, how surely, how it ended, and its cost."""
    rows = result.rows()[: len(places)]
    labels = of_pattern(np.array([row["index"] for row in rows], dtype=int))
    more: dict[str, Any] = {}
    if result.certificate is not None:
        more["bound"] = result.certificate.bound
    if result.estimate is not None:
        level = result.estimate
        more |= {"sigma": level.sigma, "sigma_low": level.low, "sigma_high": level.high}
    values = {name: np.asarray(value).tolist() for name, value in more.items()}
    return [
        {"cue": int(place), **cue, "index": row["index"], **_apart(label, {*row, *values, *cue})}
        | {name: value for name, value in row.items() if name not in ("cue", "index")}
        | {name: value[i] for name, value in values.items()}
        for i, (place, cue, row, label) in enumerate(zip(places, of_cue, rows, labels, strict=True))
    ]


def _alternatives(result: Recall, k: int, places: np.ndarray, of_cue: list[Row], of_pattern: Labels) -> list[Row]:
    """One row a cue and pattern, the likeliest patterns first."""
    posterior = result.alternatives(k)
    index = np.asarray(posterior.index)[: len(places)]
    p = np.asarray(posterior.responsibilities, float)
    bound = None if posterior.bound is None else np.asarray(posterior.bound, float)
    labels = iter(of_pattern(index[index >= 0]))
    return [
        {"cue": int(places[i]), **of_cue[i], "rank": rank + 1, "index": int(j)}
        | _apart(next(labels), {"cue", "rank", "index", "probability", "bound", *of_cue[i]})
        | {"probability": float(p[i, rank])}
        | ({} if bound is None else {"bound": float(bound[i])})
        for i in range(len(places))
        for rank, j in enumerate(index[i])
        if j >= 0
    ]


def _apart(labels: Row, taken: set[str]) -> Row:
    """Labels under names that no other column has."""
    return {f"pattern_{name}" if name in taken else name: value for name, value in labels.items()}


class Summary:
    """What the rows of all batches say together."""

    def __init__(self) -> None:
        self.count, self.probability, self.certain = 0, 0.0, 0
        self.results: Counter[str] = Counter()
        self.least, self.most = math.inf, 0.0

    def add(self, rows: list[Row]) -> None:
        self.count += len(rows)
        self.probability += sum(row["probability"] for row in rows)
        self.certain += sum(row["probability"] > CERTAIN for row in rows)
        self.results.update(row["result"] for row in rows)
        levels = [row["sigma"] for row in rows if "sigma" in row]
        self.least, self.most = min([self.least, *levels]), max([self.most, *levels])

    def lines(self) -> Iterator[str]:
        if self.most > 0:
            yield f"Noise, estimated: σ is from {self.least:.3g} to {self.most:.3g}."
        yield (
            f"Certainty: p(index | cue) is {self.probability / self.count:.3f} on average, and above {CERTAIN} for "
            f"{self.certain / self.count:.1%} of the cues."
        )
        endings = {"converged": "converged", "certified": "are certified", "saddle": "stopped at a saddle"}
        endings |= {"cycle": "are on a cycle", "exhausted": "took all steps without converging"}
        told = [
            f"{self.results[name] / self.count:.1%} {words}" for name, words in endings.items() if self.results[name]
        ]
        yield f"Convergence: {', '.join(told)}."


class Table:
    """Rows that are written as they come, as .csv and as .json."""

    def __init__(self, csv_file: TextIO, json_file: TextIO) -> None:
        self.csv, self.json, self.empty = csv.writer(csv_file, lineterminator="\n"), json_file, True

    def write(self, rows: list[Row]) -> None:
        for row in rows:
            # JSON has no NaN and no infinity.
            plain = {name: None if _is_no_number(value) else value for name, value in row.items()}
            if self.empty:
                self.csv.writerow(plain)
            self.csv.writerow(plain.values())
            self.json.write("[\n" if self.empty else ",\n")
            self.json.write(json.dumps(plain, allow_nan=False, ensure_ascii=False))
            self.empty = False

    def end(self) -> None:
        self.json.write("[]\n" if self.empty else "\n]\n")


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


@contextlib.contextmanager
def _results(folder: Path, shape: tuple[int, int], names: list[str]) -> Iterator[tuple[BinaryIO, dict[str, Table]]]:
    """The file of recalled states, open behind its header, and the tables of these names.

    They are written beside the old ones and put in their place once all of them are complete.
    """
    dtype = np.dtype(jnp.result_type(float))
    for name in ["recalled.npy", *(f"{name}.{kind}" for name in names for kind in ("csv", "json"))]:
        if (folder / name).is_dir():  # found after the work is done, it would leave some results old and some new
            raise InputError("out", f"{str(folder / name)!r} is a folder", "a folder with room for files is accepted")
    try:
        with tempfile.TemporaryDirectory(prefix=".recall-", dir=folder) as temporary, contextlib.ExitStack() as stack:
            new = Path(temporary)
            states = stack.enter_context((new / "recalled.npy").open("wb"))
            states.write(npy_header(dtype, shape))
            files: dict[str, Any] = {"recalled.npy": states}
            for name in [f"{name}.{kind}" for name in names for kind in ("csv", "json")]:
                files[name] = stack.enter_context(
                    (new / name).open("w", encoding="utf-8", errors="backslashreplace", newline="")
                )
            tables = {name: Table(files[f"{name}.csv"], files[f"{name}.json"]) for name in names}
            yield states, tables
            for table in tables.values():
                table.end()
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            for name in files:
                (new / name).replace(folder / name)
            # Alternatives of other cues would be taken for those of these.
            for old in {"alternatives.csv", "alternatives.json"} - files.keys():
                (folder / old).unlink(missing_ok=True)
    except OSError as error:
        given = f"{str(error.filename or folder)!r} cannot be written ({error.strerror})"
        raise InputError("out", given, "a folder with room is accepted") from None
