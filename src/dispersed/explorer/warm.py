"""The programs that the page needs first, compiled before they are needed."""

import threading

from dispersed.explorer.attractors import attractors
from dispersed.explorer.digits import digit
from dispersed.explorer.landscape import DYNAMICS, picture, runs
from dispersed.explorer.memory import confine
from dispersed.explorer.scene import read_scene
from dispersed.explorer.work import always


def warm_up(ready: threading.Event) -> None:
    """Answer each question about points and digits once; then set `ready`.

    All programs of all kinds would take two gigabytes: those of other kinds are compiled when they are chosen.
    """
    items = [{"shape": "pattern", "at": [0.5, 0.2]}]
    scene = read_scene({"kind": "points", "items": items, "level": {"sigma": 0.3}})
    memory = scene.memory()
    picture(scene, memory, (0.0, 0.0), "displacement")
    runs(scene, memory, (0.0, 0.0), list(DYNAMICS), 0, always)
    attractors(scene, memory, always)
    for missing in ([], [0]):
        digit({"index": 0, "alpha": 0.7, "missing": missing}, always)
    confine()
    ready.set()
