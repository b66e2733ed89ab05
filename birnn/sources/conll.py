"""Tagged sentences from CoNLL files: one token a line, its columns beside it, a blank line after
each sentence.

CoNLL-U: https://universaldependencies.org/format.html. Column files: CoNLL-2003 (Tjong Kim Sang and
De Meulder 2003) and its kin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from birnn.errors import DataError
from birnn.files import hashing
from birnn.files.hashing import Seen
from birnn.files.reading import Skipped, kind, lines
from birnn.params import ConllData

BATCH_TOKENS = 1 << 16
SUFFIXES = (".conllu", ".conll", ".bio", ".iob", ".iob2")
NAMED = re.compile(r"#\s*(sent_id|newdoc|newdoc id)\s*(?:=\s*(.*\S))?\s*$")
KNOWN = re.compile(r"#\s*(?:(?:sent_id|text|newpar|newdoc id)\s*=|newdoc\s*$|newpar\s*$)")
NODE = re.compile(r"(\d{1,9})(?:([-.])\d{1,9})?")
DOCUMENT = "-DOCSTART-"
HEADER = {"token", "word", "text", "form", "pos", "chunk", "lemma", "label", "tag", "ner", "id"}
"""Names that the columns of a first line may have, if it has no other."""
BLANKS = " \t"
"""What stands between columns; other blanks, such as that of 10\u00a0000, are parts of words."""


class Format(NamedTuple):
    """How to take the lines of a file.

    Attributes:
        conllu: whether column 1 holds the numbers of CoNLL-U, and `#` always begins a comment.
        token: the token's column, from 1.
        label: the label's column, from 1; -1 is the last, and None means that there is none.
        tabs: whether tabs alone separate columns, not any blanks.
        comments: whether each line that begins with `#` is a comment. If not, only those are that
            do not have the file's number of columns, or say what comments of CoNLL-U say.
    """

    conllu: bool
    token: int
    label: int | None
    tabs: bool
    comments: bool


@dataclass(slots=True)
class Sentence:
    """A sentence that is being read."""

    id: str | None = None
    document: str = ""
    node: int = 0
    tokens: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def chosen_format(data: ConllData, path: str | Path, labelled: bool = True) -> Format:
    """Fill in what is not said: by the name, a file is CoNLL-U or has the label in the last column.

    Args:
        data: what is said. By default the token's column is 2 in CoNLL-U and 1 elsewhere, the
            label's 4 or the last; columns lie between tabs or any blanks; and `#` always begins a
            comment in CoNLL-U only.
        path: `.conllu` or `.conllu.gz` stand for CoNLL-U, anything else for plain columns.
        labelled: whether labels are read.
    """
    conllu = str(path).removesuffix(".gz").endswith(".conllu")
    if data.format is not None:
        conllu = data.format == "conllu"
    return Format(
        conllu=conllu,
        token=data.token or (2 if conllu else 1),
        label=(data.label or (4 if conllu else -1)) if labelled else None,
        tabs=conllu if data.separator is None else data.separator == "tab",
        comments=conllu if data.comments is None else data.comments,
    )


def read(
    data: ConllData,
    path: str | Path,
    prefix: str = "",
    *,
    labelled: bool = True,
    seen: Seen | None = None,
    skipped: Skipped | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the sentences of one file.

    A sentence's id is its `# sent_id`, or else, also where that has come by before, its number. If
    documents are groups, its group is the last `# newdoc` or `-DOCSTART-`.

    Args:
        data: how to read it; see `chosen_format`.
        path: the file, perhaps `.gz`.
        prefix: put before the numbers that serve as ids.
        labelled: whether labels and documents are read.
        seen: the ids of files that were read before.
        skipped: counts multiword tokens, empty nodes, comments and `-DOCSTART-` lines.

    Raises:
        DataError: names the line that has not the file's number of columns, an empty token or
            label, or a node number out of order.
    """
    form = chosen_format(data, path, labelled)
    documents = data.group == "document" and labelled
    reader = _Reader(path, form, documents, prefix, skipped or Skipped())
    seen = Seen() if seen is None else seen
    held: list[Sentence] = []
    tokens = number = 0
    sure = labelled or kind(path) in SUFFIXES
    for sentence in reader.sentences(lines(path, data.encoding)):
        held.append(sentence)
        tokens += len(sentence.tokens)
        if tokens >= BATCH_TOKENS:
            sure = sure or reader.check_columns()
            yield _batch(held, prefix, number, seen)
            number += len(held)
            held, tokens = [], 0
    if held:
        if not sure:
            reader.check_columns()
        yield _batch(held, prefix, number, seen)


