"""The server's environment: built from nothing, so that only what is named here gets in."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.errors import CannotEnforce, ProfileError
from sandbox.plan.facts import Closure
from sandbox.plan.spec import Identity
from sandbox.policy.model import Policy

PATH = "/usr/local/bin:/usr/bin:/bin"
PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
# Each makes a program load or run something before its own first line; a value that the caller happens
# to have may not decide that, a profile that writes it down may.
_LOADERS = frozenset(
    "NODE_OPTIONS NODE_PATH PYTHONSTARTUP PYTHONPATH PYTHONHOME PYTHONINSPECT BASH_ENV ENV PERL5OPT PERL5LIB"
    " RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS _JAVA_OPTIONS GCONV_PATH GIT_SSH_COMMAND LOCPATH GLIBC_TUNABLES"
    " PERLLIB SHELLOPTS PS4 ZDOTDIR JDK_JAVA_OPTIONS CLASSPATH BUN_OPTIONS NODE_COMPILE_CACHE LUA_INIT"
    " DOTNET_STARTUP_HOOKS DOTNET_ADDITIONAL_DEPS PHPRC PHP_INI_SCAN_DIR"
    " PYTHONUSERBASE PYTHONPLATLIBDIR PYTHONEXECUTABLE PYTHONPYCACHEPREFIX PYTHONWARNINGS PYTHONBREAKPOINT"
    " OPENSSL_CONF OPENSSL_CONF_INCLUDE OPENSSL_ENGINES OPENSSL_MODULES".split()
)
# The dynamic linker's; a function that bash has in the place of a command; a library of .NET's runtime.
_LOADING = ("LD_", "DYLD_", "BASH_FUNC_", "CORECLR_PROFILER")


def loads(name: str) -> bool:
    """Whether a variable decides which code runs before a program's own."""
    return name in _LOADERS or name.startswith(_LOADING)


def environment(
    policy: Policy, identity: Identity, closure: Closure, environ: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Every variable but the secrets: ours, the command's, the passed, the fixed; later ones win."""
    for name in policy.env.passed:
        _refuse_decisive(policy, name)
    passed = {name: environ[name] for name in policy.env.passed if name in environ}
    fixed = dict(policy.env.fixed)
    variables = _ours(identity, closure) | dict(closure.env) | passed | fixed
    for name, value in variables.items():
        _refuse_malformed(policy, name, value)
    return tuple(sorted(variables.items()))


def secrets(policy: Policy, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Name and source of every secret that there is; one that has to be and is not stops the start."""
    for secret in policy.secrets:
        _refuse_malformed(policy, secret.name, "")
        if secret.source == "env" and not environ.get(secret.name):
            raise CannotEnforce(
                "secret-missing",
                f"secret `{secret.name}` comes from the environment, which does not have it",
                rule=f"{secret.origin} [secrets.{secret.name}]",
                hint=f"set `{secret.name}` in the `env` of the client's config, or where you start it",
            )
    there = [one for one in policy.secrets if one.source != "env?" or environ.get(one.name)]
    return tuple((one.name, one.source.removesuffix("?")) for one in there)


def _ours(identity: Identity, closure: Closure) -> dict[str, str]:
    return {
        "PATH": ":".join((*closure.path, PATH)),
        "HOME": identity.home,
        "USER": identity.name,
        "LOGNAME": identity.name,
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",  # noqa: S108 - a place inside the sandbox
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def _refuse_decisive(policy: Policy, name: str) -> None:
    if name.lower() in PROXIES:
        raise ProfileError(
            "variable-refused",
            f"`{name}` may not be passed: the host's proxy and its credentials stay outside",
            rule=_rule(policy, name),
            hint=f"remove `{name}` from `[env] pass`",
        )
    if loads(name):
        raise ProfileError(
            "variable-refused",
            f"`{name}` may not be passed: it decides which code runs before the server's own",
            rule=_rule(policy, name),
            hint=f'write the value down: `[env] set = {{ {name} = "…" }}`',
        )


def _refuse_malformed(policy: Policy, name: str, value: str) -> None:
    if name and "=" not in name and "\0" not in name and "\0" not in value:
        return
    raise ProfileError(
        "variable-malformed",
        f"`{name!r}` cannot be an environment variable: a name has no `=`, and neither has a NUL",
        rule=_rule(policy, name),
        hint="mcp-sandbox profile schema",
    )


def _rule(policy: Policy, name: str) -> str:
    for key in (f"env.pass.{name}", f"env.set.{name}", "env.pass", "env.set"):
        if policy.origin(key).file != "default":
            return f"{policy.origin(key)} {key}"
    return "[env]"
