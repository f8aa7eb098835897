"""Each lint finds the violation that is planted for it, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lints.__main__ import LINTS, findings, main
from lints.modules import MAX_LINES

Plant = Callable[[dict[str, str]], list[str]]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Writes files by path and returns the lints that object, as `path:line lint`."""

    def write(files: dict[str, str]) -> list[str]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return [f"{found.path}:{found.line} {found.lint}" for found in findings(tmp_path)]

    return write


def test_a_clean_tree_has_no_findings(plant: Plant) -> None:
    assert (
        plant(
            {
                "ledger/rules.py": "from datetime import datetime\n\n\n"
                "def late(now: datetime, end: datetime) -> bool:\n    return now >= end\n",
                "ledger/errors.py": "class A(Conflict):\n    code = 'a_b'\n"
                "    zh = '已有 {n} 个'\n    en = '{n} exist'\n",
                "tests/ledger/test_rules.py": "def test_late():\n    assert True\n",
            }
        )
        == []
    )


def test_a_module_of_one_line_too_many_is_found(plant: Plant) -> None:
    files = {"ledger/fits.py": "x = 1\n" * MAX_LINES, "tests/long.py": "x = 1\n" * (MAX_LINES + 1)}
    assert plant(files) == [f"tests/long.py:{MAX_LINES + 1} module-size"]


@pytest.mark.parametrize("name", ["utils", "helpers"])
def test_a_module_without_a_domain_word_is_found(plant: Plant, name: str) -> None:
    assert plant({f"ledger/{name}.py": "x = 1\n"}) == [f"ledger/{name}.py:1 module-name"]


@pytest.mark.parametrize(
    "line",
    ["import fastapi", "from fastapi import APIRouter", "from starlette.requests import Request"],
)
def test_the_web_framework_stays_at_the_edge(plant: Plant, line: str) -> None:
    files = {
        f"{place}.py": line + "\n"
        for place in (
            "ledger/http",
            "ledger/http/routes",
            "portal/pages",
            "runtime/app",
            "ledger/a",
        )
    }
    assert plant(files) == ["ledger/a.py:1 web-import"]


@pytest.mark.parametrize(
    "code",
    [
        "import datetime\nx = datetime.datetime.now()\n",
        "from datetime import datetime\nx = datetime.now\n",
        "from datetime import datetime as dt\nx = dt.utcnow()\n",
        "from datetime import date\nx = date.today()\n",
        "import time\nx = time.time()\n",
        "from time import time_ns as t\nx = t()\n",
        "import uuid\nx = uuid.uuid1()\n",
    ],
)
def test_only_kernel_and_runtime_read_the_clock(plant: Plant, code: str) -> None:
    files = {f"{room}/a.py": code for room in ("kernel", "runtime", "ledger", "tests")}
    assert plant(files) == ["ledger/a.py:2 clock"]


def test_waiting_on_a_thread_is_no_reading_of_the_clock(plant: Plant) -> None:
    assert plant({"ledger/a.py": "import time\nx = time.monotonic()\n"}) == []


@pytest.mark.parametrize(
    "code",
    [
        "import os\nx = os.environ['A']\n",
        "from os import environ\nx = environ\n",
        "from os import getenv\nx = getenv('A')\n",
        "from pathlib import Path\nx = Path.home()\n",
    ],
)
def test_only_kernel_and_runtime_read_the_environment(plant: Plant, code: str) -> None:
    files = {f"{room}/a.py": code for room in ("kernel", "runtime", "storage")}
    assert plant(files) == ["storage/a.py:2 environment"]


def test_only_storage_commits(plant: Plant) -> None:
    code = "def f(tx):\n    tx.commit()\n    heads.commit(tx, at)\n"
    assert plant({"storage/a.py": code, "parties/a.py": code}) == ["parties/a.py:2 commit"]


@pytest.mark.parametrize(
    "handler",
    [
        "except:",
        "except Exception:",
        "except Exception as error:  # noqa: BLE001",
        "except Exception as error:  # noqa: S110 - not the rule",
        "except (ValueError, Exception):",
        "except BaseException:",
        "except BaseException:  # noqa: BLE001",
        "except BaseException:  # noqa: BLE001 -",
    ],
)
def test_a_broad_except_is_found_everywhere(plant: Plant, handler: str) -> None:
    code = f"try:\n    f()\n{handler}\n    g()\n"
    assert plant({"tests/a.py": code, "runtime/a.py": code}) == [
        "runtime/a.py:3 broad-except",
        "tests/a.py:3 broad-except",
    ]