class _Reader:
    """The state between lines: the file's width, the document, the sentence."""

    def __init__(
        self, path: str | Path, form: Format, documents: bool, prefix: str, skipped: Skipped
    ) -> None:
        self.path, self.form, self.documents = path, form, documents
        self.prefix, self.skipped = prefix, skipped
        self.width: int | None = None
        self.number = 0
        self.document, self.num_documents = "", 0
        self.sentence = Sentence()
        self.columns_are_sure = False

    def check_columns(self) -> bool:
        """Refuse a file whose lines may as well be sentences as tokens with columns beside them.

        Raises:
            DataError: lines have several columns, and no blank line ends a sentence of several.
        """
        if self.width is not None and self.width > 1 and not self.columns_are_sure:
            raise DataError(
                f"{self.path}: expected a token a line and an empty line after each sentence, "
                f"found lines of {self.width} words and no such sentence; if each is a sentence, "
                "put each word on a line of its own; if it is a token with columns, let the name "
                "end in .conll"
            )
        return True

    def sentences(self, source: Iterator[str]) -> Iterator[Sentence]:
        """Give each sentence as its end is read."""
        for self.number, text in enumerate(source, 1):
            line = text.rstrip("\r\n")
            if line.strip(BLANKS):
                self._line(line)
                continue
            done, self.sentence = self.sentence, Sentence()
            self.columns_are_sure |= len(done.tokens) > 1
            if done.tokens:
                yield done
        if self.sentence.tokens:
            yield self.sentence

    def _line(self, line: str) -> None:
        columns = line.split("\t") if self.form.tabs else words(line)
        if line.startswith("#") and self._is_comment(line, len(columns)):
            self._comment(line)
        elif self.number == 1 and len(columns) > 1 and {*map(str.lower, columns)} <= HEADER:
            self.skipped.add("names of columns", self._place())
        elif columns[0] == DOCUMENT:
            self.skipped.add(f"{DOCUMENT} lines", self._place())
            self._new_document(None)
        elif not (self.form.conllu and self._is_no_word(columns[0])):
            self._token(columns, tabs="\t" in line and not self.form.tabs)

    def _is_comment(self, line: str, width: int) -> bool:
        return self.form.comments or width != self.width or KNOWN.match(line) is not None

    def _comment(self, line: str) -> None:
        self.skipped.add("comments", self._place())
        match NAMED.match(line):
            case re.Match() as found if found[1] == "sent_id":
                self.sentence.id = found[2]
            case re.Match() as found:
                self._new_document(found[2])

    def _new_document(self, name: str | None) -> None:
        self.num_documents += 1
        self.document = name or f"{self.prefix}document-{self.num_documents:06d}"

    def _current_document(self) -> str:
        if not self.document:
            raise DataError(
                f"{self._place()}: expected `# newdoc` or {DOCUMENT} before the first sentence, "
                "found none; leave out data.group"
            )
        return self.document

    def _is_no_word(self, number: str) -> bool:
        """Whether a node of CoNLL-U is no word: a range of several, or an empty node."""
        node = NODE.fullmatch(number)
        if node is None:
            raise DataError(f"{self._place()}, column 1: expected a number, found {number[:60]!r}")
        if node[2] is not None:
            what = "multiword tokens" if node[2] == "-" else "empty nodes"
            self.skipped.add(what, self._place())
            return True
        self.sentence.node += 1
        if int(node[1]) != self.sentence.node:
            raise DataError(
                f"{self._place()}, column 1: expected {self.sentence.node}, found {number}; "
                "a blank line ends a sentence"
            )
        return False

    def _token(self, columns: list[str], *, tabs: bool) -> None:
        self.width = self.width or len(columns)
        least = self.form.token
        if self.form.label is not None:
            least = max(least, self.form.label, 2)
        if len(columns) != self.width or self.width < least:
            expected = f"{self.width}" if self.width >= least else f"at least {least}"
            kind = "tabs" if self.form.tabs else "blanks"
            hint = "; if tabs alone separate them, set data.separator: tab" if tabs else ""
            raise DataError(
                f"{self._place()}: expected {expected} columns between {kind}, "
                f"found {len(columns)}: {' '.join(columns)[:60]!r}{hint}"
            )
        if self.documents:
            self.sentence.document = self._current_document()
        self.sentence.tokens.append(self._field(columns, self.form.token, "token"))
        if self.form.label is not None:
            self.sentence.labels.append(self._field(columns, self.form.label, "label"))

    def _field(self, columns: list[str], column: int, name: str) -> str:
        text = columns[column - 1 if column > 0 else column].strip(BLANKS)
        if not text:
            number = column if column > 0 else len(columns)
            raise DataError(f"{self._place()}, column {number}: expected a {name}, found nothing")
        return text

    def _place(self) -> str:
        return f"{self.path}, line {self.number}"


def words(line: str) -> list[str]:
    """Cut at blanks; `str.split` would cut at others too."""
    return [word for word in line.replace("\t", " ").split(" ") if word]


def distinct(names: list[str], numbers: list[str], seen: Seen) -> list[str]:
    """Give names that have not come by; else the number, or `number-2` and so on."""
    names, places, attempt = [*names], np.arange(len(names)), 1
    while len(places):
        again, _ = seen.add(hashing.of_text(pa.array([names[place] for place in places])))
        places = places[again]
        for place in places:
            names[place] = numbers[place] + ("" if attempt == 1 else f"-{attempt}")
        attempt += 1
    return names


def _batch(sentences: list[Sentence], prefix: str, before: int, seen: Seen) -> pa.RecordBatch:
    numbered = [f"{prefix}{before + n:06d}" for n in range(1, len(sentences) + 1)]
    ids = [sentence.id or number for sentence, number in zip(sentences, numbered, strict=True)]
    ids = distinct(ids, numbered, seen)
    lengths = [len(sentence.tokens) for sentence in sentences]
    rows = pa.array([n for n, length in enumerate(lengths) for _ in range(length)])
    columns = {"sequence": pa.array(ids).take(rows)}
    if sentences[0].document:
        columns["group"] = pa.array([sentence.document for sentence in sentences]).take(rows)
    columns["token"] = pa.array([token for s in sentences for token in s.tokens])
    if sentences[0].labels:
        columns["label"] = pa.array([label for s in sentences for label in s.labels])
    return pa.RecordBatch.from_pydict(columns)
