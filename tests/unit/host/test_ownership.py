"""Who can change what this user runs and what it keeps secrets in."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ephemera.host import ownership
from ephemera.model.errors import MachineError
from tests.unit.users import belongs_to

OTHER = 4711
REMEDY = "set SOME_HOME"


def keep(folder: Path, closed: int = ownership.OPEN) -> None:
    ownership.keep(folder, closed=closed, remedy=REMEDY)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def program(folder: Path, name: str = "engine/1/bin/pulumi") -> Path:
    keep(folder)
    path = folder / name
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def refused(pattern: str) -> pytest.RaisesExc[MachineError]:
    return pytest.raises(MachineError, match=pattern)


def test_a_folder_is_made_for_this_user_alone_with_its_parents(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keep(tmp_path / "local" / "state" / "ephemera")
    finally:
        os.umask(before)
    assert [mode(tmp_path / place) for place in ("local", "local/state", "local/state/ephemera")] == [0o700] * 3


@pytest.mark.parametrize(
    ("was", "closed", "now"), [(0o755, 0o077, 0o700), (0o777, 0o022, 0o755), (0o750, 0o022, 0o750)]
)
def test_an_own_folder_is_closed_and_that_is_told_once(
    tmp_path: Path, was: int, closed: int, now: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ephemera"
    folder.mkdir()
    folder.chmod(was)
    keep(folder, closed)
    keep(folder, closed)
    assert mode(folder) == now
    told = f"ephemera: {folder} was open to other users; its mode is {now:04o} now\n"
    assert capsys.readouterr().err == (told if was != now else "")


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path / "ephemera")
    belongs_to(monkeypatch, {tmp_path / "ephemera": OTHER})
    with refused(rf"ephemera belongs to user {OTHER}, and this runs as \S+: {REMEDY}$") as caught:
        keep(tmp_path / "ephemera")
    assert caught.value.exit_code == 5


def test_a_home_of_another_user_gets_no_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    belongs_to(monkeypatch, {tmp_path: OTHER})
    with refused(f"{tmp_path} belongs to"):
        keep(tmp_path / ".local" / "state" / "ephemera")
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize("name", ["derived-keys", "key"])
def test_what_another_user_put_into_it_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path / "ephemera")
    (tmp_path / "ephemera" / name).touch()
    belongs_to(monkeypatch, {tmp_path / "ephemera" / name: OTHER})
    with refused(f"{name} belongs to"):
        keep(tmp_path / "ephemera")


def test_what_lies_in_it_is_closed_too(tmp_path: Path) -> None:
    keep(tmp_path / "ephemera")
    (tmp_path / "ephemera" / "leases").mkdir()
    (tmp_path / "ephemera" / "leases").chmod(0o777)
    keep(tmp_path / "ephemera")
    assert mode(tmp_path / "ephemera" / "leases") == 0o755


@pytest.mark.parametrize("place", [".", "deeper"])
def test_a_parent_that_every_user_can_change_is_refused(tmp_path: Path, place: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    if place == "deeper":
        (shared / place).mkdir()
    with refused(rf"shared is open to other users \(mode 0777\): `chmod go-w {shared}`, or {REMEDY}"):
        keep(shared / place / "ephemera")


def test_a_sticky_parent_is_no_way_in(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    keep(shared / "ephemera")
    assert mode(shared / "ephemera") == 0o700


@pytest.mark.parametrize(("private", "refusing"), [(True, False), (False, True)])
def test_a_group_may_write_to_a_parent_if_it_is_this_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool, refusing: bool
) -> None:
    monkeypatch.setattr(ownership, "_is_private", lambda _: private)
    tmp_path.chmod(0o775)
    if refusing:
        with refused("mode 0775"):
            keep(tmp_path / "ephemera")
    else:
        keep(tmp_path / "ephemera")


def test_a_group_is_private_without_other_members(monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    me = pwd.getpwuid(os.geteuid())
    users = [me, pwd.struct_passwd(("root", "x", 0, 0, "", "/root", "/bin/sh"))]
    groups = {1: ["root"], 2: [me.pw_name], 3: ["ann"], me.pw_gid: []}
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("", "x", gid, groups[gid])))
    ownership._is_private.cache_clear()
    assert [ownership._is_private(gid) for gid in (1, 2, 3, me.pw_gid, 99)] == [True, True, False, True, False]
    ownership._is_private.cache_clear()


def test_a_link_leads_to_a_folder_that_is_held_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere").chmod(0o755)
    link = tmp_path / "ephemera"
    link.symlink_to("elsewhere")
    keep(link)
    assert mode(tmp_path / "elsewhere") == 0o700
    belongs_to(monkeypatch, {tmp_path / "elsewhere": OTHER})
    with refused("elsewhere belongs to"):
        keep(link)


def test_another_users_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ephemera").symlink_to("elsewhere")
    belongs_to(monkeypatch, {tmp_path / "ephemera": OTHER})
    monkeypatch.setattr(Path, "is_symlink", lambda path: path.name == "ephemera")
    with refused("ephemera belongs to"):
        keep(tmp_path / "ephemera")


def test_a_link_within_it_leads_to_what_others_cannot_change(tmp_path: Path) -> None:
    keep(tmp_path / "ephemera")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "ephemera" / "pulumi").symlink_to("../shared")
    with refused("shared is open to other users"):
        keep(tmp_path / "ephemera")


def test_a_file_in_its_place_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refused(r"file/ephemera cannot be made \(Not a directory\): "):
        keep(tmp_path / "file" / "ephemera")


def test_a_program_of_ours_is_taken(tmp_path: Path) -> None:
    path = program(tmp_path / "cache")
    path.parents[1].chmod(0o777)
    path.chmod(0o775)
    assert ownership.program(path, tmp_path / "cache", REMEDY) == path
    assert (mode(path.parents[1]), mode(path)) == (0o755, 0o755)


@pytest.mark.parametrize("place", ["engine", "engine/1", "engine/1/bin", "engine/1/bin/pulumi"])
def test_a_planted_program_is_refused(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path / "cache")
    belongs_to(monkeypatch, {tmp_path / "cache" / place: OTHER})
    with refused(rf"{re.escape(place)} belongs to"):
        ownership.program(path, tmp_path / "cache", REMEDY)


def test_a_program_that_every_user_could_write_to_is_refused(tmp_path: Path) -> None:
    path = program(tmp_path / "cache")
    path.chmod(0o777)
    with refused(rf"any user may have changed it \(mode 0777\): {REMEDY}"):
        ownership.program(path, tmp_path / "cache", REMEDY)


def test_in_a_user_namespace_folders_of_outside_lead_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"/proc/self/uid_map": ["0 1000 1"], "/proc/sys/kernel/overflowuid": [str(OTHER)]}
    monkeypatch.setattr(ownership, "_lines", lambda path: iter(lines[path]))
    belongs_to(monkeypatch, {tmp_path.parent: OTHER})
    keep(tmp_path / "ephemera")
    belongs_to(monkeypatch, {tmp_path / "ephemera": OTHER})
    with refused("ephemera belongs to"):
        keep(tmp_path / "ephemera")
