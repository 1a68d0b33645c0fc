"""The Docker engine that is configured: a client of it, or one clear error in less than 5 s."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ephemera.docker import tunnel
from ephemera.docker.address import DEFAULT_HOST, Address, configured, damaged_config, refuse_irregular_config
from ephemera.host.deadline import begin
from ephemera.model.errors import EphemeraError, MachineError, NotReadyError

if TYPE_CHECKING:
    import docker
    from requests.exceptions import HTTPError

__all__ = [
    "DEFAULT_HOST",
    "connect",
    "connected",
    "docker_host",
    "exported",
    "identity",
    "is_local",
    "said",
    "variables",
]

_ANSWER_SECONDS = 3.0
"""From the question to the answer, whatever hangs: with what a command does before, less than 5 s."""
_TIMEOUT_SECONDS = 60
_REMEDY_NETWORK = "start it, check the network, or set DOCKER_HOST"

# By the engine's URL, the API's version that it answered with last: the first try of the next client.
_spoken: dict[str, str] = {}


def docker_host() -> str:
    """The engine's address as a URL, as it was configured."""
    return configured().url


def is_local() -> bool:
    """Whether the engine publishes ports on this machine."""
    return configured().reach == "here"


def connect() -> docker.DockerClient:
    """A client of the engine; raises :class:`MachineError` when it does not answer within 3 s."""
    address = configured()
    arguments = _arguments(address)
    # Time-outs of the socket's do not cover names to resolve, several addresses to try, and answers that trickle.
    connecting = begin(lambda: _client(address, arguments), "engine-connect")
    try:
        client = connecting.result(timeout=_ANSWER_SECONDS)
    except TimeoutError:
        raise _silent(address) from None
    client.api.timeout = _TIMEOUT_SECONDS
    return client


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """A client that is closed afterwards; raises :class:`MachineError` also when the engine goes away meanwhile.

    What an engine that answers refuses is a :class:`NotReadyError` when it lies with what was asked for (no such
    container), and a :class:`MachineError` when it lies with the engine (no space left).
    """
    from requests.exceptions import HTTPError, RequestException

    client = connect()
    try:
        yield client
    except HTTPError as error:  # docker's APIError is one, too
        status = error.response.status_code if error.response is not None else HTTPStatus.INTERNAL_SERVER_ERROR
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            remedy = "see `ephemera status`; `ephemera up` brings back what is missing"
            raise NotReadyError(f"the Docker engine refuses: {said(error)}", remedy=remedy) from error
        remedy = "see what is wrong with the engine: its log, `ephemera doctor`"
        raise MachineError(f"the Docker engine at {configured().url} fails: {said(error)}", remedy=remedy) from error
    except RequestException as error:
        raise _explained(configured(), error) from error
    finally:
        client.close()


def identity(client: docker.DockerClient) -> str:
    """Return the engine's own id, which it keeps for life, and where its data is; empty where it tells none.

    Its address may be another engine's by tomorrow; and engines of one machine share the id, up to Docker 24.
    """
    told = client.info()
    return f"{told['ID']} {told.get('DockerRootDir') or ''}".strip() if told.get("ID") else ""


def said(error: HTTPError) -> str:
    """Return what the engine said to a request that it refused."""
    if hasattr(error, "explanation"):  # docker's own, which has read it
        return str(error.explanation or error).strip()
    try:
        return str(json.loads(error.response.text if error.response is not None else "")["message"]).strip()
    except (ValueError, KeyError, TypeError):  # it said nothing
        return str(error)


def variables() -> dict[str, str]:
    """Process environment for a child process of ours, and for Pulumi's Docker plugin beneath it."""
    address = configured()
    if address.reach == "ssh":
        # The plugin's own way would log in for every call.
        return {"DOCKER_HOST": f"unix://{tunnel.socket_of(address.url)}", **address.handed_on()}
    return {**_for_the_plugin(address), **(address.handed_on() if address.tls else {})}


def exported() -> dict[str, str]:
    """Process environment for programs that a person starts: nothing that ends by itself, no key."""
    address = configured()
    given = {"DOCKER_HOST": address.url, "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": ""}
    if address.tls and (folder := address.tls.folder):
        given |= {"DOCKER_TLS_VERIFY": "1" if address.tls.verify else "", "DOCKER_CERT_PATH": folder}
    return given


