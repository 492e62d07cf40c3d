"""Which hosts the settings of npm, uv and pip name, and what of a proxy is left in them: nothing."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy import hosts
from sandbox.supply import public, registries
from sandbox.supply.job import CONFIG, Settings

NPM, FILES, INDEX = f"{public.NPM}:443", f"{public.PYPI_FILES}:443", f"{public.PYPI}:443"
INSTEAD = "index-url"
USER, GLOBAL, UV, PIP = f"{CONFIG}/npmrc", f"{CONFIG}/global-npmrc", f"{CONFIG}/uv/uv.toml", "/etc/pip.conf"
VIA = "http://me:s3cret@proxy.test:3128"


def given_(env: dict[str, str] | None = None, **files: str) -> Settings:
    places = {"user": USER, "shared": GLOBAL, "uv": UV, "pip": PIP}
    return Settings(
        tuple(sorted((env or {}).items())),
        tuple((places[name], text.encode()) for name, text in files.items()),
    )


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        pytest.param(given_(), (), [NPM], id="npm's own"),
        pytest.param(given_(user="registry=https://r.test/npm/\n"), (), ["r.test:443"], id="the user's"),
        pytest.param(given_(shared="registry = http://r.test\n"), (), ["r.test:80"], id="the global one"),
        pytest.param(
            given_(user="registry=https://u.test\n", shared="registry=https://g.test\n"),
            (), ["u.test:443"], id="the user's counts more than the global one",
        ),
        pytest.param(
            given_({"NPM_CONFIG_REGISTRY": "http://e.test:4873"}, user="registry=https://u.test\n"),
            (), ["e.test:4873"], id="a variable in capitals counts more than files",
        ),
        pytest.param(
            given_({"npm_config_registry": "https://e.test"}), ("--registry=https://o.test/",),
            ["o.test:443"], id="an option counts most",
        ),
        pytest.param(
            given_(), ("--registry", "https://o.test/", "--yes"), ["o.test:443"], id="an option in two words"
        ),
        pytest.param(
            given_(user="@acme:registry=https://npm.acme.test/\n//npm.acme.test/:_authToken=x\n"),
            (), [NPM, "npm.acme.test:443"], id="a scope's besides",
        ),
        pytest.param(
            given_({"npm_config_@acme:registry": "https://a.test:8443"}),
            (), [NPM, "a.test:8443"], id="a scope's by a variable",
        ),
        pytest.param(
            given_({"WHERE": "r.test"}, user='registry="https://${WHERE}/"\n'),
            (), ["r.test:443"], id="a variable within a value",
        ),
        pytest.param(given_(user="; registry=https://c.test\n#registry=https://d.test\n"), (), [NPM],
                     id="comments"),
        pytest.param(given_(user="registry=https://me:p@ss@r.test/\n"), (), ["r.test:443"], id="a login"),
        pytest.param(given_(user="registry=http://127.0.0.1:4873/\n"), (), ["127.0.0.1:4873"], id="loopback"),
        pytest.param(given_(user="registry=http://[::1]:4873/\n"), (), ["[::1]:4873"], id="IPv6"),
        pytest.param(given_(user="registry=http://npm.localhost:1/\n"), (), ["localhost:1"], id=".localhost"),
        pytest.param(given_(user="registry=https://npm.pkg.github.com\n"), (),
                     ["npm.pkg.github.com:443", "pkg-npm.githubusercontent.com:443"], id="files elsewhere"),
        pytest.param(given_(user="registry=file:///srv/npm\n"), (), [], id="files of this machine"),
        pytest.param(given_(user="registry=https://r.test:99999/\n"), (), [], id="no port"),
        pytest.param(given_(user="registry=https://*.test/\n"), (), [], id="no name, not even a pattern"),
        pytest.param(given_(user="registry=https://[::1/\n"), (), [], id="no URL"),
        pytest.param(given_(user="registry=https://2130706433/\n"), (), [], id="a number"),
    ],
)  # fmt: skip
def test_the_registries_of_npm(settings: Settings, options: tuple[str, ...], expected: list[str]) -> None:
    assert [*registries.npm(settings, options).hosts] == expected


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        pytest.param(given_(), (), [INDEX, FILES], id="PyPI and its files"),
        pytest.param(given_({"UV_DEFAULT_INDEX": "https://u.test/simple"}), (), ["u.test:443"], id="instead"),
        pytest.param(
            given_({"UV_INDEX": "one=https://a.test/simple two=https://b.test:1/simple"}),
            (), [INDEX, FILES, "a.test:443", "b.test:1"], id="several besides, with names",
        ),
        pytest.param(
            given_(), ("--extra-index-url", "https://x.test/", "-f", "https://f.test/wheels"),
            [INDEX, FILES, "x.test:443", "f.test:443"], id="options besides",
        ),
        pytest.param(given_(), ("-i", "https://x.test/"), ["x.test:443"], id="an option instead"),
        pytest.param(given_({"UV_NO_INDEX": "1"}), ("-f", "/srv/wheels"), [], id="none at all"),
        pytest.param(given_(uv=f'{INSTEAD} = "https://t.test"\n'), (), ["t.test:443"], id="uv.toml"),
        pytest.param(
            given_(uv='[[index]]\nname = "a"\nurl = "https://a.test/s"\n'),
            (), [INDEX, FILES, "a.test:443"], id="an index of uv.toml",
        ),
        pytest.param(
            given_(uv='[[index]]\nurl = "https://a.test/s"\ndefault = true\n'),
            (), ["a.test:443"], id="a default index of uv.toml",
        ),
        pytest.param(
            given_(uv='no-index = true\nfind-links = ["/srv/w", "https://f.test/w"]\n'),
            (), ["f.test:443"], id="links of uv.toml",
        ),
        pytest.param(
            given_(uv=f'[pip]\nextra-{INSTEAD} = ["https://p.test"]\n'),
            (), [INDEX, FILES, "p.test:443"], id="uv.toml's table for pip",
        ),
        pytest.param(given_(uv="= nonsense"), (), [INDEX, FILES], id="a broken uv.toml"),
        pytest.param(given_(pip=f"[global]\n{INSTEAD} = https://i.test\n"), (), [INDEX, FILES], id="pip's"),
        pytest.param(given_({"PIP_INDEX_URL": "https://i.test"}), (), [INDEX, FILES], id="pip's variable"),
        pytest.param(
            given_({"UV_PUBLISH_URL": "https://p.test"}, uv='publish-url = "https://p.test"\n'),
            (), [INDEX, FILES], id="where uv would publish",
        ),
    ],
)  # fmt: skip
def test_the_indexes_of_uv(settings: Settings, options: tuple[str, ...], expected: list[str]) -> None:
    assert [*registries.pypi(settings, options, "uv").hosts] == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(given_(pip=f"[global]\n{INSTEAD} = https://i.test\n"), ["i.test:443"], id="instead"),
        pytest.param(
            given_(pip=f"[install]\nextra-{INSTEAD} =\n  https://a.test/s\n  file:///srv/simple\n"),
            [INDEX, FILES, "a.test:443"], id="over several lines",
        ),
        pytest.param(given_({"PIP_NO_INDEX": "yes", "PIP_FIND_LINKS": "/w https://f.test"}), ["f.test:443"],
                     id="links alone"),
        pytest.param(given_(pip=f"[download]\n{INSTEAD} = https://i.test\n"), [INDEX, FILES], id="another's"),
        pytest.param(given_(pip="nonsense"), [INDEX, FILES], id="a broken file"),
        pytest.param(given_(uv=f'{INSTEAD} = "https://t.test"\n'), [INDEX, FILES], id="uv's"),
    ],
)  # fmt: skip
def test_the_indexes_of_pip(settings: Settings, expected: list[str]) -> None:
    assert [*registries.pypi(settings, (), "pip").hosts] == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            registries.npm(given_({"HTTPS_PROXY": VIA, "no_proxy": "a.test"})),
            {"https_proxy": VIA, "no_proxy": "a.test"}, id="variables, in any case",
        ),
        pytest.param(
            registries.npm(given_({"https_proxy": "http://x:1"}, user=f"https-proxy={VIA}\nnoproxy=b.test")),
            {"http_proxy": VIA, "https_proxy": VIA, "no_proxy": "b.test"}, id="npmrc before variables",
        ),
        pytest.param(
            registries.npm(given_({"P": VIA}, user="proxy=${P}\n")),
            {"http_proxy": VIA, "https_proxy": VIA}, id="npm's one proxy, by a variable",
        ),
        pytest.param(registries.npm(given_({"https_proxy": VIA}, user="proxy=false\n")), {}, id="npm: none"),
        pytest.param(registries.npm(given_({"https_proxy": VIA}, user="proxy=null\n")),
                     {"https_proxy": VIA}, id="npm: nothing said"),
        pytest.param(
            registries.pypi(given_(uv=f'https-proxy = "{VIA}"\nno-proxy = ["a.test", "b.test"]'), (), "uv"),
            {"https_proxy": VIA, "no_proxy": "a.test,b.test"}, id="uv.toml",
        ),
        pytest.param(
            registries.pypi(given_(pip=f"[global]\nproxy = {VIA}\n"), (), "pip"),
            {"http_proxy": VIA, "https_proxy": VIA}, id="pip.conf",
        ),
        pytest.param(
            registries.pypi(given_({"PIP_PROXY": VIA}), (), "pip"),
            {"http_proxy": VIA, "https_proxy": VIA}, id="pip's variable",
        ),
        pytest.param(registries.nowhere(given_({"ALL_PROXY": VIA})), {"all_proxy": VIA}, id="of scripts"),
    ],
)  # fmt: skip
def test_a_proxy_is_the_gateways_and_no_steps(found: registries.Registries, expected: dict[str, str]) -> None:
    assert dict(found.proxies) == expected
    assert "proxy" not in repr((found.settings.env, found.settings.files))


def test_what_is_no_proxy_stays_as_it_was() -> None:
    text = 'native-tls = true\nno-proxy = [\n  "a.test",\n  "b.test",\n]\n'
    text += f'{INSTEAD} = "https://i.test"\n'
    found = registries.pypi(given_({}, uv=text, shared="a=1\r\nproxy=http://x:1\r\nb=\xff\n"), (), "uv")
    files = dict(found.settings.files)
    assert tomllib.loads(files[UV].decode()) == {"native-tls": True, "index-url": "https://i.test"}
    assert files[GLOBAL] == "a=1\r\nb=\xff\n".encode()


def test_a_packages_own_code_reaches_no_registry() -> None:
    assert registries.nowhere(given_({"npm_config_registry": "https://r.test"})).hosts == ()


@given(st.text(max_size=200), st.lists(st.text(max_size=60), max_size=4))
def test_whatever_stands_in_the_settings_gives_hosts_that_a_profile_could_name(
    text: str, options: list[str]
) -> None:
    written = f"registry={text}\n@a:registry=https://{text}\n{text}"
    settings = given_(
        {"UV_INDEX": text, "npm_config_registry": f"http://{text}"}, user=written, uv=text, pip=text
    )
    for found in (
        registries.npm(settings, options),
        registries.pypi(settings, options, "uv"),
        registries.pypi(settings, options, "pip"),
    ):
        for one in found.hosts:
            rule = hosts.parse(one)
            assert hosts.spelt(rule.host, rule.port) == one
            assert not rule.host.startswith("*.")
