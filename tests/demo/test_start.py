"""`shuidian demo` as people start it: a real process, its page, its child, and its end."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]


@dataclass
class Demo:
    """A running demo."""

    process: subprocess.Popen[bytes]
    page: str
    page_seconds: float

    def ask(self, path: str, **body: object) -> Any:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.page}/play/api/{path}", data)  # noqa: S310 (loopback)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (loopback)
            return json.load(answer)

    def children(self) -> list[int]:
        """Return the ids of the service's processes."""
        pid = self.process.pid
        listed = subprocess.run(  # noqa: S603 (any ps)
            ["ps", "-o", "pid=,args=", "--ppid", str(pid)],  # noqa: S607 (any ps)
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if "bot.cli serve" in line]


def until(good: Callable[[], Any], *, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := good()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.1)
    return found


def start(state: Path) -> Demo:
    begun = time.monotonic()
    said = state.with_suffix(".out")
    with said.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-m", "bot.cli", "demo", "--port", "0", "--state", str(state)],
            cwd=PROJECT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    RUNNING.append(process.pid)
    until(lambda: "\n" in said.read_text() or process.poll() is not None, seconds=60)
    assert process.poll() is None, said.read_text()
    demo = Demo(process, said.read_text().splitlines()[0].split()[-1], 0)
    demo.ask("state")
    demo.page_seconds = time.monotonic() - begun
    return demo


def greeted(demo: Demo) -> bool:
    chats = demo.ask("state")["chats"].values()
    return len(chats) == 5 and all(
        any(not message["out"] for message in chat["messages"]) for chat in chats
    )


def processes_of(state: Path) -> list[str]:
    """Return the commands of all processes that work for a state directory."""
    pointer = state / "postgres-home"
    homes = [str(state), *(pointer.read_text().split() if pointer.exists() else [])]
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True)  # noqa: S607 (any ps)
    return [line for line in listed.stdout.splitlines() if any(home in line for home in homes)]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "水电 demo"
    for pid in RUNNING:
        with_group(pid, signal.SIGKILL)
    RUNNING.clear()


RUNNING: list[int] = []


def with_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


@pytest.mark.timeout(300)
def test_demo_starts_survives_and_ends(state: Path) -> None:
    demo = start(state)
    until(lambda: greeted(demo), seconds=90)
    (child,) = demo.children()

    os.kill(child, signal.SIGKILL)
    until(lambda: [pid for pid in demo.children() if pid != child], seconds=30)
    (chat, *_) = demo.ask("state")["chats"]
    said = len(demo.ask("state")["chats"][chat]["messages"])
    demo.ask(f"people/{chat}/say", text="/help")
    until(lambda: len(demo.ask("state")["chats"][chat]["messages"]) >= said + 2, seconds=60)

    begun = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=30) == 0
    assert time.monotonic() - begun < 15
    assert processes_of(state) == []

    again = start(state)
    assert again.page == demo.page
    assert again.page_seconds < 15  # five seconds on a machine that has nothing else to do
    until(lambda: again.ask("panel")["clock"], seconds=60)
    (child,) = until(again.children, seconds=30)
    again.process.kill()
    again.process.wait()
    until(lambda: not Path(f"/proc/{child}").exists(), seconds=30)
    until(lambda: processes_of(state) == [], seconds=30)


def test_second_demo_in_the_same_place_says_so(state: Path) -> None:
    demo = start(state)

    second = subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, "-m", "bot.cli", "demo", "--state", str(state)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert "already" in second.stderr

    demo.process.send_signal(signal.SIGTERM)  # in the middle of its first start
    assert demo.process.wait(timeout=30) == 0
    assert processes_of(state) == []
