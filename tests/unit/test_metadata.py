"""What describes the project says the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
DESCRIBING: Final = ("CITATION.cff", ".github/ISSUE_TEMPLATE/config.yml")


def project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    described: dict[str, Any] = tomllib.loads(text)["project"]
    return described


def test_the_version_is_written_once() -> None:
    """In the package; what else describes the project has none that could differ."""
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")

    assert "version" not in project()
    assert project()["dynamic"] == ["version"]
    assert re.findall("^(?:version|date-released):", citation, re.MULTILINE) == []


@pytest.mark.parametrize("name", DESCRIBING)
def test_every_url_is_of_the_repository(name: str) -> None:
    """Its address is that of pyproject.toml, and a file that it names is here."""
    if not (ROOT / name).exists():
        pytest.skip("cannot: repository: a source distribution doesn't have it")
    text = (ROOT / name).read_text(encoding="utf-8")
    urls = project()["urls"]
    repository = urls["Repository"]

    found = [*re.findall(r"https://\S+", text), *urls.values()]

    assert len(found) > len(urls)
    for url in found:
        assert url.startswith(repository), url
        _, blob, file = url.partition("/blob/main/")
        assert not blob or (ROOT / file).is_file(), url
