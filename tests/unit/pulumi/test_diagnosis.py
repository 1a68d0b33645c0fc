from __future__ import annotations

import pytest

from ephemera.pulumi.diagnosis import diagnose

_PREFIX = "sdk-v2/provider2.go:571: sdk.helper_schema: "
_SUFFIX = ": provider=docker@5.2.0"


def _output(said: str) -> list[str]:
    """As the engine puts it: as it happens, and summed up in the end."""
    return f"""\
Updating (shop-main):

 +  docker:index:Container web creating (0s) error:   {_PREFIX}{said}{_SUFFIX}
 +  docker:index:Container web **creating failed** error: 1 error occurred:
 +  pulumi:pulumi:Stack shop-main creating (0s) error: update failed
Diagnostics:
  pulumi:pulumi:Stack (shop-main):
    error: update failed

  docker:index:Container (web):
    error:   {_PREFIX}{said}{_SUFFIX}
    error: 1 error occurred:
      * {said}

Resources:
    + 6 created
    2 errored

Duration: 1s
""".splitlines()


_DAEMON = "Error response from daemon: "
_SHIM = "failed to create shim task: OCI runtime create failed: runc create failed: "


@pytest.mark.parametrize(
    ("said", "cause", "remedy"),
    [
        (
            f"Unable to start container: {_DAEMON}unable to find user nosuch: no matching entries in passwd file",
            "cannot start container 'web': unable to find user nosuch: no matching entries in passwd file",
            "`user`",
        ),
        (
            f"Unable to create container: {_DAEMON}Minimum memory limit allowed is 6MB",
            "cannot create container 'web': Minimum memory limit allowed is 6MB",
            "`memory_mb`",
        ),
        (
            f'Unable to start container: {_DAEMON}{_SHIM}exec: "serve": executable file not found in $PATH: unknown',
            "cannot start container 'web': exec: \"serve\": executable file not found in $PATH",
            "`command`",
        ),
        (
            f"Unable to start container: {_DAEMON}driver failed: Bind for 127.0.0.1:80: port is already allocated",
            "cannot start container 'web': driver failed: Bind for 127.0.0.1:80: port is already allocated",
            "free that port",
        ),
        (
            f'Unable to create container: {_DAEMON}Conflict. The name "/web" is already in use by container "0f".',
            'cannot create container \'web\': Conflict. The name "/web" is already in use by container "0f".',
            "remove the object of that name",
        ),
        (
            f"Unable to create container: {_DAEMON}write /var/lib/docker/x: no space left on device",
            "cannot create container 'web': write /var/lib/docker/x: no space left on device",
            "free disk space",
        ),
        ("something new", "container 'web': something new", "evidence"),
    ],
)
def test_refusal_of_the_docker_engine_is_its_own_sentence(said: str, cause: str, remedy: str) -> None:
    found = diagnose(_output(said))
    assert found.cause == cause
    assert remedy in found.remedy


def test_program_that_raises_is_told_with_the_place_in_it() -> None:
    output = """\
Diagnostics:
  pulumi:pulumi:Stack (shop-main):
    error: an unhandled error occurred: python inline source runtime error: division by zero
    Traceback (most recent call last):
      File "/venv/lib/python3.11/site-packages/pulumi/runtime/stack.py", line 237, in run
        result = func()
      File "/home/me/shop/__main__.py", line 4, in <module>
        run_project(SYSTEMS)
      File "/venv/lib/python3.11/site-packages/ephemera/resources/program.py", line 48, in run_project
        system.load()(environment)
      File "/home/me/shop/shop.py", line 12, in web
        1 / 0
    ZeroDivisionError: division by zero

Duration: 1s
""".splitlines()
    found = diagnose(output)
    assert found.cause == "/home/me/shop/shop.py:12: ZeroDivisionError: division by zero"
    assert found.remedy == "fix the program"
    assert diagnose(output[:2] + output[3:]) == found, "also where the first line of it was not kept"


@pytest.mark.parametrize(("output", "cause"), [([], "Pulumi printed nothing"), (["a", "  b  ", ""], "b")])
def test_without_an_error_it_is_the_last_line(output: list[str], cause: str) -> None:
    assert diagnose(output).cause == cause
