"""What a person is told about a profile that is wrong: file, line, key, value and the nearest right key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ProfileError
from sandbox.policy.diagnose import parse

FAULTS = [
    pytest.param(
        "[quota]\nmemroy = 1", ":3: `quota.memroy` is not a key", "`quota.memory`", id="misspelt key"
    ),
    pytest.param("[qouta]\nmemory = 1", ":2: `qouta` is not a key", "`quota`", id="misspelt table"),
    pytest.param("memory = '1G'", ":2: `memory` is not a key", "`quota.memory`", id="key of another table"),
    pytest.param(
        "quota.memory = 0",
        ":2: `quota.memory` = 0: memory must be at least 16M",
        "",
        id="dotted key with an impossible value",
    ),
    pytest.param("quota = { pids = 0 }", ":2: `quota.pids` = 0:", "", id="inline table"),
    pytest.param("[quota]\ncpus = nan", ":3: `quota.cpus` = nan: cpus must be a number", "", id="NaN"),
    pytest.param("[quota]\npids = '3'", '= "3": must be a whole number', "", id="number in quotes"),
    pytest.param("[quota]\npids = true", "= true: must be a whole number", "", id="true as a number"),
    pytest.param("[files]\nread = '.'", ':3: `files.read` = ".": must be a list', "", id="text for a list"),
    pytest.param(
        "[files]\nread = [\n'.',\n'',\n]", ":5: `files.read[1]`", "", id="item of a list over lines"
    ),
    pytest.param("[files]\nread = [3]", "`files.read[0]` = 3: must be text", "", id="number for a path"),
    pytest.param("files = 3", ":2: `files` = 3: must be a table", "", id="number for a table"),
    pytest.param("[network]\nallow = ['*.com']", "top-level domain", "", id="host rule"),
    pytest.param(
        "[network]\nopaque = ['*.a.example']", "`network.opaque[0]`", "", id="opaque wildcard, which key"
    ),
    pytest.param("[network]\nopaque = ['*.a.example']", "is one exact name", "", id="opaque wildcard, why"),
    pytest.param("[network]\nopaque = ['10.0.0.1']", "list it under `allow`", "", id="opaque address"),
    pytest.param("[network]\nopaque = ['[::1]:80']", "list it under `allow`", "", id="opaque IPv6 address"),
    pytest.param(
        "[network]\nprivate = ['a', '10.0.0.1']",
        ':3: `network.private[1]` = "10.0.0.1": only a name',
        "",
        id="private address",
    ),
    pytest.param("[network]\nprivate = ['localhost:80']", "under `allow`", "", id="private localhost"),
    pytest.param("[network]\nprivate = ['*.com']", "top-level domain", "", id="private, and far too wide"),
    pytest.param("[network]\nallow = ['*.localhost:80']", "write `localhost`", "", id="below localhost"),
    pytest.param("[network]\nopque = []", "is not a key", "`network.opaque`", id="misspelt list of hosts"),
    pytest.param(
        "[network.budget.'a.example']\n", ":2: `network.budget.a.example`", "", id="empty budget, which line"
    ),
    pytest.param("[network.budget.'a.example']\n", "the budget is empty", "", id="empty budget, why"),
    pytest.param(
        "[network.budget.'a.example']\nuplaod = 1", "is not a key", ".upload`", id="misspelt budget"
    ),
    pytest.param(
        "[network.budget.'a.example']\nconnections = 0", ".connections` = 0:", "", id="no connection"
    ),
    pytest.param("[network.budget.'*.com']\nupload = 1", "top-level domain", "", id="budget of no host"),
    pytest.param(
        "[network.budget.'a.example']\nupload = 1\n[network.budget.'A.example:443']\nupload = 2",
        "`a.example:443` has two budgets",
        "",
        id="two budgets of one host",
    ),
    pytest.param(
        "[network.behaviour]\nidle = 'braech'",
        "must be one of `off`, `log`, `breach`",
        'idle = "breach"',
        id="misspelt answer to a behaviour",
    ),
    pytest.param("[network.behaviour]\ndenied_streak = 0", ".denied_streak` = 0:", "", id="no streak"),
    pytest.param("[network.behaviour]\ndenied_streak = 10001", "or equal to 10000", "", id="endless streak"),
    pytest.param(
        "[network.behaviour]\nbeacon_count = 2", "or equal to 3", "", id="two intervals are no rule"
    ),
    pytest.param("[network.behaviour]\nbeacon_count = 1001", "or equal to 1000", "", id="endless beacon"),
    pytest.param("[network.behaviour]\nbeacon_jitter = 1.1", "or equal to 1", "", id="jitter beyond all"),
    pytest.param("[network.behaviour]\nbeacon_jitter = nan", ".beacon_jitter` = nan:", "", id="NaN jitter"),
    pytest.param("[network.behaviour]\ndenied = true", "must be one of `off`", "", id="switch for an answer"),
    pytest.param(
        "[syscalls]\ntier = 'nett'", "must be one of `strict`, `net`", 'tier = "net"', id="wrong choice"
    ),
    pytest.param("[isolation]\ndecoys = 1", "must be `true` or `false`", "", id="number for a switch"),
    pytest.param("[secrets.A]\n", ":2: `secrets.A.from` is missing", "", id="secret without a source"),
    pytest.param("[secrets.A]\nfrom = 'vault'", "a secret comes from", "", id="secret from nowhere"),
    pytest.param("[secrets.A-B]\nfrom = 'env'", ":2: `secrets.A-B`", "", id="a name no variable has"),
    pytest.param(
        "[env]\npass = ['A']\nset = { A = '1' }", "`A` is given twice", "", id="variable given twice"
    ),
    pytest.param("[env]\npass = ['*']", ":3: `env.pass[0]`", "", id="every variable"),
    pytest.param("[server]\nport = 80", 'need `transport = "http"`', "", id="port without http"),
    pytest.param("[tools.arguments.t]\na = {}", "the rule is empty", "", id="empty argument rule"),
    pytest.param(
        "[tools.arguments.t]\na = { pattern = '(' }", "not a regular expression", "", id="broken pattern"
    ),
    pytest.param(
        "[tools.arguments.t]\na = { pattren = 'x' }", "is not a key", ".pattern`", id="deep misspelt key"
    ),
    pytest.param(
        "[tools.arguments.t]\na = { min = 2, max = 1 }", "`min` is more than `max`", "", id="empty range"
    ),
    pytest.param("extends = '../x'", ":2: `extends`", "", id="a path to extend"),
    pytest.param('[env]\nset = { A = "a\\u0000b" }', "NUL", "", id="NUL in a value"),
]


@pytest.mark.parametrize(("text", "sentence", "hint"), FAULTS)
def test_says_where_and_what(text: str, sentence: str, hint: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse("web.toml", f"schema = 1\n{text}\n")
    assert caught.value.what.startswith("web.toml:")
    assert sentence in caught.value.what
    assert hint in caught.value.hint


SCHEMAS = [
    pytest.param("", "`schema` is missing", id="absent"),
    pytest.param("schema = 2", "reads `schema = 1`", id="a later one"),
    pytest.param("schema = true", "reads `schema = 1`", id="true"),
    pytest.param("schema = 1.0", "reads `schema = 1`", id="a float"),
    pytest.param("schema = '1'", "reads `schema = 1`", id="text"),
]


@pytest.mark.parametrize(("text", "sentence"), SCHEMAS)
def test_the_schema_must_be_the_one_we_read(text: str, sentence: str) -> None:
    with pytest.raises(ProfileError, match=sentence):
        parse("web.toml", text)


SYNTAX = [
    pytest.param("schema = 1\nfoo\n", "web.toml:2: not TOML", id="no value"),
    pytest.param("schema = 1\nschema = 1\n", "web.toml:2: not TOML: cannot overwrite", id="key twice"),
    pytest.param("a = [1,\n", "web.toml:2: not TOML", id="open list"),
    pytest.param("a = " + "[" * 5000, "not TOML: nested too deeply", id="depth"),
    pytest.param("a = " + "9" * 5000, "web.toml:1: not TOML", id="endless number"),
    pytest.param("\ufeffschema = 1", "web.toml:1: not TOML", id="byte order mark"),
]


@pytest.mark.parametrize(("text", "sentence"), SYNTAX)
def test_what_is_not_toml_names_the_line(text: str, sentence: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse("web.toml", text)
    assert sentence in caught.value.what


def test_every_fault_is_told_in_the_order_of_the_file() -> None:
    with pytest.raises(ProfileError) as caught:
        parse("w", "schema = 1\n[quota]\npids = 0\nx = 1\n[files]\nread = 1\n")
    assert [line.split(":")[1] for line in caught.value.what.splitlines()] == ["3", "4", "6"]


def test_a_value_that_may_be_secret_is_not_repeated() -> None:
    with pytest.raises(ProfileError) as caught:
        parse(
            "w",
            "schema = 1\n[secrets.A]\nfrom = 'hunter2'\n[env]\nset = { B = 'hunter2\\u0000' }\n[env.set.C]\n",
        )
    assert "hunter2" not in str(caught.value)


def test_a_hostile_file_does_not_reach_the_terminal() -> None:
    for text in (
        'schema = 1\n"\\u001b[2J" = 1',
        'schema = 1\n[syscalls]\ntier = "\\u001b[2J"',
        "schema = 1\nx\u202e",
    ):
        with pytest.raises(ProfileError) as caught:
            parse("w", text)
        assert all(char.isprintable() or char == "\n" for char in str(caught.value))


_KEY = st.sampled_from("schema extends files read quota memory network allow env set secrets tools x".split())
_LEAF = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text("a*/.~$\\\"'", max_size=5), st.lists(st.just("a"))
)
_TREE = st.recursive(_LEAF, lambda inner: st.dictionaries(_KEY, inner, max_size=3), max_leaves=8)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower()


@given(st.dictionaries(_KEY, _TREE, max_size=5))
def test_any_tree_is_a_profile_or_a_profile_error(tree: dict) -> None:
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in tree.items())
    try:
        parse("w", text)
    except ProfileError as error:
        told = error.what
    else:
        told = "w:"
    assert told.startswith("w:")
