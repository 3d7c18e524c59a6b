"""The documentation is plain technical English: phrases that made people read twice stay out."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import REPOSITORY

# What is wrong with it → a pattern for it.
RIDDLES = {
    "a verb without its agent": r"\b(?:is|are|was|were|be|being) (?:told|shown|said|meant|got"
    r"|gone on with|looked at|waited for)\b",
    "'who' without a person": r"(?:^|[.;:,(] ?)(?:who|whoever)\b (?!is\b)(?=[a-z])",
    "'whoever'": r"\bwhoever\b",
    "'those' without a noun": r"\bthose (?:that|who|which|of|in|with|before)\b",
    "'what' as a subject": r"(?:^|[.;:] )what "
    r"(?!(?:is|are|was|the|it|they|to|you|can|happens|does|this|each)\b)[a-z]+s\b",
    "'what' for a noun": r"\bof what (?:is|was|it|they)\b",
    "'so many' for a number": r"\bso (?:many|much|long) "
    r"(?:of|at|tasks|bytes|clicks|images|pixels|seconds|times|requests|decodes)\b",
    "'is none' for 'is not one'": r"(?<!there )\b(?:is|are|was) (?-i:none)\b",
    "'is no' for 'is not a'": r"\bis no (?!longer|more)[a-z]+(?: like|:| that\b)",
    "'come again' for 'retry'": r"\bcomes? again\b",
    "'got ready' for 'prepared'": r"\bgot ready\b",
    "'goes on' for 'continues'": r"\b(?:go|goes|going) on (?:where|with|behind)\b",
    "'save' for 'except'": r", save (?:a|the|for)\b",
    "'at hand' for 'available'": r"\bat hand\b",
    "'nothing but' for 'only'": r"\bnothing but\b",
    "'is of' for 'belongs to'": r"\b(?:is|are|was|were) of (?:the|an?|this|that|its|our)\b",
    "'beside itself'": r"\bbeside itself\b",
    "'what it was' for 'its value'": r"\bwhat (?:it|they) (?:was|were)\b",
    "'did not come to pass'": r"\bcome to pass\b",
    "'nobody' where the subject is known": r"\bnobody (?:asked|vouches|chose|paid|says)\b",
    "'all the same' for 'nevertheless'": r"\ball the same\b",
    "'no more' after the verb": r"\b(?:any|no) more (?:by then|use)\b",
    "'for' as 'because'": r", for (?:it|they|its|the [a-z]+ (?:is|are|may|can))\b",
    "'say' for 'for example'": r", say[,)]|\([a-z ]+, say\b",
}
# Names that say what happened to a value, not what it is.
RIDDLE_NAMES = {"told", "shown", "meant", "wishes", "Wishes", "Wanted", "Asked", "_no", "whoever"}


def written() -> list[Path]:
    """The documents of the project and the modules of the package and the tools."""
    found = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("*.py")]
    for folder in ("sam_backend", "tools"):
        found += (REPOSITORY / folder).rglob("*.py")
    return sorted(found)


WRITTEN = written()
DOCUMENTS = [path for path in WRITTEN if path.suffix == ".md"]
MODULES = [path for path in WRITTEN if path.suffix == ".py"]

EXAMPLES = (
    "four times as many wait, the next are told to come again (503)",
    "so many of the project's next tasks are got ready when one is opened",
    "a run that was stopped, killed even, is gone on with by running it again",
    "a picture of 0x0 pixels is none",
    "; those of an accepted or deleted one are forgotten",
)


def prose(document: Path) -> Iterator[tuple[int, str]]:
    """The sentences of a document, with their line; code and tables' figures are left out."""
    if document.suffix == ".py":
        yield from comments(document)
        return
    text = re.sub(
        r"```.*?```", lambda m: "\n" * m[0].count("\n"), document.read_text(), flags=re.DOTALL
    )
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("    "):
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", "X", line)


def comments(module: Path) -> Iterator[tuple[int, str]]:
    """The comments and strings of a module."""
    reader = io.StringIO(module.read_text()).readline
    for token in tokenize.generate_tokens(reader):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.start[0], token.string


def riddles(text: str) -> list[str]:
    return [why for why, pattern in RIDDLES.items() if re.search(pattern, text, re.IGNORECASE)]


@pytest.mark.parametrize("sentence", EXAMPLES)
def test_riddles_are_recognised(sentence: str) -> None:
    assert riddles(sentence)


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.name)
def test_documents_have_no_riddles(document: Path) -> None:
    found = [
        f"{document.name}:{number}: {why}: {line.strip()}"
        for number, line in prose(document)
        for why in riddles(line)
    ]
    assert found == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_names_say_what_a_value_is(module: Path) -> None:
    reader = io.StringIO(module.read_text()).readline
    names = {t.string for t in tokenize.generate_tokens(reader) if t.type == tokenize.NAME}
    assert names & RIDDLE_NAMES == set()


def test_the_readme_fits_on_one_page() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", document.read_text()):
        path, anchor = target
        if "://" in path:
            continue
        linked = document.parent / path if path else document
        assert linked.exists(), f"{document.name}: {path}"
        if anchor and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor[1:] in slugs, f"{document.name}: {path}{anchor}"
