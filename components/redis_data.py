"""The data of a Redis server: all databases and functions, restored in one transaction while clients stay connected.

It is saved as the commands that restore it, as ``redis-cli`` reads them. A restored key has
the time to live that it had when it was saved. Configuration, users and cached scripts are left alone.

``redis-cli`` runs in the server's own container, and takes the password from the variable ``REDISCLI_AUTH``.
"""

from __future__ import annotations

from ephemera.model.data import DataError, DataService

_SECONDS = 60.0
_UNKNOWN = "unknown command"  # of Redis 6, which has no functions
_DONE = "ephemera:done"
# All input is read first: Docker may lose the output of a command that ends before it.
_RESTORE = "commands=$(cat); printf '%s\\n' \"$commands\" | redis-cli --no-raw"
_REMEMBER = 'redis-cli --no-raw FUNCTION DUMP; redis-cli --raw EVAL "$1" 0'

# One script, so that no other command comes between. Quoted as redis-cli reads it: other than plain characters are
# written as numbers.
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
    """Implements :class:`ephemera.model.data.Data`, without state."""

    def remember(self, service: DataService) -> str:
        """Return the commands that restore the current data."""
        said = _ask(service, ["sh", "-c", _REMEMBER, "sh", _SNAPSHOT])
        dumped, _, keys = said.partition("\n")
        functions, keys = "" if _UNKNOWN in dumped else _checked(service, dumped), _checked(service, keys)
        restored = functions and f"FUNCTION RESTORE {functions} FLUSH"
        return "\n".join(line for line in ("FLUSHALL", restored, keys) if line)

    def restore(self, service: DataService, remembered: str) -> str:
        """Restore all data in one transaction."""
        script = "\n".join(("MULTI", remembered, "EXEC", f"ECHO {_DONE}", ""))
        said = _checked(service, _ask(service, ["sh", "-c", _RESTORE], script))
        if not said.endswith(f'"{_DONE}"'):
            raise _error(service, said.splitlines()[-1] if said else "no answer")
        keys = sum(line.startswith("RESTORE ") for line in remembered.splitlines())
        return f"{keys} keys put back"


DATA = RedisData()


def _ask(service: DataService, command: list[str], stdin: str | None = None) -> str:
    code, output = service.exec(command, stdin=stdin, timeout_seconds=_SECONDS)
    if code != 0:
        raise _error(service, output.strip())
    return output.strip("\n")


def _checked(service: DataService, said: str) -> str:
    """Return ``said``; raise for the first error in it. No answer to the commands holds data."""
    for line in said.splitlines():
        _, refused, why = line.partition("(error) ")
        if refused or line.startswith(("ERR ", "NOAUTH ", "NOPERM ", "WRONGPASS ", "Could not connect")):
            raise _error(service, why or line)
    return said


def _error(service: DataService, said: str) -> DataError:
    return DataError(
        f"the data of {service.name!r}: {said}", remedy="see whether it runs, with `ephemera status`, and try again"
    )