def _for_the_plugin(address: Address) -> dict[str, str]:
    tls = address.tls
    if tls is None or (tls.verify and tls.ca and tls.cert):
        return exported()
    if tls.cert is None or tls.key is None:
        raise MachineError(
            f"Pulumi's Docker plugin needs a client's certificate for {address.url}",
            remedy="put cert.pem and key.pem where the engine's ca.pem is, or use ssh://",
        )
    # It verifies whatever it finds in a folder, and nothing that it is given without an authority.
    authorities = (Path(tls.ca) if tls.ca else _authorities()).read_text() if tls.verify else ""
    if tls.verify and not authorities:
        raise MachineError(f"there are no authorities to verify {address.url} with", remedy="give its ca.pem")
    return {
        "DOCKER_HOST": address.url,
        "DOCKER_CERT_PATH": "",
        "DOCKER_CA_MATERIAL": authorities,
        "DOCKER_CERT_MATERIAL": Path(tls.cert).read_text(),
        "DOCKER_KEY_MATERIAL": Path(tls.key).read_text(),
    }


def _authorities() -> Path:
    """The machine's own, in one file."""
    return Path(ssl.get_default_verify_paths().cafile or os.devnull)


def _arguments(address: Address) -> Mapping[str, Any]:
    """What docker-py is to connect to, and how."""
    if address.reach == "ssh":
        return {"base_url": f"unix://{tunnel.socket_of(address.url)}"}
    if address.tls is None:
        return {"base_url": address.url}
    from docker.tls import TLSConfig

    client = (address.tls.cert, address.tls.key) if address.tls.cert else None
    return {"base_url": address.url, "tls": TLSConfig(client, address.tls.ca, address.tls.verify)}


def _client(address: Address, arguments: Mapping[str, Any]) -> docker.DockerClient:
    from docker.constants import MINIMUM_DOCKER_API_VERSION
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        with ExitStack() as tried:
            client = _unasked(arguments, _spoken.get(address.url, MINIMUM_DOCKER_API_VERSION))
            tried.callback(client.close)
            # Not /version: for that, engines start two programs.
            answer = client.api.get(f"{client.api.base_url}/_ping", timeout=_ANSWER_SECONDS)
            if answer.status_code != HTTPStatus.OK:
                raise APIError("refused", answer, answer.text)
            version = answer.headers["Api-Version"]
            if client.api.api_version == version:
                tried.pop_all()
                return client
        _spoken[address.url] = version
        return _unasked(arguments, version)
    except (DockerException, RequestException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged_config() or _explained(address, error) from error


def _unasked(arguments: Mapping[str, Any], version: str) -> docker.DockerClient:
    """A client that has not asked the engine anything yet."""
    import docker
    from docker.utils.config import find_config_file

    refuse_irregular_config(find_config_file())  # the one that docker-py is about to read
    client = docker.DockerClient(**arguments, timeout=_ANSWER_SECONDS, version=version, max_pool_size=32)
    # An engine is not behind the machine's proxy for HTTP, and what REQUESTS_CA_BUNDLE names would win over its own
    # authority.
    client.api.trust_env = False
    return client


def _explained(address: Address, error: Exception) -> EphemeraError:
    """The error for a person, from the chain of those of four libraries."""
    chain = list(_chain(error))
    if address.reach == "ssh":
        return tunnel.explain(address.url)
    if any(isinstance(each, TimeoutError) or "timed out" in str(each) for each in chain):
        return _silent(address)
    for each in chain:
        if isinstance(each, PermissionError):
            return MachineError(
                f"this user may not use the Docker engine at {address.url}",
                remedy="run `sudo usermod -aG docker $USER` and log in again, or use a rootless engine",
            )
        if isinstance(each, ssl.SSLError):
            remedy = "check the certificates in DOCKER_CERT_PATH or the Docker context"
            return MachineError(f"no TLS with the Docker engine at {address.url} ({_short(each)})", remedy=remedy)
    if any("HTTP request to an HTTPS server" in str(each) for each in chain):
        return MachineError(
            f"the Docker engine at {address.url} wants TLS",
            remedy="set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder of its certificates",
        )
    innermost = next((each for each in chain if isinstance(each, OSError) and each.errno), error)
    remedy = "start it, or set DOCKER_HOST" if address.reach == "here" else _REMEDY_NETWORK
    return MachineError(f"no Docker engine answers at {address.url} ({_short(innermost)})", remedy=remedy)


def _silent(address: Address) -> MachineError:
    remedy = "it may hang: start it anew, or set DOCKER_HOST" if address.reach == "here" else _REMEDY_NETWORK
    return MachineError(f"no Docker engine answers at {address.url} within {_ANSWER_SECONDS:g} s", remedy=remedy)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and those that libraries put among its arguments, outermost first."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0][:200] if text else type(error).__name__
