"""A secret place is found under every name that mounts give it."""

from __future__ import annotations

import pytest

from sandbox.host.aliases import aliases

PLACES = {"/home/u/.ssh": "keys", "/root": "another user's home", "/etc": "configuration"}


def info(*mounts: str) -> str:
    """Lines of mountinfo from `device root point kind`."""
    words = (mount.split(" ") for mount in mounts)
    return "".join(
        f"{n} 1 {device} {root} {point} rw,relatime shared:1 - {kind} dev rw\n"
        for n, (device, root, point, kind) in enumerate(words, 20)
    )


ROOT = "8:1 / / ext4"
CASES = [
    pytest.param([ROOT, "0:20 / /mnt tmpfs"], {}, id="other file systems are no alias"),
    pytest.param(
        [ROOT, "8:1 /home/u /srv/h ext4"],
        {"/srv/h/.ssh": "keys"},
        id="a bind of the home",
    ),
    pytest.param([ROOT, "8:1 /root/x /srv/x ext4"], {"/srv/x": "another"}, id="a bind of a part of it"),
    pytest.param(
        [ROOT, "8:1 / /srv/all ext4"],
        {"/srv/all/home/u/.ssh": "keys", "/srv/all/root": "another", "/srv/all/etc": "configuration"},
        id="a bind of everything",
    ),
    pytest.param(
        ["8:1 /@ / btrfs", "8:1 /@home /home btrfs", "8:1 / /pool btrfs"],
        {"/pool/@home/u/.ssh": "keys", "/pool/@/root": "another", "/pool/@/etc": "configuration"},
        id="subvolumes",
    ),
    pytest.param([ROOT, "8:1 /home/user2 /srv/h ext4"], {}, id="a neighbour with the same prefix"),
    pytest.param([ROOT, "8:1 /home/u /srv/my\\040home ext4"], {"/srv/my home/.ssh": "keys"}, id="a space"),
    pytest.param([ROOT, "0:5 / /srv/jail/proc proc"], {"/srv/jail/proc": "processes"}, id="a procfs"),
    pytest.param([ROOT, "0:6 / /srv/jail/dev devtmpfs"], {"/srv/jail/dev": "devices"}, id="devices"),
    pytest.param([ROOT, "8:1 / / ext4"], {}, id="the root mounted over itself"),
]


@pytest.mark.threat("D1", proves="a bind of a secret place elsewhere is that secret place")
@pytest.mark.parametrize(("mounts", "expected"), CASES)
def test_aliases(mounts: list[str], expected: dict[str, str]) -> None:
    found = aliases(info(*mounts), PLACES)
    assert found.keys() == expected.keys()
    assert all(part in found[path] for path, part in expected.items())
