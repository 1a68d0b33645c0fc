"""The data of OpenSearch: indexes, data streams, aliases, templates, pipelines, scripts and cluster settings.

Indexes are saved as a snapshot in a repository ``ephemera`` on the node's own volume; beside it, the definition of each
index, and of each shard the number of its last operation, which every write increases. A restore reads the same again
and touches only what differs: it closes an index, and opens it with the snapshot's files that it lacks; an index that
was deleted or created anew is restored whole. Clients stay connected; requests to an index during its restore fail.

Indexes whose names begin with a dot belong to plugins, and are left alone, except those of data streams.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ephemera.components.opensearch_http import Cluster, Refusal, connected
from ephemera.model.data import DataError, DataService

_REPOSITORY = "/_snapshot/ephemera"
_ATTEMPTS = 3
_SETTLED = "/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=30s"
_METADATA = (
    "/_cluster/state/metadata?expand_wildcards=all&filter_path=metadata.stored_scripts,metadata.indices.*.state,"
    "metadata.indices.*.settings,metadata.indices.*.mappings"
)
_ALIASES = "/_all/_alias?expand_wildcards=all"
_OPERATIONS = (
    "/_stats?level=shards&expand_wildcards=all&forbid_closed_indices=false"
    "&filter_path=indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no.max_seq_no"
)
# Those that others refer to come first.
_DEFINITIONS = {
    "/_component_template": ("component_templates", "component_template"),
    "/_index_template": ("index_templates", "index_template"),
    "/_template": (),
    "/_ingest/pipeline": (),
    "/_search/pipeline": (),
}
_SCRIPTS = "/_scripts"
# Changed by a restore itself.
_NOT_COMPARED = ("uuid", "version", "history", "resize")

State = dict[str, Any]
"""``indexes``: by name, what tells one state of an index from another. ``streams``: by data stream, the indexes behind
it. ``definitions``: by path and name. ``settings``: of the cluster."""


class OpenSearchData:
    """Implements :class:`ephemera.model.data.Data`, without state."""

    def remember(self, service: DataService) -> str:
        """Take a snapshot of all indexes, in place of any before; return its name and all data's state as JSON."""
        with connected(service) as cluster:
            cluster.ask("GET", _SETTLED)
            cluster.ask("PUT", _REPOSITORY, {"type": "fs", "settings": {"location": "ready"}})
            before = [each["snapshot"] for each in cluster.ask("GET", f"{_REPOSITORY}/_all")["snapshots"]]
            snapshot, state = _snapshot(cluster, service.name)
            for name in before:
                cluster.ask("DELETE", f"{_REPOSITORY}/{name}")
        return json.dumps({"snapshot": snapshot, **state})

    def restore(self, service: DataService, remembered: str) -> str:
        """Restore what differs."""
        known = json.loads(remembered)
        with connected(service) as cluster:
            for attempt in range(1, _ATTEMPTS + 1):
                state = _state(cluster)
                try:
                    return _bring_back(cluster, known, state)
                except Refusal:
                    # A service may have created an index again that was just deleted; the next attempt sees it.
                    if attempt == _ATTEMPTS:
                        raise
        raise AssertionError


DATA = OpenSearchData()


def _snapshot(cluster: Cluster, service: str) -> tuple[str, State]:
    """Take a snapshot; return its name, empty if there is no index, and the state that it holds."""
    state = _state(cluster)
    if closed := [name for name, index in state["indexes"].items() if index["state"] != "open"]:
        raise DataError(f"the data of {service!r}: {', '.join(closed)} is closed", remedy="open or delete it")
    if not state["indexes"]:
        return "", state
    name = secrets.token_hex(4)
    behind = {index for indexes in state["streams"].values() for index in indexes}
    wanted = {"indices": [*state["indexes"].keys() - behind, *state["streams"]], "include_global_state": False}
    made = cluster.ask("PUT", f"{_REPOSITORY}/{name}?wait_for_completion=true", wanted)["snapshot"]
    if made["state"] != "SUCCESS":
        raise Refusal(f"its snapshot is {made['state']}: {made['failures']}")
    after = _state(cluster)
    # An index that was written to meanwhile equals no state that is read later, so it is always restored.
    state["indexes"] = {
        index: found if after["indexes"].get(index) == found else {**found, "operations": None}
        for index, found in state["indexes"].items()
    }
    return name, state


def _state(cluster: Cluster) -> State:
    metadata = cluster.ask("GET", _METADATA).get("metadata", {})
    aliases = cluster.ask("GET", _ALIASES)
    operations = cluster.ask("GET", _OPERATIONS).get("indices", {})
    streams = {
        stream["name"]: [index["index_name"] for index in stream["indices"]]
        for stream in cluster.ask("GET", "/_data_stream")["data_streams"]
    }
    behind = {index for indexes in streams.values() for index in indexes}
    return {
        "indexes": {
            name: _index(index, aliases.get(name, {}), operations.get(name, {}))
            for name, index in sorted(metadata.get("indices", {}).items())
            if name in behind or not name.startswith(".")
        },
        "streams": streams,
        "definitions": {
            **{path: _definitions(cluster.ask("GET", path), *keys) for path, keys in _DEFINITIONS.items()},
            _SCRIPTS: {name: {"script": script} for name, script in metadata.get("stored_scripts", {}).items()},
        },
        "settings": cluster.ask("GET", "/_cluster/settings?flat_settings=true"),
    }


