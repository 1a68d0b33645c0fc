from __future__ import annotations

from ephemera.home.paths import state_dir
from ephemera.home.scratch import remove, scratch


def test_folder_is_there_while_it_is_needed_and_no_two_are_the_same() -> None:
    with scratch("shop-main") as one:
        (one / "file").write_text("x")
        with scratch("shop-main") as other:
            assert other.is_dir()
            assert other != one
        assert (one / "file").read_text() == "x"
        assert one.is_relative_to(state_dir())
    assert list(state_dir().rglob("*")) == [state_dir() / "scratch"]


def test_what_a_killed_process_left_is_found() -> None:
    with scratch("shop-main") as folder:
        remove("shop-main")
        assert not folder.exists()
    remove("shop-other")
