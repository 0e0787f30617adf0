"""A real Tryton of your own, with nobody's data in it, for as long as you want it.

    with tryton() as crm:
        settings = {"PRIVATE_HOSTS": ["127.0.0.1"]}
        ...
        xkit_crm.connect("acme", provider="tryton", credentials=crm.credentials)

`python -m xkit_crm.testing.live.tryton` starts one, says how to connect to it, and runs until it is
stopped. The first time takes half a minute: Tryton is installed from PyPI into a virtual
environment of its own, and a database is set up, which every server then begins with a copy of.
Both are kept in the user's cache folder, or where the environment variable `XKIT_LIVE_CACHE` says.

Tryton is free software under the GPL. It is a process beside this one, and never imported.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

#: Where what is installed is kept.
CACHE = "XKIT_LIVE_CACHE"
PACKAGES = (
    "trytond==8.2.1",
    "trytond_account==8.2.1",
    "trytond_account_invoice==8.2.0",
    "trytond_account_invoice_stock==8.2.0",
    "trytond_account_product==8.2.0",
    "trytond_company==8.2.0",
    "trytond_country==8.2.0",
    "trytond_currency==8.2.0",
    "trytond_party==8.2.0",
    "trytond_product==8.2.0",
    "trytond_sale==8.2.0",
    "trytond_sale_opportunity==8.2.0",
    "trytond_stock==8.2.1",
)
#: Raised when something else is set up: what was set up before is made anew.
_RECIPE = 1
DATABASE = "crm"
#: The user that a product connects as: a salesperson, no administrator.
USER = "salesperson"
_GROUPS = ["Sales", "Sale Opportunity"]
_PATIENCE = 60.0


class NotInstalled(RuntimeError):
    """Tryton can't be installed here: there is no network, or no way to make an environment."""


@dataclass(frozen=True, slots=True)
class Tryton:
    """A server that runs. `admin` is the password of the user `admin`."""

    url: str
    password: str
    admin: str
    log: Path
    database: str = DATABASE
    user: str = USER

    @property
    def credentials(self) -> Mapping[str, str]:
        """For `xkit_crm.connect`."""
        return {
            "url": self.url,
            "database": self.database,
            "user": self.user,
            "password": self.password,
        }

    def as_admin(self, method: str, *params: Any) -> Any:
        """What Tryton answers the administrator, such as to
        `as_admin("model.party.party.search_count", [], {})`."""
        return _ask(self, "admin", self.admin, method, *params)


@contextmanager
def tryton(port: int = 0) -> Iterator[Tryton]:
    """A server with an empty CRM, gone when the block ends. Without a port, a free one is taken."""
    home = _installed()
    with tempfile.TemporaryDirectory(prefix="xkit_tryton_") as folder:
        shutil.copy(home / "template.sqlite", Path(folder) / f"{DATABASE}.sqlite")
        with _serving(home, Path(folder), port) as server:
            yield server


# -- installing -----------------------------------------------------------------------------------


def _installed() -> Path:
    """The folder with the environment and the template; both are made where they are missing."""
    made_of = repr((_RECIPE, PACKAGES, sys.version))
    recipe = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    home = _cache() / f"tryton-{recipe}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits, and finds it made
        if not (home / "template.sqlite").exists():
            _install(home)
            _make_template(home)
    return home


def _cache() -> Path:
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "xkit_crm"


