"""The house has floors: a module may import from its own floor's list and from below, never from above."""

from __future__ import annotations

import ast
from pathlib import Path

import relay

LEAVES = {"config", "errors", "log", "addresses", "proxies", "profiles"}
CORE = {"core", "errors", "audio"}
ALLOWED = {
    "errors": set(),
    "addresses": set(),
    "proxies": set(),
    "profiles": set(),
    "config": {"addresses", "core", "profiles"},
    "config_tools": {"config", "core"},
    "config_profile": {"addresses", "config", "profiles"},
    "config_sources": {"addresses", "config", "config_profile", "config_tools", "core", "errors", "prices", "proxies"},
    "prices": {"addresses", "config", "core", "profiles"},
    "tickets": LEAVES | {"core"},
    "limits": LEAVES | {"core", "operators_session", "prices", "tickets"},
    "mask": {"config"},
    "operators_session": {"config", "core", "profiles"},
    "log": {"config", "log_output"},
    "log_output": set(),
    "_buffer": {"_native"},
    "audio": {"_buffer", "_native"},
    "_frames": {"_buffer", "_native"},
    "_handshake": {"_frames"},
    "wire": {"_frames", "_handshake", "errors"},
    "tcp": {"_buffer"},
    "detach": {"tcp", "secure_stream"},
    "openssl": {"_native", "log"},
    "tls_stream": {"errors", "openssl", "tcp"},
    "secure_stream": {"_native", "tcp", "tls_stream", "turnstile"},
    "wakeup": set(),
    "way_stream": {"_native", "tcp", "tls_stream", "wakeup"},
    "pump": {"_native", "log"},
    "tls_way": {"_native", "way_stream"},
    "short_way": {"_buffer", "_native", "log", "wire", "core", "pump", "tls_way", "way_stream"},
    "tls": LEAVES | {"secure_stream", "turnstile"},
    "admission": LEAVES,
    "browser": LEAVES | {"wakeup", "wire", "core"},
    "credentials": LEAVES,
    "target": LEAVES | {"credentials"},
    "upstream": LEAVES | {"mask", "target", "tcp", "tls_stream", "way_stream", "wire", "core"},
    "session": LEAVES
    | {"pump", "short_way", "wakeup"}
    | {"browser", "upstream", "target", "admission", "core", "limits", "operators_session"},
    "page": LEAVES,
    "door": LEAVES | {"admission", "tickets"},
    "client_secrets": LEAVES | {"connections", "core", "limits", "prices", "operators_session", "tickets"},
    "app": LEAVES
    | {"client_secrets", "door", "limits", "page", "tickets"}
    | {"session", "browser", "admission", "detach", "way_stream", "wire", "core"},
    "hardening": {"turnstile"},
    "turnstile": set(),
    "connections": LEAVES,
    "watchdog": {"log", "audio"},
    "server": LEAVES
    | {
        "app",
        "session",
        "target",
        "admission",
        "detach",
        "tcp",
        "hardening",
        "tls",
        "connections",
        "pump",
        "watchdog",
        "simulator",
    },
    "cli": LEAVES | {"config_sources", "server", "simulator", "audio"},
    "__main__": {"cli"},
    "__init__": set(),
}
PACKAGE = Path(relay.__file__).parent


def imports(path: Path) -> set[str]:
    """Return the names directly under `relay` that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "relay":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("relay.")}
    return found - {"__version__"}


def test_every_module_imports_only_from_its_floor_and_below() -> None:
    wrong = {
        path.stem: extra for path in PACKAGE.glob("*.py") if (extra := imports(path) - ALLOWED.get(path.stem, set()))
    }
    assert wrong == {}


def test_the_core_imports_only_itself_errors_and_audio() -> None:
    wrong = {path.stem: extra for path in (PACKAGE / "core").glob("*.py") if (extra := imports(path) - CORE)}
    assert wrong == {}


def test_the_simulator_shares_no_code_with_what_it_tests() -> None:
    used = set().union(*(imports(path) for path in (PACKAGE / "simulator").glob("*.py")))
    assert used <= {"simulator", "log", "errors", "config"}


def test_a_shield_always_carries_a_deadline() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and any(keyword.arg == "shield" for keyword in node.keywords):
                name = ast.unparse(node.func)
                has_deadline = name == "trio.move_on_after" or any(k.arg == "deadline" for k in node.keywords)
                assert has_deadline or name.startswith("self."), f"{path.name}:{node.lineno} {ast.unparse(node)}"


def test_nurseries_open_where_the_design_says() -> None:
    openers = {path.stem for path in PACKAGE.glob("*.py") if "open_nursery(" in path.read_text()}
    assert openers <= {"server", "session", "cli"}
