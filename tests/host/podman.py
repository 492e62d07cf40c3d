"""Podman's service on a socket of the test's own, with a storage of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 30
IDLE_S = 120
"""After that the service ends by itself: a test that is killed leaves none."""


@contextmanager
def podman() -> Iterator[str]:
    """The service's address, for this caller: with root or rootless; nothing of it stays."""
    # Podman takes no path of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-") as name:
        folder = Path(name)
        # The overlay driver leaves a mount behind. crun refuses the hybrid cgroups that some machines have.
        storage = ["--storage-driver=vfs", f"--root={folder}/root", f"--runroot={folder}/run"]
        argv = ["podman", *storage, "--runtime=runc", "system", "service", f"--time={IDLE_S}"]
        environ = {**os.environ, "XDG_RUNTIME_DIR": name}
        place = f"unix://{folder}/podman.sock"
        service = subprocess.Popen([*argv, place], env=environ, start_new_session=True)
        try:
            _await(folder / "podman.sock", service)
            yield place
        finally:
            _end(service)
            # What a rootless Podman stores belongs to uids of its own namespace.
            away = ["podman", "unshare"] if os.geteuid() else []
            remove = [*away, "rm", "-rf", f"{folder}/root", f"{folder}/run"]
            subprocess.run(remove, env=environ, timeout=PATIENCE_S)
            _end_namespace(folder / "libpod/tmp/pause.pid")


def _await(socket: Path, service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not socket.exists():
        assert service.poll() is None, "Podman's service has ended"
        assert time.monotonic() < deadline, "Podman's service does not listen"
        time.sleep(0.05)


def _end(service: subprocess.Popen[bytes]) -> None:
    if service.poll() is None:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait(PATIENCE_S)


def _end_namespace(pause: Path) -> None:
    """Ends the process that keeps a rootless Podman's user namespace, where there is one."""
    if pause.exists():
        os.kill(int(pause.read_text()), signal.SIGKILL)
