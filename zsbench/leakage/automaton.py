"""All phrases of a lexicon as one table: a byte goes in, a state comes out, and a few states mean that phrases end here.

Aho and Corasick's automaton (Commun. ACM 18(6), 1975) over phrases written as ␣word␣word␣, where ␣ is any run of
separators; so a match is bounded by separators and its inner separators may be of any kind and number. Choices that
make it quick: letter case folds in the table of bytes, state numbers are offsets into the table, and the states that
ask for work have the highest numbers, so that one comparison per byte decides whether anything is to be done. An ending
state goes on to a quiet twin at the next separator, so that it speaks once. A caption begins as if after a separator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Symbols that no word contains; the engine looks for < and > beside a word, and ROW ends a caption.
SEPARATOR, LESS, GREATER, ROW = range(4)
OTHER = 4  # a letter that no phrase contains
FIRST_LETTER = 5

# What else a byte tells, above the symbol's eight bits.
NOT_ASCII, AMPERSAND, SEMICOLON, NUL = (1 << bit for bit in (8, 9, 10, 11))


@dataclass(frozen=True)
class Automaton:
    """The table and how to read it.

    symbols: (256,) uint16, byte -> symbol, with the bits above. folded: the same for text that is folded already, where
        bytes from 0x80 are letters. table: (states * width,) uint32, state + symbol -> state. start: state before a
        caption. ending: states from here on mean that phrases end.
    outputs: phrases ending at ending state k are `output[outputs[k] : outputs[k + 1]]`. words: words of each phrase.
    """

    symbols: NDArray[np.uint16]
    folded: NDArray[np.uint16]
    table: NDArray[np.uint32]
    width: int
    start: int
    ending: int
    outputs: NDArray[np.int32]
    output: NDArray[np.int32]
    words: NDArray[np.int32]


def build(phrases: Sequence[str]) -> Automaton:
    """The automaton of normalised phrases (`words.form_of`), each named by its place."""
    symbols, folded, width = _symbols(phrases)
    trie, ends = _trie([_spelled(phrase, folded) for phrase in phrases])
    goto, order, fail = _complete(trie, width)
    output = _all_outputs(ends, order, fail)
    return _numbered(
        symbols, folded, goto, order, output, np.array([phrase.count(" ") + 1 for phrase in phrases], np.int32)
    )


def _symbols(phrases: Sequence[str]) -> tuple[NDArray[np.uint16], NDArray[np.uint16], int]:
    used = [byte for byte, _ in Counter("".join(phrases).encode()).most_common() if byte != 32]
    folded = np.full(256, SEPARATOR, dtype=np.uint16)
    folded[[b for b in range(256) if b >= 128 or chr(b).isalnum()]] = OTHER
    folded[used] = np.arange(FIRST_LETTER, FIRST_LETTER + len(used))
    folded[ord("A") : ord("Z") + 1] = folded[ord("a") : ord("z") + 1]
    folded[ord("<")], folded[ord(">")] = LESS, GREATER
    symbols = folded.copy()
    symbols[128:] |= NOT_ASCII
    symbols[ord("&")] |= AMPERSAND
    symbols[ord(";")] |= SEMICOLON
    symbols[0] |= NUL
    return symbols, folded, FIRST_LETTER + len(used)


def _spelled(phrase: str, folded: NDArray[np.uint16]) -> list[int]:
    """The phrase as symbols, between separators."""
    return [SEPARATOR, *folded[list(phrase.encode())].tolist(), SEPARATOR]


def _trie(spelled: Sequence[list[int]]) -> tuple[list[dict[int, int]], dict[int, list[int]]]:
    """Nodes as symbol -> node, and the phrases that end at a node. Node 0 is inside a word that begins no phrase."""
    nodes: list[dict[int, int]] = [{SEPARATOR: 1}, {}]
    ends: dict[int, list[int]] = {}
    for number, symbols in enumerate(spelled):
        node = 0
        for symbol in symbols:
            if symbol not in nodes[node]:
                nodes[node][symbol] = len(nodes)
                nodes.append({})
            node = nodes[node][symbol]
        ends.setdefault(node, []).append(number)
    return nodes, ends


def _complete(nodes: list[dict[int, int]], width: int) -> tuple[NDArray[np.int32], list[int], list[int]]:
    """Every node's move on every symbol, the nodes breadth first, and each one's longest suffix that is a node."""
    goto = np.zeros((len(nodes), width), dtype=np.int32)
    goto[0, SEPARATOR] = 1
    order, fail, parted = [0, 1], [0] * len(nodes), {1}
    for node in order:
        if node:
            goto[node] = goto[fail[node]]
        if node in parted:
            goto[node, SEPARATOR] = node  # a run of separators is one
        for symbol, child in nodes[node].items():
            if node:
                fail[child] = int(goto[node, symbol])
                order.append(child)
            if symbol == SEPARATOR:
                parted.add(child)
            goto[node, symbol] = child
    goto[:, LESS] = goto[:, GREATER] = goto[:, ROW] = goto[:, SEPARATOR]
    return goto, order, fail


def _all_outputs(ends: dict[int, list[int]], order: list[int], fail: list[int]) -> dict[int, list[int]]:
    """Phrases ending at a node, with those that end there as its suffixes."""
    output: dict[int, list[int]] = {}
    for node in order[1:]:
        found = ends.get(node, []) + output.get(fail[node], [])
        if found:
            output[node] = found
    return output


def _numbered(
    symbols: NDArray[np.uint16],
    folded: NDArray[np.uint16],
    goto: NDArray[np.int32],
    order: list[int],
    output: dict[int, list[int]],
    words: NDArray[np.int32],
) -> Automaton:
    """Quiet states first, among them the twins of the ending ones; then the ending states, twice.

    The second time for phrases that end with their caption: what follows begins anew.
    """
    count, width = goto.shape
    loud = list(output)
    number = np.full(count, -1, dtype=np.int64)
    number[loud] = count + np.arange(len(loud))  # `count` quiet states: the quiet nodes, and a twin per loud one
    quiet = np.array([node for node in order if number[node] < 0])  # breadth first: what is met most lies together
    number[quiet] = np.arange(len(quiet))
    twin = np.arange(len(quiet), count)
    table = np.empty((count + 2 * len(loud), width), dtype=np.int64)
    table[number] = number[goto]
    separators = [SEPARATOR, LESS, GREATER]
    table[number[loud][:, None], separators] = twin[:, None]
    table[twin] = table[number[loud]]
    table[:, ROW] = np.where(table[:, SEPARATOR] >= count, table[:, SEPARATOR] + len(loud), number[1])
    table[count + len(loud) :] = table[number[1]]
    offsets = np.cumsum([0, *(len(output[node]) for node in loud * 2)])
    return Automaton(
        symbols,
        folded,
        (table * width).astype(np.uint32).ravel(),
        width,
        int(number[1]) * width,
        count * width,
        offsets.astype(np.int32),
        np.array([phrase for node in loud * 2 for phrase in output[node]], dtype=np.int32),
        words,
    )
