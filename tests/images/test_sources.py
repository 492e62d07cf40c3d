"""Where the machine's apt gets Debian from, read from what apt itself says."""

from __future__ import annotations

import pytest

from sandbox.imaging.sources import KEYRING, settings, sources


def asked(uri: str, release: str) -> str:
    return f"'{uri}/dists/{release}/InRelease' some_file_InRelease 0 \n"


def line(uri: str, release: str) -> str:
    return f"deb [signed-by={KEYRING}] {uri} {release} main"


MIRROR = "http://mirror.example/debian"


@pytest.mark.parametrize(
    ("said", "codename", "expected"),
    [
        pytest.param(
            asked(MIRROR, "bookworm") + asked(f"{MIRROR}-security", "bookworm-security"),
            "bookworm",
            (line(MIRROR, "bookworm"), line(f"{MIRROR}-security", "bookworm-security")),
            id="a mirror and its security updates",
        ),
        pytest.param(asked(f"{MIRROR}/", "bookworm"), "bookworm", (line(MIRROR, "bookworm"),), id="a slash"),
        pytest.param(
            asked(f"{MIRROR}/20250520T000000Z", "bookworm"),
            "bookworm",
            (line(f"{MIRROR}/20250520T000000Z", "bookworm"),),
            id="a moment of a snapshot",
        ),
        pytest.param(
            asked(MIRROR, "trixie"), "trixie", (line(MIRROR, "bookworm"),), id="a machine of a later Debian"
        ),
        pytest.param(
            asked(MIRROR, "bookworm") * 2, "bookworm", (line(MIRROR, "bookworm"),), id="each mirror once"
        ),
        pytest.param(asked(MIRROR, "bookworm-backports"), "bookworm", (), id="no backports"),
        pytest.param(
            asked("https://other.example/linux/debian", "bookworm"), "bookworm", (), id="others add to Debian"
        ),
        pytest.param(asked("https://apt.example/tools", "bookworm"), "bookworm", (), id="others with i"),
        pytest.param(asked("http://mirror.example/ubuntu", "noble"), "noble", (), id="not Debian"),
        pytest.param("", "", (), id="no apt at all"),
    ],
)
def test_sources(said: str, codename: str, expected: tuple[str, ...]) -> None:
    assert sources(said, codename, "bookworm") == expected


def test_only_how_mirrors_are_reached_is_taken_from_the_machine() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::CAInfo "/etc/ssl/own.pem";\n'
        'Acquire::Retries "3";\n'
        'Acquire::IndexTargets::deb::Packages::MetaKey "x";\n'
        'DPkg::Post-Invoke:: "rm -rf /";\n'
        'APT::Update::Post-Invoke-Success:: "/usr/bin/something";\n'
    )
    assert settings(dump).splitlines() == dump.splitlines()[:3]
