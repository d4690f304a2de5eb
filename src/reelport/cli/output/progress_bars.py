"""Progress bars at the foot of a terminal: one line for each report, one for a whole range."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TimeElapsedColumn
from rich.text import Text

_BAR = 20


class ProgressBars:
    """Progress lines by name; `stop` removes them."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(SpinnerColumn(), _TextWithBar(), TimeElapsedColumn(), console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def start(self, text: str) -> None:
        """Show the first line."""
        self.show("", text)
        self._progress.start()

    def stop(self) -> None:
        """Remove all lines."""
        self._progress.stop()

    def show(self, name: str, text: str) -> None:
        """Show a text on the line of this name."""
        self._progress.update(self._task(name), description=text, completed=0, total=None)

    def fill(self, name: str, text: str, done: float, total: float | None, amounts: str) -> None:
        """Show a text with a bar and amounts on the line of this name."""
        self._progress.update(self._task(name), description=text, completed=done, total=total, amounts=amounts)

    def end(self, name: str) -> None:
        """Remove one line."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", total=None, amounts="")
        return self._tasks[name]


class _TextWithBar(ProgressColumn):
    """A text, and a bar once the total is known, in one column, so that a text may fill it."""

    def render(self, task: Task) -> Text:
        text = Text(task.description, no_wrap=True, overflow="ellipsis")
        if task.total:
            filled = round(min(task.completed / task.total, 1) * _BAR)
            text.append(" ").append("━" * filled, "green").append("━" * (_BAR - filled), "bright_black")
        return text.append(f" {task.fields['amounts']}") if task.completed or task.total else text