def _index(index: Mapping[str, Any], aliases: Mapping[str, Any], operations: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in index["settings"]["index"].items() if key not in _NOT_COMPARED}
    shards = operations.get("shards", {})
    return {
        "state": index["state"],
        "settings": settings,
        "mappings": index["mappings"],
        "aliases": aliases.get("aliases", {}),
        "operations": {
            shard: max(copy["seq_no"]["max_seq_no"] for copy in copies if copy["routing"]["primary"])
            for shard, copies in sorted(shards.items())
        },
    }


def _definitions(answer: Mapping[str, Any], many: str = "", one: str = "") -> dict[str, Any]:
    return {each["name"]: each[one] for each in answer[many]} if many else dict(answer)


def _bring_back(cluster: Cluster, known: State, now: State) -> str:
    streams = [name for name in now["streams"] if _stream(known, name) != _stream(now, name)]
    behind = {index for state in (known, now) for indexes in state["streams"].values() for index in indexes}
    dropped = [name for name in now["indexes"] if name not in known["indexes"] and name not in behind]
    changed = [name for name, index in known["indexes"].items() if now["indexes"].get(name) != index]
    kept = [name for name in changed if name not in behind and _same_index(known, now, name)]
    anew = [name for name in changed if name in now["indexes"] and name not in behind and name not in kept]
    for name in [*dropped, *anew, *kept]:
        if now["indexes"][name]["settings"].get("blocks"):
            blocks = {f"index.blocks.{block}": None for block in now["indexes"][name]["settings"]["blocks"]}
            cluster.ask("PUT", f"/{_quoted([name])}/_settings", blocks)
    if streams:
        cluster.ask("DELETE", f"/_data_stream/{_quoted(streams)}")
    if dropped or anew:
        cluster.ask("DELETE", f"/{_quoted([*dropped, *anew])}")
    defined = _define(cluster, known["definitions"], now["definitions"])
    defined += _set(cluster, known["settings"], now["settings"])
    if opened := [name for name in kept if now["indexes"][name]["state"] == "open"]:
        cluster.ask("POST", f"/{_quoted(opened)}/_close?wait_for_active_shards=0")
    lost = [name for name in known["streams"] if name in streams or name not in now["streams"]]
    wanted = [*(name for name in changed if name not in behind), *lost]
    if wanted:
        path = f"{_REPOSITORY}/{known['snapshot']}/_restore?wait_for_completion=true"
        done = cluster.ask("POST", path, {"indices": wanted, "include_global_state": False})["snapshot"]
        if done["shards"]["failed"]:
            raise Refusal(f"{done['shards']['failed']} shards of {', '.join(wanted)} were not restored")
    return _told(len(wanted), len({*dropped, *streams} - {*known["indexes"], *lost}), defined)


def _stream(state: State, name: str) -> Any:
    return [(index, state["indexes"].get(index)) for index in state["streams"].get(name, ())]


def _same_index(known: State, now: State, name: str) -> bool:
    """Return whether it is still the saved index, whatever its content: its files can be used then."""
    fixed = ("creation_date", "number_of_shards")
    settings = [state["indexes"].get(name, {}).get("settings", {}) for state in (known, now)]
    return all(settings[0].get(key) == settings[1].get(key) for key in fixed)


def _define(cluster: Cluster, known: dict[str, Any], now: dict[str, Any]) -> int:
    """Restore templates, pipelines and scripts; return how many."""
    changed = [
        (path, name, body)
        for path, bodies in known.items()
        for name, body in bodies.items()
        if now[path].get(name) != body
    ]
    for path, name, body in changed:
        cluster.ask("PUT", f"{path}/{_quoted([name])}", body)
    created = [(path, name) for path in reversed(now) for name in now[path] if name not in known[path]]
    for path, name in created:
        cluster.ask("DELETE", f"{path}/{_quoted([name])}")
    return len(changed) + len(created)


def _set(cluster: Cluster, known: Mapping[str, Any], now: Mapping[str, Any]) -> int:
    """Restore the cluster's settings; return how many."""
    different = {
        kind: {name: values.get(name) for name in {**values, **now[kind]} if values.get(name) != now[kind].get(name)}
        for kind, values in known.items()
    }
    if any(different.values()):
        cluster.ask("PUT", "/_cluster/settings", different)
    return sum(len(values) for values in different.values())


def _quoted(names: Iterable[str]) -> str:
    return ",".join(quote(name, safe="") for name in names)


def _told(back: int, dropped: int, defined: int) -> str:
    counts = {"indexes put back": back, "dropped": dropped, "definitions put back": defined}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing had changed"