def _install(home: Path) -> None:
    try:
        venv.create(home / "venv", clear=True, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise NotInstalled(f"Python can't make a virtual environment: {error}") from error
    _run([home / "venv/bin/pip", "install", "--quiet", *PACKAGES], "Tryton can't be installed")


def _make_template(home: Path) -> None:
    """A database as a company has it on its first day: its currency, itself, its salesperson."""
    admin, password = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    (home / "admin").write_text(admin)
    (home / "password").write_text(password)
    with tempfile.TemporaryDirectory(prefix="xkit_tryton_") as name:
        folder = Path(name)
        database = folder / f"{DATABASE}.sqlite"
        database.touch()
        _run(
            [
                *(home / "venv/bin/trytond-admin", "-c", _configuration(folder), "-d", DATABASE),
                *("-u", "sale_opportunity", "--activate-dependencies"),
                *("--email", "admin@example.com"),
            ],
            "Tryton's database can't be set up",
            TRYTONPASSFILE=str(home / "admin"),
        )
        with _serving(home, folder, 0) as server:
            _set_up_company(server)
        _copy(database, home / "template.sqlite")


def _copy(database: Path, there: Path) -> None:
    """With what SQLite keeps in a file beside it. Renamed last: where it is, all of it is."""
    new = there.with_suffix(".new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", [str(new)])
    new.rename(there)


def _set_up_company(server: Tryton) -> None:
    def create(model: str, values: Mapping[str, Any]) -> int:
        (made,) = server.as_admin(f"model.{model}.create", [values], {})
        return int(made)

    currency = create("currency.currency", {"name": "Euro", "code": "EUR", "symbol": "€"})
    itself = create("party.party", {"name": "Example Ltd"})
    company = create("company.company", {"party": itself, "currency": currency})
    person = create("party.party", {"name": "Sally Example"})
    employee = create("company.employee", {"party": person, "company": company})
    groups = server.as_admin("model.res.group.search", [["name", "in", _GROUPS]], 0, None, None, {})
    user = {
        "name": "Sally Example",
        "login": USER,
        "password": server.password,
        "groups": [["add", groups]],
        "companies": [["add", [company]]],
        "company": company,
        "employees": [["add", [employee]]],
        "employee": employee,
    }
    create("res.user", user)


def _run(command: list[Any], what: str, **environment: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        list(map(str, command)),
        env={**_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotInstalled(f"{what}: {done.stdout[-2000:].strip()}")


def _environment() -> dict[str, str]:
    """Ours, without what would have another Python find our modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


# -- serving --------------------------------------------------------------------------------------


@contextmanager
def _serving(home: Path, folder: Path, port: int) -> Iterator[Tryton]:
    port = port or _free_port()
    log = folder / "log"
    server = Tryton(
        f"http://127.0.0.1:{port}",
        (home / "password").read_text(),
        (home / "admin").read_text(),
        log,
    )
    command = [home / "venv/bin/trytond", "-c", _configuration(folder, port), "-d", DATABASE]
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own words
            list(map(str, command)), env=_environment(), stdout=output, stderr=output
        )
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _configuration(folder: Path, port: int = 0) -> Path:
    path = folder / "trytond.conf"
    path.write_text(
        f"[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = 127.0.0.1:{port}\n"
    )
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait(server: Tryton, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    body = {"id": 1, "method": "common.server.version", "params": []}
    while time.monotonic() < until and process.poll() is None:
        with suppress(requests.ConnectionError):
            if requests.post(f"{server.url}/rpc/", json=body, timeout=_PATIENCE).ok:
                return
        time.sleep(0.05)
    raise RuntimeError(f"Tryton doesn't start: {server.log.read_text()[-2000:]}")


def _ask(server: Tryton, user: str, password: str, method: str, *params: Any) -> Any:
    name = base64.b64encode(f"{user}:{password}".encode()).decode()
    answer = requests.post(
        f"{server.url}/{server.database}/rpc/",
        json={"id": 1, "method": method, "params": params},
        headers={"Authorization": f"Basic {name}"},
        timeout=_PATIENCE,
    )
    answer.raise_for_status()
    body = answer.json()
    if "error" in body:
        raise RuntimeError(f"Tryton refused {method}: {body['error']}")
    return body["result"]


# -- by hand --------------------------------------------------------------------------------------


def main() -> None:
    """Start one, say how to connect to it, and run until it is stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m xkit_crm.testing.live.tryton",
        description="A real Tryton with an empty CRM. Everything in it is gone when it stops.",
    )
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server ends with us
    with suppress(KeyboardInterrupt), tryton(given.port) as server:
        lines = [
            "Tryton runs, until Ctrl-C. Connect to it in CRM Link with",
            *(f"  {name:<10}{value}" for name, value in server.credentials.items()),
            'and allow its address: XKIT_CRM["PRIVATE_HOSTS"] = ["127.0.0.1"].',
            f"Its administrator is admin, with the password {server.admin}",
        ]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
