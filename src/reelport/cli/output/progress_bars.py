"""Lines at the foot of a terminal that move while something goes on: one for each report, one for a whole range."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TimeElapsedColumn
from rich.text import Text

_BAR = 20


class Bars:
    """The moving lines of a terminal, by name; they go when `stop` is called."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(SpinnerColumn(), _What(), TimeElapsedColumn(), console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def start(self, text: str) -> None:
        """Begin with one line."""
        self.show("", text)
        self._progress.start()

    def stop(self) -> None:
        """Take all lines away."""
        self._progress.stop()

    def show(self, name: str, text: str) -> None:
        """Say on a line of this name what goes on."""
        self._progress.update(self._task(name), description=text, completed=0, total=None)

    def fill(self, name: str, text: str, done: float, total: float | None, amounts: str) -> None:
        """The same with a bar, and the amounts as words."""
        self._progress.update(self._task(name), description=text, completed=done, total=total, amounts=amounts)

    def end(self, name: str) -> None:
        """Take one line away."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", total=None, amounts="")
        return self._tasks[name]


class _What(ProgressColumn):
    """What goes on, and a bar once it can be measured: in one column, so that a line without a bar has its room."""

    def render(self, task: Task) -> Text:
        text = Text(task.description, no_wrap=True, overflow="ellipsis")
        if task.total:
            filled = round(min(task.completed / task.total, 1) * _BAR)
            text.append(" ").append("━" * filled, "green").append("━" * (_BAR - filled), "bright_black")
        return text.append(f" {task.fields['amounts']}") if task.completed or task.total else text
