"""The data of a Redis server: all databases and functions, put back in one transaction while clients stay connected.

What is remembered is the commands that bring it back, as ``redis-cli`` reads them. Times to live count from when they
were remembered. Configuration, users and cached scripts are left alone.

It is brought back by ``redis-cli`` in the server's own container, which takes the password from the variable
``REDISCLI_AUTH``. Every environment waits until its data is remembered, and to start a program in a container takes
longer than what it does then; so that is done from here where it can be.
"""

from __future__ import annotations

import sys

from ephemera.contract.data import DataError, DataService

_SECONDS = 60.0
_UNKNOWN = "unknown command"  # of Redis 6, which has no functions
_DONE = "ephemera:done"
# All of it is read first: the engine may lose what is said by a command that ends before that.
_RESTORE = "commands=$(cat); printf '%s\\n' \"$commands\" | redis-cli --no-raw"
_REMEMBER = 'redis-cli --no-raw FUNCTION DUMP; redis-cli --raw EVAL "$1" 0'

# In one script, which nobody else's command comes between. Quoted as redis-cli reads it: what is no plain character is
# written as its number.
_SNAPSHOT = r"""
local function quoted(text)
    return '"' .. text:gsub('[^%w:_.,/ -]', function(c) return string.format('\\x%02x', c:byte()) end) .. '"'
end
local found = {}
for database in redis.call('INFO', 'keyspace'):gmatch('db(%d+):') do
    redis.call('SELECT', database)
    found[#found + 1] = 'SELECT ' .. database
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local ttl = redis.call('PTTL', key)
        local dump = redis.call('DUMP', key)
        if dump then
            found[#found + 1] = string.format('RESTORE %s %d %s', quoted(key), math.max(ttl, 0), quoted(dump))
        end
    end
end
return table.concat(found, '\n')
"""


class RedisData:
    """The protocol's implementation, which keeps nothing between calls."""

    def remember(self, service: DataService) -> str:
        """The commands that bring the present state back."""
        functions, keys = _read_from_here(service) or _read_in_the_container(service)
        restored = functions and f"FUNCTION RESTORE {functions} FLUSH"
        return "\n".join(line for line in ("FLUSHALL", restored, keys) if line)

    def restore(self, service: DataService, remembered: str) -> str:
        """Put all of it back at once."""
        script = "\n".join(("MULTI", remembered, "EXEC", f"ECHO {_DONE}", ""))
        said = _checked(service, _ask(service, ["sh", "-c", _RESTORE], script))
        if not said.endswith(f'"{_DONE}"'):
            raise _error(service, said.splitlines()[-1] if said else "no answer")
        keys = sum(line.startswith("RESTORE ") for line in remembered.splitlines())
        return f"{keys} keys put back"


DATA = RedisData()


def _read_in_the_container(service: DataService) -> tuple[str, str]:
    """Functions, as one word, and the commands that make the keys."""
    said = _ask(service, ["sh", "-c", _REMEMBER, "sh", _SNAPSHOT])
    dumped, _, keys = said.partition("\n")
    return "" if _UNKNOWN in dumped else _checked(service, dumped), _checked(service, keys)


def _read_from_here(service: DataService) -> tuple[str, str] | None:
    """The same; None where its client library is not imported, which takes longer than what it saves, or where
    the server cannot be reached so."""
    endpoint = service.outputs.endpoint()
    known = {key: secret.get_secret_value() for key, secret in service.outputs.credentials.items()}
    if (
        sys.modules.get("redis") is None
        or endpoint.host is None
        or endpoint.port is None
        or known.keys() - {"password"}
    ):
        return None
    import redis

    try:
        with redis.Redis(
            endpoint.host, endpoint.port, socket_timeout=_SECONDS, password=known.get("password")
        ) as client:
            keys = client.eval(_SNAPSHOT, 0)
            try:
                functions = _quoted(client.function_dump())
            except redis.ResponseError as error:
                if _UNKNOWN not in str(error):
                    raise
                functions = ""
    except redis.ConnectionError:
        return None
    except redis.RedisError as error:
        raise _error(service, str(error)) from error
    return functions, keys.decode()


def _quoted(data: bytes) -> str:
    """As ``redis-cli`` reads it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def _ask(service: DataService, command: list[str], stdin: str | None = None) -> str:
    code, output = service.exec(command, stdin=stdin, timeout_seconds=_SECONDS)
    if code != 0:
        raise _error(service, output.strip())
    return output.strip("\n")


def _checked(service: DataService, said: str) -> str:
    """``said``, or the first refusal in it; nothing that comes back on the way holds data."""
    for line in said.splitlines():
        _, refused, why = line.partition("(error) ")
        if refused or line.startswith(("ERR ", "NOAUTH ", "NOPERM ", "WRONGPASS ", "Could not connect")):
            raise _error(service, why or line)
    return said


def _error(service: DataService, said: str) -> DataError:
    return DataError(
        f"the data of {service.name!r}: {said}", remedy="see whether it runs, with `ephemera status`, and try again"
    )
