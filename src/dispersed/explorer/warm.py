"""Every program that the page may need, compiled before it is asked for."""

import dataclasses
import threading

from dispersed.explorer.digits import digit
from dispersed.explorer.landscape import DYNAMICS, picture, runs
from dispersed.explorer.places import places
from dispersed.explorer.scene import PROCESSES, SHAPES, Scene, read_scene
from dispersed.paper.digits.measure import DYNAMICS as DIGIT_DYNAMICS


def warm_up(ready: threading.Event) -> None:
    """Ask each question once, what is seen first at first; set `ready` when no more needs compiling."""
    scenes = []
    for kind, shapes in SHAPES.items():
        items = [{"shape": shape, "at": [0.5, 0.2], "reach": [0.3, 0.1]} for shape in shapes]
        scenes.append(read_scene({"kind": kind, "items": items, "level": {"sigma": 0.3}}))
    for scene in scenes:
        memory = scene.memory()
        picture(scene, memory, (0.0, 0.0), "displacement")
        picture(scene, memory, (0.0, 0.0), "score")
    _recall_by_all(scenes[0])
    for name in DIGIT_DYNAMICS:
        for missing in ([], [0]):
            digit({"index": 0, "alpha": 0.7, "dynamics": name, "missing": missing})
    for scene in scenes[1:]:
        _recall_by_all(scene)
    ready.set()


def _recall_by_all(scene: Scene) -> None:
    memory = scene.memory()
    places(scene, memory)
    for process in PROCESSES:
        runs(dataclasses.replace(scene, process=process), memory, (0.0, 0.0), list(DYNAMICS), 0)
