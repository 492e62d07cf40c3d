"""What is measured of the Docker backend: our wrapper against `docker run` of the same image and server.

Warm means that a spare holder waits, as it does while another session of the user is alive: one session is
kept open beside all that is measured, and every warm start first waits for its spare. Cold starts have a
state of their own, in which no session lives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmark import memory
from benchmark.client import Client, Failed
from benchmark.subjects import EVERYTHING, HERE, Subject, everything_entry

PATH = "/usr/bin:/bin"
"""Of what is measured: a command that is no system's program would be taken from this machine."""
END_S = 10.0
"""A container takes tenths of a second to end, and is not to end within the next one's start."""
SPARE_S = 20.0
_TREE = "/srv/bench"
_LOOK_S = 0.005
_CALL_S = 30.0


def docker() -> str:
    """The command line program whose `run` is the measure."""
    found = shutil.which("docker")
    if found is None:
        raise Failed("no `docker` on the PATH: there is nothing to compare with")
    return found


def tags(program: str) -> dict[str, str]:
    """The tag of each of our images, by the program that is measured."""
    listed = json.loads(said(program, "image", "list", "--json"))["images"]
    return {one["name"]: one["tag"] for one in listed}


def engine() -> dict[str, str]:
    """What the numbers depend on besides the machine."""
    form = "{{.Client.Version}} {{.Server.Version}}"
    client, server = said(docker(), "version", "--format", form).split()
    return {"cli": client, "engine": server}


def said(*argv: str) -> str:
    """What a command that must succeed writes on stdout."""
    try:
        done = subprocess.run(  # noqa: S603 - ours and the docker command line's
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv[0]} did not end within {_CALL_S:.0f} s") from None
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


# --- the servers -----------------------------------------------------------------------------------


def subjects(program: str, scratch: str, *, real: bool) -> list[Subject]:
    """The echo servers, each in its own image, and where `real` a server that people run."""
    known = tags(program)
    found = [
        _subject(
            "echo-python",
            program,
            scratch,
            known["python"],
            str(HERE),
            ("python3", "-I", f"{HERE}/echo_server.py"),
        ),
        _subject("echo-node", program, scratch, known["node"], str(HERE), ("node", f"{HERE}/echo_server.js")),
    ]
    if real and shutil.which("npm"):
        entry = everything_entry()
        tree = str(entry).partition(f"/node_modules/{EVERYTHING}")[0]
        found.append(
            _subject("everything", program, scratch, known["node"], tree, ("node", str(entry), "stdio"))
        )
    return found


def _subject(
    name: str, program: str, scratch: str, image: str, tree: str, server: tuple[str, ...]
) -> Subject:
    # The image's user may enter no home of this machine's, which is where a tree may lie.
    mounted = ("-v", f"{tree}:{_TREE}:ro", image, *(word.replace(tree, _TREE) for word in server))
    wrapped = (program, "run", "--backend", "docker", "--", *server)
    variants = {
        "bare": (docker(), "run", "-i", "--rm", "--network", "none", *mounted),
        "wrapped": wrapped,
        "wrapped-cold": ("env", f"XDG_STATE_HOME={scratch}/cold", *wrapped),
    }
    return Subject(name, "echo", {}, variants, ended_s=END_S, held=held)


# --- the neighbour ---------------------------------------------------------------------------------


@contextmanager
def neighbour(
    subject: Subject, environ: Mapping[str, str], cwd: str
) -> Iterator[Callable[[Subject], Subject]]:
    """While another session of `subject` lives; gives what makes a subject's warm starts wait for a spare."""
    client = Client(subject.variants["wrapped"], environ, cwd, END_S)
    try:
        folder = Path(environ["XDG_STATE_HOME"], "mcp-sandbox", "holders")
        yield lambda one: replace(one, before={"wrapped": lambda: wait_for_spare(folder)})
    finally:
        client.end()


def wait_for_spare(folder: Path) -> None:
    """Returns once a spare holder lies in `folder` for whoever starts next."""
    until = time.monotonic() + SPARE_S
    while not spares(folder):
        if time.monotonic() > until:
            raise Failed(f"no spare holder within {SPARE_S:.0f} s: no start would be warm")
        time.sleep(_LOOK_S)


def spares(folder: Path) -> list[str]:
    """The spares in `folder`; what is being made has a name that begins with a dot."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except FileNotFoundError:
        return []


# --- memory ----------------------------------------------------------------------------------------


def held(wrapper: int) -> memory.Held:
    """Our processes of one session, and those in the container that holds its network."""
    return memory.summed({**memory.processes(wrapper), **_holder(wrapper)})


def _holder(wrapper: int) -> dict[str, int]:
    """Asked by its lease: what others run there may be gone before one could look at it."""
    form = '{{.ID}} {{.Label "io.mcp-sandbox.lease"}}'
    role = "label=io.mcp-sandbox.role=server"
    for row in said(docker(), "ps", "--no-trunc", "--filter", role, "--format", form).splitlines():
        server, _, lease = row.partition(" ")
        if lease.startswith(f"{wrapper}~"):
            network = _inspected("{{.HostConfig.NetworkMode}}", server)
            return {"holder": int(_inspected("{{.State.Pid}}", network.partition(":")[2]))}
    raise Failed(f"the engine knows no server of process {wrapper}")


def _inspected(form: str, container: str) -> str:
    return said(docker(), "inspect", "--format", form, container).strip()
