"""Which names of Python and its libraries a workflow may use, and what to use in their place.

Owns the table that the lint (before a run) and the guard (at run) share: dotted names, never
objects. What is on no list is an outside module that nobody has looked into.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Rule(NamedTuple):
    """Why a name is refused: the code, what the name does, and what to write."""

    code: str
    does: str
    help: str


CLOCK: Final = Rule(
    "RPY10",
    "reads the clock",
    "read the group's clock, once and recorded: `now = yield from Now()`",
)
PAUSE: Final = Rule("RPY10", "waits by the clock", 'wait with `yield from Sleep("10s")`')
CHANCE: Final = Rule(
    "RPY11",
    "throws dice",
    "throw them once and recorded: `n = yield from Random(100)`; seed a generator of your own "
    "with that if you need more",
)
UUID: Final = Rule(
    "RPY11", "makes another id each time", "make it once and recorded: `id = yield from Uuid()`"
)
IO: Final = Rule(
    "RPY12",
    "reaches outside of the workflow",
    'do it in an activity: `yield from Compute("key", function, ...)`',
)
ENVIRONMENT: Final = Rule(
    "RPY12",
    "depends on the process that runs it",
    "pass it in the run's input, or read it in an activity: "
    '`yield from Compute("key", function, ...)`',
)
OUTPUT: Final = Rule(
    "RPY12",
    "writes again in each replay, on every node",
    "write the line once: `yield from Log(text)`",
)
INPUT: Final = Rule(
    "RPY12",
    "waits for a person at a terminal",
    'wait for a signal: `answer = yield from Receive("answer", str)`',
)
EXIT: Final = Rule(
    "RPY12",
    "would end a process, not the run",
    'return from the workflow, or fail on purpose: `raise WorkflowFailed("Name", "why")`',
)
THREADS: Final = Rule(
    "RPY13",
    "runs beside the workflow, in no order that a replay could repeat",
    "run steps at once with `Parallel`, `Race` or `ForEach`",
)
UNKNOWN: Final = Rule(
    "RPY14",
    "is outside of your project, and nobody has looked whether it always answers the same",
    'call it in an activity: `yield from Compute("key", function, ...)`; if it is a pure function, '
    "say so at its import: `# raftoral: allow RPY14 because ...`",
)
ZONES: Final = Rule(
    "RPY14",
    "uses time zone data, which differs between nodes",
    'work with UTC, and turn it into local time in an activity: `yield from Compute("key", ...)`',
)
DYNAMIC: Final = Rule(
    "RPY14",
    "runs code that nobody can look into",
    "call a function by its name, or do it in an activity",
)
ADDRESS: Final = Rule(
    "RPY19",
    "gives another number in each process",
    "compare by a key of your own; a digest that is the same everywhere is in `hashlib`",
)

_FORBIDDEN: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        (
            "time",
            "datetime.datetime.now",
            "datetime.datetime.utcnow",
            "datetime.datetime.today",
            "datetime.date.today",
        ),
        CLOCK,
    ),
    "time.sleep": PAUSE,
    "asyncio.sleep": PAUSE,
    **dict.fromkeys(("random", "secrets", "os.urandom", "os.getrandom"), CHANCE),
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid7", "uuid.uuid6", "uuid.getnode"), UUID),
    **dict.fromkeys(
        (
            *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fileinput", "mmap", "fcntl"),
            *("subprocess", "pty", "tty", "termios", "socket", "socketserver", "ssl", "select"),
            *("http", "urllib.request", "urllib.robotparser", "xmlrpc", "ftplib", "smtplib"),
            *("imaplib", "poplib", "sqlite3", "dbm", "shelve", "webbrowser", "zipfile", "tarfile"),
            *("requests", "httpx", "aiohttp", "urllib3", "websockets", "grpc", "paramiko"),
            *("boto3", "botocore", "psycopg", "psycopg2", "asyncpg", "pymysql", "sqlalchemy"),
            *("redis", "pymongo", "kafka", "pika", "django"),
        ),
        IO,
    ),
    **dict.fromkeys(
        (
            *("os.environ", "os.environb", "os.getenv", "os.getpid", "os.getcwd", "os.cpu_count"),
            *("sys", "platform", "getpass", "locale", "gettext", "resource", "site", "sysconfig"),
        ),
        ENVIRONMENT,
    ),
    **dict.fromkeys(("logging", "syslog", "pprint.pprint", "sys.stdout", "sys.stderr"), OUTPUT),
    **dict.fromkeys(("getpass.getpass", "sys.stdin"), INPUT),
    **dict.fromkeys(("sys.exit", "os._exit", "os.abort"), EXIT),
    **dict.fromkeys(
        (
            *("threading", "asyncio", "concurrent", "multiprocessing", "queue", "sched", "signal"),
            *("selectors", "_thread", "trio", "anyio", "gevent", "curio"),
        ),
        THREADS,
    ),
    "zoneinfo": ZONES,
    **dict.fromkeys(("importlib", "ctypes"), DYNAMIC),
}

_ALLOWED: Final = frozenset(
    {
        # The standard library's pure parts.
        *("abc", "array", "base64", "binascii", "bisect", "builtins", "calendar", "cmath"),
        *("collections", "colorsys", "contextlib", "copy", "csv", "dataclasses", "datetime"),
        *("decimal", "difflib", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq"),
        *("hmac", "html", "ipaddress", "itertools", "json", "keyword", "math", "numbers"),
        *("operator", "pprint", "re", "reprlib", "statistics", "string", "struct", "textwrap"),
        *("types", "typing", "unicodedata", "urllib.parse", "uuid", "zlib", "__future__"),
        # Names of files are only text, and what goes wrong elsewhere arrives here as an error.
        *("pathlib.PurePath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath"),
        *("os.PathLike", "os.fspath", "os.sep", "os.path.basename", "os.path.dirname"),
        *("os.path.join", "os.path.normpath", "os.path.split", "os.path.splitext"),
        *("asyncio.CancelledError", "asyncio.TimeoutError", "concurrent.futures.TimeoutError"),
        *("subprocess.CalledProcessError", "subprocess.TimeoutExpired", "socket.timeout"),
        *("http.HTTPStatus", "http.HTTPMethod", "sys.maxsize", "sys.intern"),
        *("time.struct_time", "sqlite3.Error", "sqlite3.IntegrityError", "logging.Logger"),
        # Types of data, made by libraries that do nothing else.
        *("attr", "attrs", "msgspec", "pydantic", "typing_extensions", "raftoral"),
    }
)

_BUILTINS: Final[dict[str, Rule]] = {
    "open": IO,
    "input": INPUT,
    "print": OUTPUT,
    "exit": EXIT,
    "quit": EXIT,
    "id": ADDRESS,
    "hash": ADDRESS,
    "eval": DYNAMIC,
    "exec": DYNAMIC,
    "compile": DYNAMIC,
    "globals": DYNAMIC,
    "__import__": DYNAMIC,
}

AT_RUN: Final = ("open", "input", "print", "id", "hash")
"""The builtins that the guard refuses at run, too."""

NEEDS_ZONE: Final = frozenset({"datetime.datetime.fromtimestamp"})
"""Functions that ask the machine for its time zone if no second argument names one."""


def rule_of(dotted: str) -> Rule | None:
    """Return why a name such as ``time.time`` is refused; None if it may be used.

    The longest entry that is the name or a module around it decides.
    """
    name = dotted
    while name:
        if name in _ALLOWED:
            return None
        rule = _FORBIDDEN.get(name)
        if rule is not None:
            return rule
        name = name.rpartition(".")[0]
    return UNKNOWN


def rule_of_builtin(name: str) -> Rule | None:
    """Return why a builtin function is refused; None if it may be used."""
    return _BUILTINS.get(name)


_HOMES: Final = frozenset(
    name.rsplit(".", count)[0] for name in _FORBIDDEN for count in range(1 + name.count("."))
)


def refuses_in(module: str) -> bool:
    """Tell whether a module is refused, or a name inside of it."""
    rule = rule_of(module)
    return module in _HOMES or (rule is not None and rule is not UNKNOWN)
