"""What a training tells whoever waits for it; nothing where no one is watching."""

import time

from dispersed.progress import bar


class TrainingProgress:
    """A bar on standard error with the loss, the distance from the exact denoiser and network-steps a second."""

    def __init__(self, title: str, steps: int, members: int, done: int) -> None:
        self.bar = bar("{task.fields[news]}")
        self.task = self.bar.add_task(title, total=steps, completed=done, news="compiling")
        self.members = members
        self.before, self.since = done, time.monotonic()

    def __enter__(self) -> "TrainingProgress":
        self.bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.bar.stop()

    def show(self, done: int, loss: float, gap: float | None) -> None:
        now = time.monotonic()
        rate = self.members * (done - self.before) / (now - self.since)
        self.before, self.since = done, now
        exact = "" if gap is None else f"gap to exact {gap:.3g}  "
        self.bar.update(self.task, completed=done, news=f"loss {loss:.4g}  {exact}{rate:,.0f} network-steps/s")
