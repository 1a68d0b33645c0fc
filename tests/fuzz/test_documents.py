"""What is read from files that others may have written: outputs, leases, addresses, stack files, keys."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ephemera.home import addresses, identity, leases
from ephemera.home.addresses import Allocation
from ephemera.home.leases import Lease
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.model.errors import EphemeraError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.pulumi.workspace import Workspace
from tests.fuzz.cases import documents, mutated, result_or_error, texts, thousand
from tests.unit.doubles import lease_of

_ENDPOINT = {"scheme": "http", "host": "127.83.1.1", "port": 8080, "url": "http://127.83.1.1:8080"}
_ENDPOINT |= {"internal_host": "api", "internal_port": 8080, "internal_url": "http://api:8080"}
_OUTPUTS: dict[str, Any] = {
    "schema_version": 1,
    "stack": "shop-main",
    "system": "shop",
    "branch": "main",
    "services": {
        "api": {
            "container": "shop-main-api",
            "image": "sha256:0",
            "endpoints": {"http": _ENDPOINT},
            "credentials": {"token": "very-secret-token"},
            "capabilities": {},
            "readiness": {"type": "http", "path": "/health"},
        }
    },
}
_LEASE = json.loads(json.dumps(asdict(lease_of(holder=ProcessId.of_started(2**22 - 1)))))
_ADDRESSES = {
    "shop-main": asdict(Allocation(number=1, subnet="10.213.0.16/28", address="127.83.1.2", ports={"a.b": 80}))
}
_GARBAGE = [b"", b"\xff\xfe", b"null", b"[]", b"3", b"{", b"[" * 1500, b'{"a": ' + b"9" * 5000 + b"}", b"\0" * 10]
contents = st.binary(max_size=60) | st.sampled_from(_GARBAGE)


@thousand
@given(documents | mutated(_OUTPUTS))
@example(_OUTPUTS)
def test_any_document_is_outputs_or_one_clear_error(document: Any) -> None:
    found = result_or_error(lambda: EnvironmentOutputs.parse(document))
    if isinstance(found, EphemeraError):
        return
    shown = json.dumps(found.document()) + repr(found) + str(dict(found.variables()))
    secrets = [secret.get_secret_value() for one in found.services.values() for secret in one.credentials.values()]
    assert not any(
        secret in shown for secret in secrets if len(secret) > 12 and secret not in json.dumps(_without(document))
    )
    again = EnvironmentOutputs.parse(json.loads(json.dumps(found.document(show_secrets=True))))
    assert again.document(show_secrets=True) == found.document(show_secrets=True)
    for service in found.services.values():
        for endpoint in service.endpoints.values():
            assert endpoint.port is None or 1 <= endpoint.port <= 65535


def _without(document: Any) -> Any:
    """The document without its credentials."""
    services = document["services"].items()
    return {**document, "services": {name: {**one, "credentials": {}} for name, one in services}}


@thousand
@given(st.one_of((documents | mutated(_LEASE)).map(lambda value: json.dumps(value).encode()), contents))
@example(json.dumps({**_LEASE, "holder": {"pid": 2**70, "started": 1}}).encode())
@example(json.dumps({**_LEASE, "holder": {"pid": -1, "started": 1}}).encode())
@example(json.dumps({**_LEASE, "expires_at": 10**400}).encode())
def test_any_lease_file_is_a_lease_or_set_aside(content: bytes) -> None:
    path = state_dir() / "leases" / "shop-main.json"
    for aside in path.parent.glob("*.unreadable-*"):
        aside.unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    found = leases.read("shop-main")
    if found is None:
        assert not path.exists()
        assert content in [each.read_bytes() for each in path.parent.glob("shop-main.json.unreadable-*")], "it is kept"
    else:
        assert isinstance(found, Lease)
        assert found.stack == "shop-main", "no other stack is touched"
        assert found.held() in (True, False)
        assert all(isinstance(at, int | float) for at in (found.expires_at, found.used_at, found.created_at))
        assert found.phase in ("creating", "disposable", "kept", "pooled", "destroying")
    leases.all_leases()


@thousand
@given(st.one_of((documents | mutated(_ADDRESSES)).map(lambda value: json.dumps(value).encode()), contents))
def test_any_file_of_addresses_is_read_or_made_good(content: bytes) -> None:
    (state_dir() / "addresses.json").write_bytes(content)
    found = addresses.allocate("shop-main", pool="10.213.0.0/16", occupied=["10.213.0.0/28"])
    assert found.subnet.endswith("/28")
    assert found.address.startswith("127.83.")
    assert addresses.allocate("shop-main", pool="10.213.0.0/16") == found
    assert addresses.allocate("shop-other", pool="10.213.0.0/16").subnet != found.subnet


@thousand
@given(texts, st.lists(texts, max_size=3), st.none() | texts)
def test_any_pool_is_a_subnet_or_one_clear_error(pool: str, occupied: list[str], live: str | None) -> None:
    (state_dir() / "addresses.json").unlink(missing_ok=True)
    result_or_error(lambda: addresses.allocate("shop-main", pool=pool))


@thousand
@given(
    st.one_of(
        st.dictionaries(
            st.just("config") | texts,
            st.dictionaries(st.sampled_from(["ephemera:only"]) | texts, documents) | documents,
        ).map(lambda value: json.dumps(value).encode()),
        texts.map(lambda text: text.encode(errors="replace")),
        contents,
    )
)
@example(b"config: {ephemera:branch: 2001-13-45}")
@example(b"config: [1, 2]")
@example(b"config: {1: 2}")
@example(b"&a [*a]")
def test_any_stack_file_is_config_or_one_clear_error(tmp_path: Path, content: bytes) -> None:
    workspace = Workspace(tmp_path)
    workspace.config_file("shop-main").write_bytes(content)
    found = result_or_error(lambda: workspace.read_config("shop-main"))
    if not isinstance(found, EphemeraError):
        assert all(isinstance(part, str) for pair in found.items() for part in pair)
        result_or_error(lambda: workspace.write_config("shop-main", {"branch": "main"}))


@thousand
@given(contents, st.sampled_from(["key", "passphrase", "backend-id"]))
def test_any_file_of_ours_is_used_or_one_clear_error(content: bytes, name: str) -> None:
    path = state_dir() / name
    path.write_bytes(content)
    read = {"key": identity.key, "passphrase": identity.passphrase_file, "backend-id": identity.backend_id}[name]
    found = result_or_error(read)
    if isinstance(found, EphemeraError):
        assert str(path) in found.message
        assert path.read_bytes() == content, "it is not replaced: what it protects would be lost"
