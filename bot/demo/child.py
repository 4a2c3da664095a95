"""The service as a child process: started, started again when it dies, stopped."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

import bot
from bot.settings import Settings

log = structlog.get_logger()

PATIENCE_SECONDS = 8
BACK_OFF_SECONDS = (0.2, 1, 3, 10)
LIVED_SECONDS = 20  # whoever lived this long had started well


class Child:
    """`shuidian serve` in a process of its own, which ends when this one does."""

    def __init__(self, settings: Settings, *, log: Path) -> None:
        self._settings = settings
        self._log = log
        self.process: asyncio.subprocess.Process | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the service alive until the block ends."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            await self._stop()

    def kill(self) -> None:
        """End the service as a power cut would; it is started again."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def _keep(self) -> None:
        failures = 0
        while True:
            begun = time.monotonic()
            await self._start()
            assert self.process is not None  # noqa: S101 (just started)
            code = await self.process.wait()
            log.warning("service.ended", code=code, see=str(self._log))
            failures = 0 if time.monotonic() - begun > LIVED_SECONDS else failures + 1
            await asyncio.sleep(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])

    async def _start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot.cli", "serve", "--until-stdin-ends"),
                cwd=Path(bot.__file__).parents[1],
                env=self._settings.as_environment(),
                # The kernel closes the pipe when this process dies, however it dies.
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who stop it in order
            )

    async def _stop(self) -> None:
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            self.kill()
            await process.wait()