@pytest.mark.parametrize(
    "handler",
    [
        "except ValueError:\n    pass",
        "except BaseException as e:  # noqa: BLE001 - handed to the caller\n    give(e)",
        "except Exception as e:  # noqa: BLE001 - the writer must go on\n    log(e)",
        "except BaseException as e:  # broad-except - raised or handed over\n    give(e)",
        "except BaseException:\n    clean()\n    raise",
    ],
)
def test_a_named_error_and_a_cleanup_are_allowed(plant: Plant, handler: str) -> None:
    assert plant({"ledger/a.py": f"try:\n    f()\n{handler}\n"}) == []


def test_a_raise_that_is_not_the_end_does_not_excuse(plant: Plant) -> None:
    code = "try:\n    f()\nexcept BaseException:\n    if x:\n        raise\n    g()\n"
    assert plant({"ledger/a.py": code}) == ["ledger/a.py:3 broad-except"]


def test_suppressing_everything_is_a_broad_except(plant: Plant) -> None:
    code = "from contextlib import suppress\nwith suppress(Exception):\n    f()\n"
    assert plant({"ledger/a.py": code}) == ["ledger/a.py:2 broad-except"]


def _error(code: str, zh: str = "中文", en: str = "English") -> str:
    return f"class A(Conflict):\n    code = {code!r}\n    zh = {zh!r}\n    en = {en!r}\n"


def test_an_error_code_is_used_once(plant: Plant) -> None:
    files = {"ledger/errors.py": _error("same"), "parties/errors.py": _error("same")}
    assert plant(files) == ["parties/errors.py:1 error-code"]


@pytest.mark.parametrize(
    "text",
    [
        _error("Not-Snake"),
        _error("a", zh="only English"),
        _error("a", en="只有中文"),
        _error("a", zh="缺 {what}", en="missing {other}"),
        "class A(Conflict):\n    code = 'a'\n    zh = '中文'\n",
    ],
)
def test_an_error_speaks_both_languages(plant: Plant, text: str) -> None:
    assert plant({"ledger/errors.py": text}) == ["ledger/errors.py:1 error-code"]


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "f()",
        "x = f()\n    print(x)",
        "g()",
    ],
)
def test_a_test_that_cannot_fail_is_found(plant: Plant, body: str) -> None:
    code = f"def g():\n    return 1\n\n\ndef test_it():\n    {body}\n"
    assert plant({"tests/test_a.py": code}) == ["tests/test_a.py:5 no-assertion"]


@pytest.mark.parametrize(
    "body",
    [
        "assert f()",
        "with pytest.raises(ValueError):\n        f()",
        "assert_whole_log_holds(f())",
        "outer(f())",
        "shared(f())",
    ],
)
def test_a_test_may_assert_through_a_helper(plant: Plant, body: str) -> None:
    helpers = "def inner(x):\n    assert x\n\n\ndef outer(x):\n    inner(x)\n\n\n"
    files = {
        "tests/test_a.py": f"{helpers}def test_it():\n    {body}\n",
        "tests/conftest.py": "def shared(x):\n    assert x\n",
    }
    assert plant(files) == []


def test_a_state_machine_without_any_assertion_is_found(plant: Plant) -> None:
    code = "class M(RuleBasedStateMachine):\n    def rule(self):\n        f()\n"
    assert plant({"tests/test_a.py": code}) == ["tests/test_a.py:1 no-assertion"]
    assert plant({"tests/test_a.py": code.replace("f()", "assert f()")}) == []


@pytest.mark.parametrize("folder", ["home", "root", "work"])
def test_a_path_of_one_machine_is_found(plant: Plant, folder: str) -> None:
    files = {
        "README.md": f"Run it in /{folder}/somewhere.\n",
        "docs/a.md": f"See https://example.org/{folder}/page and docs/{folder}/x.\n",
    }
    assert plant(files) == ["README.md:1 machine-path"]


def test_the_command_line_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert f"{len(LINTS)} lints passed" in capsys.readouterr().out
    (tmp_path / "utils.py").write_text("x = 1\n")
    assert main([str(tmp_path)]) == 1
    assert "utils.py:1: [module-name]" in capsys.readouterr().out
