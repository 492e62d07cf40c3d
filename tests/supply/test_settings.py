"""Registry, proxy, CA and token settings reach the build; nothing else of the user's does."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.supply import settings
from sandbox.supply.job import CONFIG


@pytest.mark.parametrize(
    "name",
    [
        "npm_config_registry",
        "NPM_CONFIG_REGISTRY",
        "npm_config_@acme:registry",
        "npm_config_//r.test/:_authToken",
        "npm_config_cafile",
        "NPM_TOKEN",
        "HTTPS_PROXY",
        "no_proxy",
        "NODE_EXTRA_CA_CERTS",
    ],
)
def test_npm_gets_the_variables_of_its_registry(name: str, tmp_path: Path) -> None:
    assert (name, "v") in settings.npm({"HOME": str(tmp_path), name: "v"}, prefix="/none").env


@pytest.mark.parametrize(
    "name",
    [
        "UV_INDEX_URL",
        "UV_INDEX_ACME_PASSWORD",
        "UV_DEFAULT_INDEX",
        "PIP_INDEX_URL",
        "SSL_CERT_FILE",
        "https_proxy",
    ],
)
def test_pypi_gets_the_variables_of_its_index(name: str, tmp_path: Path) -> None:
    assert (name, "https://r.test/") in settings.pypi(
        {"HOME": str(tmp_path), name: "https://r.test/"}, ()
    ).env


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_AUTH_SOCK",
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "npm_config_script_shell",
        "npm_config_ignore_scripts",
        "npm_config_prefix",
        "npm_config_cache",
        "UV_CACHE_DIR",
        "UV_CONFIG_FILE",
        "PIP_TARGET",
        "MY_REGISTRY",
    ],
)
def test_no_other_variable_passes(name: str, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), name: "v"}
    for found in (
        settings.npm(environ, prefix="/none"),
        settings.pypi(environ, ()),
        settings.without_logins(environ),
    ):
        assert name not in dict(found.env)


def test_npmrc_comes_as_a_file_and_the_variables_it_names_with_it(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("//r.test/:_authToken=${ACME}\nalways=${ODD?}\n")
    (tmp_path / "node/etc").mkdir(parents=True)
    (tmp_path / "node/etc/npmrc").write_text("registry=https://r.test/\n")
    environ = {"HOME": str(tmp_path), "ACME": "a", "ODD": "o", "OTHER": "x"}
    found = settings.npm(environ, prefix=f"{tmp_path}/node")
    files, env = dict(found.files), dict(found.env)
    assert b"_authToken=${ACME}" in files[f"{CONFIG}/npmrc"]
    assert files[f"{CONFIG}/global-npmrc"] == b"registry=https://r.test/\n"
    assert (env["ACME"], env["ODD"]) == ("a", "o")
    assert "OTHER" not in env
    assert env["npm_config_userconfig"] == f"{CONFIG}/npmrc"


def test_local_indexes_and_certificates_that_settings_name_are_mounted(tmp_path: Path) -> None:
    for name in ("wheels", "index/simple", "more", "given", "missed"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ca.pem").write_text("ca")
    (tmp_path / ".config/uv").mkdir(parents=True)
    (tmp_path / ".config/uv/uv.toml").write_text(
        f'find-links = ["{tmp_path}/wheels"]\n[[index]]\nurl = "file://{tmp_path}/index/simple"\n'
    )
    environ = {
        "HOME": str(tmp_path),
        "UV_FIND_LINKS": f"{tmp_path}/more,{tmp_path}/gone",
        "SSL_CERT_FILE": f"{tmp_path}/ca.pem",
    }
    found = settings.pypi(environ, ("--find-links", f"{tmp_path}/given"))
    # The machine's own /etc/pip.conf may add to them.
    assert {host for host, _ in found.mounts if host.startswith(str(tmp_path))} == {
        f"{tmp_path}/{name}" for name in ("wheels", "index", "more", "given", "ca.pem")
    }
    assert all(host == inside for host, inside in found.mounts)
    (tmp_path / ".npmrc").write_text(f"cafile={tmp_path}/ca.pem\n//r.test/:certfile = {tmp_path}/missed\n")
    mounts = settings.npm({"HOME": str(tmp_path)}, prefix="/none").mounts
    assert {host for host, _ in mounts if host.startswith(str(tmp_path))} == {
        f"{tmp_path}/ca.pem",
        f"{tmp_path}/missed",
    }


def test_of_a_netrc_only_the_logins_of_the_named_indexes_come(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(
        "machine r.test login me password index-pw\nmachine bank.test login me password bank-pw\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    bare = {"HOME": str(tmp_path)}
    assert "NETRC" not in dict(settings.pypi(bare, ()).env)
    found = settings.pypi({**bare, "UV_INDEX_URL": "https://r.test/simple"}, ())
    assert dict(found.env)["NETRC"] == f"{CONFIG}/netrc"
    logins = dict(found.files)[f"{CONFIG}/netrc"]
    assert b"index-pw" in logins
    assert b"bank-pw" not in logins


def test_a_packages_own_code_gets_the_way_out_and_no_login(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("//r.test/:_authToken=t\n")
    environ = {"HOME": str(tmp_path), "NPM_TOKEN": "t", "HTTPS_PROXY": "http://p.test", "SSL_CERT_FILE": "/c"}
    found = settings.without_logins(environ)
    assert {"HTTPS_PROXY", "SSL_CERT_FILE"} < set(dict(found.env))
    assert "NPM_TOKEN" not in dict(found.env)
    assert {content for _, content in found.files} == {b""}


@pytest.mark.parametrize(
    ("environ", "npmrc", "uv", "limits"),
    [
        pytest.param({}, "", "", (False, False), id="none"),
        pytest.param({}, "before = 2026-01-01", "", (True, False), id="npmrc's date"),
        pytest.param({}, "min-release-age=7\n", "", (True, False), id="npmrc's age"),
        pytest.param({}, "; min-release-age=7\n", "", (False, False), id="a comment"),
        pytest.param({"npm_config_before": "2026-01-01"}, "", "", (True, False), id="npm's variable"),
        pytest.param({"npm_config_min_release_age": "7"}, "", "", (True, False), id="npm's age"),
        pytest.param({"UV_EXCLUDE_NEWER": "2026-01-01"}, "", "", (False, True), id="uv's variable"),
        pytest.param({}, "", '[pip]\nexclude-newer = "2026-01-01"\n', (False, True), id="uv's file"),
    ],
)
def test_a_limit_of_the_users_own_is_known(
    tmp_path: Path, environ: dict[str, str], npmrc: str, uv: str, limits: tuple[bool, bool]
) -> None:
    (tmp_path / ".npmrc").write_text(npmrc)
    (tmp_path / ".config/uv").mkdir(parents=True)
    (tmp_path / ".config/uv/uv.toml").write_text(uv)
    environ = {"HOME": str(tmp_path), **environ}
    found = settings.npm(environ, prefix="/none"), settings.pypi(environ, ())
    assert (settings.limited(found[0]), settings.limited(found[1])) == limits
