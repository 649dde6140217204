"""The page in a browser: quiet, right in every number, workable by keyboard, readable by everyone, printed whole."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="no playwright: pip install -e '.[dev]'")

from axe_playwright_python import base as axe
from browser import MIDDLE, NARROW, NUMBERS, OPEN_ALL, WIDE, Opened, overflow, started, visit, widest
from playwright.sync_api import Browser
from records import clip_seg, kmeans, of_k, vilseg, write_run
from zsbench.reports.page import ReportSummary, write_report

AXE = (Path(axe.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
PAPER_WIDTH = round((297 - 2 * 12) / 25.4 * 96)  # of A4 landscape within its margins, in CSS pixels
RANKING = "table.scores"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ReportSummary:
    """Seeds, captions that leak and that do not, an ablation, rounds, a calibration, K, a limited and a real run."""
    home = tmp_path_factory.mktemp("made")
    for seed in (0, 1):
        write_run(home / "runs", level=0.52, corpus="drawn: web", seed=seed, rounds=2, gamma=0.4)
        write_run(home / "runs", level=0.11, corpus="drawn: clean", seed=seed, pictures=0)
    write_run(home / "runs", level=0.47, **vilseg())
    write_run(home / "runs", level=0.40, **kmeans())
    write_run(home / "runs", level=0.30, **clip_seg())
    write_run(home / "runs", level=0.3, method="spnet", title="SPNet", corpus=None, absent=("sheep",), vectors="clip")
    write_run(home / "runs", level=0.2, method="spnet", title="SPNet", corpus=None, limit=32)
    write_run(home / "runs", level=0.1, method="zs3net", title="ZS3Net", corpus=None, limit=32, pictures=0)
    gone = ("pottedplant", "sheep", "sofa", "train", "tvmonitor")
    write_run(home / "runs", method="nothing", title="Nothing", corpus=None, absent=gone, pictures=0)
    write_run(home / "runs", level=0.15, corpus="coco-mini", kind="real", limit=16)
    for k in (2, 4):
        write_run(home / "runs", level=0.4, pictures=0, **of_k(k))
    return write_report([home / "runs"], home / "out")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ReportSummary:
    """A record whose every word is an attack or a nuisance: markup, scripts, formulas, length, direction, signs."""
    home = tmp_path_factory.mktemp("hostile")
    names = [EVIL, "javascript:alert(3)", "=cmd|' /C calc'!A0", "Ω" * 300, "\u202eelbisrever", "🐑‍🌾 sheep", "סוס"]
    folder = write_run(home / "runs", unseen=names, title=f"{EVIL}{'long' * 80}", corpus="drawn: web", seed=1)
    record = json.loads((folder / "record.json").read_text())
    record["command"] = f"zsbench run {EVIL} {'x' * 400}"
    record["split"] |= {"name": f'voc5"><svg onload=alert(4)>{"s" * 120}', "title": f"\u202e{EVIL}"}
    record["data"] |= {"title": "javascript:alert(5)", "notes": [EVIL, "\u2067" + "n" * 300]}
    record["environment"] = {EVIL: "y" * 300, "onload": "alert(6)"}
    record["supervision"]["corpus"] |= {"name": f"\u202e{EVIL}", "verdict": "v" * 300}
    record["method"]["config"] = {"href": "javascript:alert(7)", EVIL: "=1+1"}
    record["files"]["pictures"][0] |= {"key": EVIL, "rule": "javascript:alert(8)", "labels": {"truth": names}}
    (folder / "record.json").write_text(json.dumps(record))
    write_run(home / "runs", unseen=names, level=0.3)
    return write_report([home / "runs"], home / "out")


# --- quiet, and right in every number


@pytest.mark.parametrize("name", ["made", "hostile"])
def test_nothing_is_asked_for_and_nothing_complained_of(
    browser: Browser, name: str, request: pytest.FixtureRequest
) -> None:
    file = request.getfixturevalue(name).page
    with visit(browser, file) as opened:
        opened.all(OPEN_ALL)
        opened.page.mouse.wheel(0, 20_000)
        for button in opened.page.locator(f"{RANKING} thead button").all()[:3]:
            button.click()
        assert opened.requests == [file.as_uri()]
        assert opened.complaints == []
        assert opened.page.locator("script").count() == 1
        assert opened.page.locator("[onerror], [onload], [href^=javascript], iframe, object, form").count() == 0
        assert all(size > 0 for size in opened.all("[...document.images].map((image) => image.naturalWidth)"))


def test_the_watch_over_requests_and_complaints_sees_them(browser: Browser, tmp_path: Path) -> None:
    loud = tmp_path / "loud.html"
    loud.write_text(
        "<script src='https://zsbench.invalid/x.js'></script><script>console.warn('w'); throw Error('e')</script>"
    )
    with visit(browser, loud) as opened:
        assert "https://zsbench.invalid/x.js" in opened.requests
        assert any(said == "w" for said in opened.complaints) and any("e" in said for said in opened.complaints)


def test_outside_words_cannot_turn_the_sentence_around_them(browser: Browser, hostile: ReportSummary) -> None:
    with visit(browser, hostile.page) as opened:
        words = opened.all("document.documentElement.textContent")
        assert "elbisrever" in words and not re.search("[\u202a-\u202e\u2066-\u2069]", words)


def tables(made: ReportSummary) -> dict[str, list[dict[str, str]]]:
    """Every CSV file beside the page by its name."""
    return {file.stem: list(csv.DictReader(io.StringIO(file.read_text()))) for file in made.page.parent.glob("*.csv")}


def printed(value: float, form: str) -> str:
    minus = str.maketrans("-", "−")
    forms = {"": f"{100 * value:.1f}", "signed": f"{100 * value:+.1f}".translate(minus), "whole": f"{value:,.0f}",
             "tenths": f"{value:,.1f}", "percent": f"{100 * value:.0f}", "ratio": f"{value:.2f}".translate(minus),
             "chance": "<0.001" if value < 0.001 else f"{value:.3f}"}  # fmt: skip
    return forms[form]


def check_numbers(numbers: list[dict[str, Any]], files: dict[str, list[dict[str, str]]]) -> None:
    """Every number is the mean, the lowest or the highest of its cells in the CSV file it names, and printed so."""
    join = {"": lambda cells: sum(cells) / len(cells), "min": min, "max": max}
    used = {(number["file"], name) for number in numbers for name in number["marks"]}
    for number in numbers:
        rows = [row for row in files[number["file"]] if row["key"] in number["keys"]]
        mine = [row for row in rows if number["marks"].items() <= row.items()]
        others = {name for file, name in used if file == number["file"]} - number["marks"].keys()
        if len(mine) > len(number["keys"]):  # of several rows per run, the one about all of them together
            mine = [row for row in mine if not any(row[name] for name in others)]
        assert {row["key"] for row in mine} == set(number["keys"]), number
        cells = [float(row[number["column"]]) for row in mine if row[number["column"]]]
        assert join[number.get("of", "")](cells) == pytest.approx(number["value"], abs=1.01e-6), number
        assert number["printed"] == printed(number["value"], number.get("form", "")), number


def test_every_number_is_the_csvs_before_and_after_sorting(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        before = opened.all(NUMBERS)
        assert len(before) > 300 and {number["file"] for number in before} >= {"runs", "rounds"}
        check_numbers(before, tables(made))
        for button in opened.page.locator(f"{RANKING} thead button").all():
            button.click()
        opened.page.get_by_role("button", name="Method").first.click()
        after = opened.all(NUMBERS)
        assert after != before, "rows have moved"
        assert sorted(map(json.dumps, after)) == sorted(map(json.dumps, before)), "and nothing in them"


def test_every_run_of_the_csv_is_on_the_page(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        assert {key for number in opened.all(NUMBERS) for key in number["keys"]} == {
            row["key"] for row in tables(made)["runs"]
        }


# --- sorting by keyboard

ORDER = """(table) => [...table.tBodies].map((body) => [...body.rows].map((row) =>
  row.matches(".divider") ? "divider" : row.matches(".inner") ? "inner" : row.dataset.keys))"""


def mean(rows: list[dict[str, str]], keys: str, column: str) -> float | None:
    cells = [float(row[column]) for row in rows if row["key"] in keys.split() and row[column]]
    return sum(cells) / len(cells) if cells else None


def expected(bodies: list[list[str]], rows: list[dict[str, str]], column: str, sign: int) -> list[list[str]]:
    """Each body sorted by a column of runs.csv, stable, absent last, what belongs to a run right below it."""
    found = []
    for body in bodies:
        blocks: list[list[str]] = []
        for item in body:
            if item == "inner":
                blocks[-1].append(item)
            elif item != "divider":
                blocks.append([item])
        blocks.sort(key=lambda block: (v := mean(rows, block[0], column)) is None or sign * v)
        there = [block for block in blocks if mean(rows, block[0], column) is not None]
        gone = [block for block in blocks if mean(rows, block[0], column) is None]
        found.append(["divider"] * ("divider" in body) + [item for block in there + gone for item in block])
    return found


def test_tables_are_sorted_by_keyboard_and_brought_back(browser: Browser, made: ReportSummary) -> None:
    rows = tables(made)["runs"]
    with visit(browser, made.page) as opened:
        table = opened.page.locator(RANKING).first
        first = table.evaluate(ORDER)
        assert len(first) == 2 and "divider" in first[1] and "inner" in first[0], "ranked runs, then limited ones"
        button, head = (
            table.get_by_role("button", name="harmonic", exact=True),
            table.locator("th:has-text('harmonic')"),
        )
        status = opened.page.get_by_role("status")
        button.focus()
        opened.page.keyboard.press("Enter")
        down = table.evaluate(ORDER)
        assert down == expected(first, rows, "all_harmonic_miou", -1) != first
        assert head.first.get_attribute("aria-sort") == "descending"
        opened.page.wait_for_function("document.querySelector('[role=status]').textContent.includes('highest first')")
        assert status.text_content() == "Scores, %: sorted by harmonic, highest first; dashes last"
        opened.page.keyboard.press("Space")
        up = table.evaluate(ORDER)
        assert up == expected(first, rows, "all_harmonic_miou", 1) != down
        assert head.first.get_attribute("aria-sort") == "ascending"
        assert button.evaluate("(button) => button === document.activeElement"), "the focus stays where it was"
        opened.page.keyboard.press("Enter")
        assert table.evaluate(ORDER) == first and table.locator("[aria-sort]").count() == 0


def test_absent_scores_stay_last_in_both_directions(browser: Browser, made: ReportSummary) -> None:
    rows = tables(made)["runs"]
    [absent] = [row["key"] for row in rows if row["method"] == "nothing"]
    with visit(browser, made.page) as opened:
        table = opened.page.locator(RANKING).first
        first = table.evaluate(ORDER)
        for column, name in (("unseen_only_miou", "mIoU"), ("all_unseen_miou", "unseen mIoU")):
            button = table.get_by_role("button", name=name, exact=True)
            for sign in (-1, 1):
                button.press("Enter")
                assert table.evaluate(ORDER) == expected(first, rows, column, sign)
                assert table.evaluate(ORDER)[0][-1] == absent
            button.press("Enter")


def test_equal_rows_keep_their_order_and_words_go_from_a_to_z(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        table = opened.page.locator(RANKING).first
        first = table.evaluate(ORDER)
        table.get_by_role("button", name="Seeds").press("Enter")
        seeds = """(table) => [...table.tBodies[0].rows].filter((row) => row.dataset.keys).map((row) =>
          [row.dataset.keys, row.cells[row.cells.length - 3].textContent.trim()])"""
        sorted_by_seeds = table.evaluate(seeds)
        assert {seeds for _, seeds in sorted_by_seeds} == {"0", "0, 1"}
        alone = [key for key, seeds in sorted_by_seeds if seeds == "0"]
        assert alone == [key for key in first[0] if key in alone], "stable"
        method = table.get_by_role("button", name="Method")
        method.press("Enter")
        names = table.evaluate(
            "(t) => [...t.tBodies[0].rows].filter((r) => r.dataset.keys).map((r) => r.cells[0].innerText)"
        )
        assert [name.split("\n")[0].casefold() for name in names] == sorted(n.split("\n")[0].casefold() for n in names)
        assert table.locator("th[aria-sort]").count() == 1
        assert table.locator("th[aria-sort=ascending]").inner_text() == "Method"


def test_only_columns_with_something_to_sort_by_get_a_button(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        heads = opened.page.locator(RANKING).first.locator("thead th")
        plain = [head.text_content() for head in heads.all() if not head.locator("button").count()]
        assert "Unseen only" in plain and "All names" in plain and any("drawn from 0 to 100" in str(p) for p in plain)
        sizes = opened.all(
            "[...document.querySelectorAll('thead button')].map((b) => b.getBoundingClientRect().toJSON())"
        )
        assert sizes and all(size["height"] >= 24 and size["width"] >= 24 for size in sizes)


# --- pictures


def test_the_slider_fades_the_labels_by_keyboard(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        card = opened.page.locator(".cards .card").first
        slider, label = card.get_by_role("slider"), card.locator(".prediction .label")
        assert "opacity of the labels" in str(slider.get_attribute("aria-label")).lower()
        shown = [label.evaluate("(image) => Number(getComputedStyle(image).opacity)")]
        before = card.locator(".prediction .stack").screenshot()
        slider.focus()
        for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Home", "ArrowRight"):
            opened.page.keyboard.press(key)
            shown.append(label.evaluate("(image) => Number(getComputedStyle(image).opacity)"))
        assert shown == pytest.approx([1, 0.95, 0.9, 0.85, 0, 0.05])
        assert slider.get_attribute("aria-valuetext") == "labels at 5 percent"
        assert card.locator(".prediction .stack").screenshot() != before, "and the eye sees it"
        assert card.locator(".photo .label").count() == 0


def test_one_slider_fades_every_answer_side_by_side(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        card = opened.page.locator(".common .card").first
        labels = card.locator(".label")
        assert labels.count() == card.locator(".truth, .prediction").count() > 3
        card.get_by_role("slider").focus()
        for key in ("Home", "ArrowRight"):
            opened.page.keyboard.press(key)
        assert set(labels.evaluate_all("(all) => all.map((image) => getComputedStyle(image).opacity)")) == {"0.05"}
        assert card.locator(".photo .label").count() == 0
        alts = [str(image.get_attribute("alt")) for image in card.locator(".prediction .label").all()]
        assert len(set(alts)) == len(alts), "each says whose answer it is"


def test_failures_come_first_in_every_gallery(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        galleries = opened.all(
            "[...document.querySelectorAll('.cards')].map((g) => [...g.querySelectorAll('.card-title')].map((t) => t.textContent))"
        )
        assert len(galleries) >= 4
        for titles in galleries:
            rules = [title.split()[0].lower() for title in titles]
            assert rules == sorted(rules, key=["worst", "median", "best"].index) and rules[0] == "worst"


def test_pictures_say_what_they_show(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page, java_script_enabled=False) as opened:
        alts = [image.get_attribute("alt") for image in opened.page.locator("img").all()]
        assert alts and all(alts), "every picture has words"
        assert any(re.match(r"Prediction: .*\w", str(alt)) for alt in alts)
    with visit(browser, made.page) as opened:
        names = opened.all(
            "[...document.querySelectorAll('svg')].filter((s) => s.ariaHidden !== 'true').map((s) => s.getAttribute('aria-label'))"
        )
        assert names and all(names), "and every drawing has a name"


# --- for everyone


def test_axe_finds_nothing_in_light_or_dark(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page, reduced_motion="reduce") as opened:
        opened.all(OPEN_ALL)
        opened.page.locator(f"{RANKING} thead button").first.press("Enter")
        opened.all(AXE)
        assert violations(opened, {"runOnly": {"type": "tag", "values": TAGS}}) == []
        opened.page.emulate_media(color_scheme="dark")
        assert (
            violations(opened, {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}) == []
        )


def test_axe_finds_nothing_on_a_phone(browser: Browser, made: ReportSummary) -> None:
    """Colours are the same at every width and take axe the longest."""
    with visit(browser, made.page, NARROW, reduced_motion="reduce", has_touch=True) as opened:
        opened.all(OPEN_ALL)
        opened.all(AXE)
        rules = {"color-contrast": {"enabled": False}}
        assert violations(opened, {"runOnly": {"type": "tag", "values": TAGS}, "rules": rules}) == []


def test_axe_finds_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<title>x</title><p style='color: #aaa'>pale</p><img src='data:,'>")
    with visit(browser, tmp_path / "bad.html") as opened:
        opened.all(AXE)
        found = " ".join(violations(opened, {"runOnly": {"type": "tag", "values": TAGS}}))
        assert {"color-contrast", "image-alt", "html-has-lang"} <= set(re.findall(r"[a-z-]+(?=: \d)", found))


def violations(opened: Opened, options: dict[str, Any]) -> list[str]:
    """What axe finds, each rule once with its first place. The insides of drawings are one picture to a reader."""
    found = opened.all(
        "(options) => axe.run({exclude: [['svg.drawing > *']]}, {...options, resultTypes: ['violations']})", options
    )
    return [
        f"{rule['id']}: {len(rule['nodes'])} × {rule['nodes'][0]['html'][:200]} {rule['nodes'][0]['failureSummary']}"
        for rule in found["violations"]
    ]


def test_headings_landmarks_and_tables_have_their_order(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        levels = opened.all("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => Number(h.tagName[1]))")
        assert levels.count(1) == 1 and levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), levels
        for role in ("banner", "main", "navigation", "contentinfo"):
            assert opened.page.get_by_role(role, exact=True).count() == 1
        assert opened.all("[...document.querySelectorAll('th')].every((th) => th.scope)")
        assert opened.all(
            """[...document.querySelectorAll('table')].every((t) => t.caption || t.closest('[aria-label]'))"""
        )
        assert opened.all("document.documentElement.lang") == "en"


def test_the_skip_link_is_the_first_stop_and_works(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        opened.page.keyboard.press("Tab")
        skip = opened.page.locator(".skip")
        assert skip.evaluate("(link) => link === document.activeElement")
        box = skip.bounding_box()
        assert box and box["x"] >= 0 and box["y"] >= 0, "seen while it has the focus"
        opened.page.keyboard.press("Enter")
        opened.page.keyboard.press("Tab")
        assert opened.all("document.activeElement.closest('main') !== null")


def test_every_stop_of_the_keyboard_shows_where_it_is(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        opened.page.locator(".card input").first.wait_for()
        seen = {}
        for wanted in ("nav a", "main a", "summary", ".scroll", "thead button", ".slider input", "pre[tabindex]"):
            opened.all(OPEN_ALL)
            opened.page.keyboard.press("Tab")  # from now on the focus is the keyboard's
            opened.page.locator(wanted).first.focus()
            seen[wanted] = opened.all(
                "(({outlineStyle, outlineWidth}) => outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2)"
                "(getComputedStyle(document.activeElement))"
            )
        assert all(seen.values()), seen


@pytest.mark.parametrize("name", ["made", "hostile"])
@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW])
def test_the_page_never_scrolls_sideways(
    browser: Browser, name: str, width: int, request: pytest.FixtureRequest
) -> None:
    with visit(browser, request.getfixturevalue(name).page, width) as opened:
        opened.all(OPEN_ALL)
        assert overflow(opened) <= 0
        opened.all("document.documentElement.style.fontSize = '32px'")  # text at 200 %
        assert overflow(opened) <= 0
        assert opened.all(
            "[...document.querySelectorAll('.scroll')].every((part) => part.tabIndex === 0 && part.ariaLabel)"
        )


def test_motion_is_left_out_where_it_is_not_wanted(browser: Browser, made: ReportSummary) -> None:
    for wish, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        with visit(browser, made.page, reduced_motion=wish) as opened:
            assert opened.all("getComputedStyle(document.documentElement).scrollBehavior") == behaviour
            assert opened.all("document.getAnimations().length") == 0


# --- links


def test_links_open_what_they_lead_to_and_back_works(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page, reduced_motion="reduce") as opened:
        page = opened.page
        link = page.locator(f"{RANKING} td.key a:visible").first
        target = page.locator(str(link.get_attribute("href")))
        assert target.get_attribute("open") is None
        link.press("Enter")
        page.wait_for_function("(run) => run.open", arg=target.element_handle())
        assert target.evaluate("(run) => run.getBoundingClientRect().top < innerHeight")
        target.evaluate("(run) => { run.open = false; }")
        link.press("Enter")
        page.wait_for_function("(run) => run.open", arg=target.element_handle())
        page.go_back()
        page.wait_for_function("location.hash === ''")
        page.wait_for_function(
            "(link) => Math.abs(link.getBoundingClientRect().top) < innerHeight", arg=link.element_handle()
        )
        assert opened.complaints == []


def test_an_address_with_a_place_opens_there(browser: Browser, made: ReportSummary) -> None:
    key = tables(made)["runs"][0]["key"]
    with visit(browser, made.page, address=f"#run-{key}") as opened:
        assert opened.page.locator(f"#run-{key}").get_attribute("open") is not None
    with visit(browser, made.page, address="#%E0%A4%A") as opened:
        assert opened.complaints == [], "an address that is none is no error"


# --- without a script, and on paper


def test_without_a_script_nothing_is_lost_and_nothing_is_dead(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        with_script = opened.all("document.querySelector('main').textContent").split()
    with visit(browser, made.page, java_script_enabled=False) as opened:
        page = opened.page
        for wanted in (".slider", ".with-script", "thead button"):
            assert not any(item.is_visible() for item in page.locator(wanted).all()), wanted
        assert page.locator("button, input:visible, [aria-sort]").count() == 0
        assert set(with_script) - set(str(page.locator("main").text_content()).split()) == set()
        [details] = page.locator("details:has(table):visible").all()[:1]
        details.locator("summary").first.press("Enter")
        assert details.locator("table").first.is_visible()
        link = page.locator("nav a").nth(1)
        link.click()
        assert page.url.endswith(str(link.get_attribute("href")))


def test_on_paper_no_table_is_wider_than_the_page_and_details_are_open(browser: Browser, made: ReportSummary) -> None:
    for script in (True, False):
        with visit(browser, made.page, PAPER_WIDTH, java_script_enabled=script) as opened:
            opened.page.emulate_media(media="print")
            opened.all("dispatchEvent(new Event('beforeprint'))") if script else None
            for wanted in ("table", "td", "th", ".drawing", ".card", "pre"):
                assert widest(opened, wanted, PAPER_WIDTH) == [], wanted
            heights = opened.all(
                "[...document.querySelectorAll('.inner td, .run dl')].map((part) => part.offsetHeight)"
            )
            assert heights and min(heights) > 20, "what is folded on the screen is open"
            for gone in ("nav", ".slider", ".skip"):
                assert not any(item.is_visible() for item in opened.page.locator(gone).all()), gone


def test_printing_cuts_no_row_and_keeps_the_words_of_the_ledger(
    browser: Browser, made: ReportSummary, tmp_path: Path
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="no pypdf: pip install -e '.[dev]'")
    with visit(browser, made.page) as opened:
        data = opened.page.pdf(prefer_css_page_size=True, print_background=True)
        opened.all(OPEN_ALL)
        rows = opened.all(f"[...document.querySelectorAll('{RANKING} tr[data-keys]')].map((row) => row.innerText)")
        marks = opened.all("[...document.querySelectorAll('.ledger .mark')].map((mark) => mark.innerText)")
    sheets = pypdf.PdfReader(io.BytesIO(data)).pages
    assert all(sheet.mediabox.width > sheet.mediabox.height for sheet in sheets), "A4 on its side"
    texts = [plain(sheet.extract_text()) for sheet in sheets]
    assert len(rows) > 12
    for row in rows:
        words = {plain(word) for word in row.split() if re.search(r"\d", word)}  # its numbers, with the key
        assert any(all(word in text for word in words) for text in texts), f"a row is torn apart: {row}"
    everything = "".join(texts)
    assert marks and all(plain(mark) in everything for mark in marks)
    for place, sheet in enumerate(sheets):
        assert beyond(sheet) == [], f"text beyond the edge of page {place + 1}"


LONG_WORDS = "chosen on " + " ".join(f"validation{n}" for n in range(16)) + " and " + "w" * 60
# Text that ends beyond the paper, or beyond the cell it stands in.
CUT = """(most) => [...document.querySelectorAll("main td, main th, main caption, main pre, main dd")]
  .filter((cell) => cell.checkVisibility() && !cell.closest(".visually-hidden"))
  .flatMap((cell) => {
    const words = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
    const edge = Math.min(most, cell.getBoundingClientRect().right) + 1;
    for (let node; (node = words.nextNode());) {
      if (node.parentElement.closest(".visually-hidden, .scale, svg")) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      if ([...range.getClientRects()].some((box) => box.width > 0 && box.right > edge)) found.push(node.data.trim());
    }
    return found;
  })"""


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> ReportSummary:
    """Photographs beside published numbers, with a ledger of long words, a field no paper states and a command in lines."""
    home = tmp_path_factory.mktemp("wordy")
    for title, method in (("ViL-Seg", "vilseg"), ("SPNet", "spnet"), ("ZS3Net", "zs3net")):
        for split in ("voc5", "voc_other"):
            folder = write_run(home / "runs", method=method, title=title, kind="real", pictures=0, split=split)
            record = json.loads((folder / "record.json").read_text())
            record["supervision"] |= {"tuned_on": LONG_WORDS, "backbone": f"ResNet-101 {'of many layers ' * 12}",
                                      "backbone_corpus": f"ImageNet {'without unseen classes ' * 10}",
                                      "declared_by": "the submitter of these runs"}  # fmt: skip
            record["method"]["departures"] = [{"field": "pool", "paper": None, "value": "avg", "reason": "not given"}]
            record["command"] = "zsbench run \\\n  --method vilseg \\\n  --split voc5"
            (folder / "record.json").write_text(json.dumps(record))
    return write_report([home / "runs"], home / "out")


def test_long_words_end_on_the_paper_and_the_last_column_is_printed(
    browser: Browser, wordy: ReportSummary, tmp_path: Path
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="no pypdf: pip install -e '.[dev]'")
    with visit(browser, wordy.page) as opened:
        data = opened.page.pdf(prefer_css_page_size=True)
        last = opened.all("""[...document.querySelectorAll(".ledger, #real-voc5-published > .scroll .published")]
          .flatMap((table) => [...table.tHead.rows[0].cells, ...[...table.tBodies[0].rows].map((r) => r.cells[r.cells.length - 1])])
          .map((cell) => cell.textContent)""")
    text = plain("".join(sheet.extract_text() for sheet in pypdf.PdfReader(io.BytesIO(data)).pages))
    assert {"Declared by", "Printed by", "Tuned on"} <= set(last)
    assert [words for words in last if plain(words) not in text] == []
    assert plain(LONG_WORDS) in text, "and none of it is cut"
    with visit(browser, wordy.page, PAPER_WIDTH) as opened:
        opened.page.emulate_media(media="print")
        opened.all("dispatchEvent(new Event('beforeprint'))")
        assert opened.all(CUT, PAPER_WIDTH) == []
        opened.all(
            "document.querySelectorAll('.ledger .mark').forEach((m) => m.style.setProperty('white-space', 'nowrap'))"
        )
        assert opened.all(CUT, PAPER_WIDTH) != [], "the watch sees words that are cut"


def test_lines_of_a_citation_and_a_command_are_lines_on_the_page(browser: Browser, wordy: ReportSummary) -> None:
    with visit(browser, wordy.page) as opened:
        opened.all(OPEN_ALL)
        told = opened.page.locator("#cite pre").inner_text().strip()
        assert [line.split("=")[0].strip() for line in told.split("\n")] == [
            "@software{zsbench,", "title", "author", "version", "license", "}",
        ]  # fmt: skip
        command = opened.page.locator(".run pre").first.inner_text().strip()
        assert command == "zsbench run \\\n  --method vilseg \\\n  --split voc5".replace(
            "vilseg", command.split("--method ")[1].split()[0]
        )
        assert not [words for words in opened.page.locator("pre").all_inner_texts() if "\\n" in words]


def test_departures_are_folded_told_once_and_say_what_no_paper_states(browser: Browser, wordy: ReportSummary) -> None:
    with visit(browser, wordy.page) as opened:
        tables = opened.page.locator(".departures")
        assert tables.count() == 3 and not tables.first.is_visible(), "one for each method, not one for each split"
        assert opened.page.locator("p:has-text('the same as on voc5')").count() == 3
        opened.all(OPEN_ALL)
        assert tables.first.locator("td").all_inner_texts() == ["not stated", "avg", "not given"]


def test_a_class_of_the_captions_says_on_which_split_it_is_unseen(browser: Browser, made: ReportSummary) -> None:
    with visit(browser, made.page) as opened:
        used = opened.page.locator("#captions article", has_text="drawn: web").first
        told = dict(re.findall(r"(\w+) [\d,]+ (unseen on .+)", "\n".join(used.locator(".pairs li").all_inner_texts())))
    assert told["sheep"] == "unseen on voc5", "and not on voc_k2, where the same captions were used"
    assert len(told) == 5


def plain(text: str) -> str:
    """Without white space: where a PDF breaks lines says nothing."""
    return re.sub(r"\s+", "", text)


def beyond(sheet: Any) -> list[str]:
    """The words of a printed page that begin outside of its paper."""
    found: list[str] = []

    def look(text: str, cm: list[float], tm: list[float], *_: object) -> None:
        x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
        if text.strip() and not 0 <= x <= float(sheet.mediabox.width):
            found.append(f"{x:.0f}: {text.strip()[:40]}")

    sheet.extract_text(visitor_text=look)
    return found
