"""seqae.web.page in a real browser: what it shows, what it never does, who can use it.

No test needs a network, and none may use it: the report opens from a file, and the server's page is
answered by the browser's own routes. Every request is written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import Visit, open_browser, why_not
from pages import HOSTILE, StandInServer, payload

from seqae.web.page import SCRIPTS, asset, content_security_policy, page
from seqae.web.payload import Payload

NO_BROWSER = why_not()
needs_browser = pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))

WIDTHS = (360, 1400)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def small() -> Payload:
    return payload(400)


@pytest.fixture(scope="module")
def report(small: Payload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(small), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "hostile.html"
    path.write_text(page(payload(60, hostile=True)), encoding="utf-8")
    return path


def test_the_file_names_no_address_and_has_no_inline_handler() -> None:
    document = page({"title": "a & b", "models": []})
    assert "<title>a &amp; b</title>" in document
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", asset("page.html"))
    addresses = set(re.findall(r"https?://[\w./]*", document))
    assert addresses <= {"http://www.w3.org/2000/svg"}, "the name of SVG is all"
    for name in (*SCRIPTS, "page.html"):
        unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\("
        assert not re.search(unsafe, asset(name))
        assert len(asset(name).splitlines()) <= 349


def test_the_policy_allows_one_script_one_style_and_a_server_only_if_there_is_one() -> None:
    policy = content_security_policy(calls=False)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert content_security_policy(calls=True) == policy.replace(
        "connect-src 'none'", "connect-src 'self'"
    )


def test_texts_cannot_end_the_block_of_data() -> None:
    document = page({"title": HOSTILE[1], "models": [{"name": text} for text in HOSTILE]})
    data = document.split('id="payload">')[1].split("</script>")[0]
    assert "<" not in data
    assert document.count("</script>") == 2
    document.encode("utf-8")


@pytest.mark.parametrize(
    ("points", "limit"), [(5000, 1.5e6), pytest.param(50_000, 12e6, marks=pytest.mark.slow)]
)
def test_its_size_is_within_the_promise(points: int, limit: float) -> None:
    assert len(page(payload(points)).encode()) < limit


@needs_browser
def test_a_report_shows_everything_and_asks_for_nothing(browser: Any, report: Path) -> None:
    with Visit(browser, 1400, offline=True) as visit:
        shown = visit.open(report.as_uri())
        titles = shown.locator("h2").all_inner_texts()
        assert {"At a glance", "The map", "Samples", "Training"} <= set(titles)
        assert shown.locator("nav a").all_inner_texts() == titles
        assert shown.locator("form").count() == 0, "nothing is behind a report"
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert visit.requests == [report.as_uri()]
        assert visit.complaints == []


@needs_browser
def test_sections_without_data_are_left_out(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text(page({"title": "nothing", "models": [{"name": "m"}]}), encoding="utf-8")
    with Visit(browser) as visit:
        assert visit.open(path.as_uri()).locator("section").count() == 0
        assert visit.complaints == []


@needs_browser
def test_lengths_are_shares_of_words_and_may_be_unknown(browser: Any, tmp_path: Path) -> None:
    groups = [(0, 5, 58, 1.0, 1.0), (21, 10**9, 0, 0.25, float("nan"))]
    keys = ("low", "high", "count", "exact_match", "token_accuracy")
    model: Any = {"name": "m", "lengths": [dict(zip(keys, own, strict=True)) for own in groups]}
    path = tmp_path / "lengths.html"
    path.write_text(page({"title": "lengths", "models": [model]}), encoding="utf-8")
    with Visit(browser) as visit:
        rows = visit.open(path.as_uri()).locator("tbody tr").all_inner_texts()
        assert rows == ["1 to 5\t58\t100.0 %\t100.0 %", "21 or more\t–\t25.0 %\t–"]
        assert visit.complaints == []


@needs_browser
def test_a_chart_leaves_out_what_is_no_number_and_is_read_by_keys(
    browser: Any, tmp_path: Path
) -> None:
    curve = {"steps": [1.0, 2.0, 3.0], "values": [4.0, float("nan"), 2.0]}
    path = tmp_path / "astray.html"
    runs: Any = [{"name": "r", "series": {"train/loss": curve}}]
    path.write_text(page({"title": "astray", "runs": runs}), encoding="utf-8")
    with Visit(browser) as visit:
        chart = visit.open(path.as_uri()).get_by_role("slider")
        chart.press("Home")
        assert chart.get_attribute("aria-valuetext") == "step 1: r 4"
        chart.press("End")
        assert chart.get_attribute("aria-valuetext") == "step 3: r 2"
        assert visit.complaints == []


@needs_browser
def test_hostile_texts_stay_texts(browser: Any, hostile: Path) -> None:
    with Visit(browser) as visit:
        shown = visit.open(hostile.as_uri())
        assert shown.locator("h1").inner_text() == HOSTILE[1]
        assert shown.title() == HOSTILE[1]
        assert shown.locator("img, script:not([id])").count() == 1, "the page's own script"
        search = shown.get_by_role("searchbox").first
        for text in HOSTILE[:6]:
            search.fill(text[:40])
            shown.locator(".side button").first.click()
            assert shown.locator(".chosen").text_content() == text
        assert visit.complaints == []
        assert visit.requests == [hostile.as_uri()]


@needs_browser
def test_a_click_on_a_point_shows_its_text_and_a_hover_too(
    browser: Any, report: Path, small: Payload
) -> None:
    assert "map" in small["models"][0]
    texts = small["models"][0]["map"]["texts"]
    with Visit(browser) as visit:
        shown = visit.open(report.as_uri())
        canvas = shown.locator("canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        found = []
        for step in range(400):  # a walk over the plane until it meets a point
            place = {
                "x": box["width"] * (0.2 + 0.03 * (step % 20)),
                "y": box["height"] * (0.15 + 0.035 * (step // 20)),
            }
            canvas.hover(position=place)
            if shown.locator(".tip").is_visible():
                found.append(shown.locator(".tip").inner_text())
                canvas.click(position=place)
                break
        assert found
        assert found[0] in texts
        assert shown.locator(".chosen").inner_text() == found[0]
        near = shown.locator(".side ol button").first
        name = near.inner_text()
        near.press("Enter")
        assert shown.locator(".chosen").inner_text() in name, "neighbours are a way to walk"


@needs_browser
def test_search_finds_words_and_leads_to_the_point(browser: Any, report: Path) -> None:
    with Visit(browser, 800, "dark") as visit:
        shown = visit.open(report.as_uri())
        shown.get_by_role("searchbox").first.fill("RED car")
        rows = shown.locator(".side ol button")
        assert rows.count() > 3
        assert all("red car" in text for text in rows.all_inner_texts())
        rows.nth(1).press("Enter")
        assert "red car" in shown.locator(".chosen").inner_text()
        assert visit.complaints == []


@needs_browser
@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "light"),
        (1400, "dark"),
        pytest.param(360, "dark", marks=pytest.mark.slow),
        pytest.param(1400, "light", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("door", ["report", pytest.param("serve", marks=pytest.mark.slow)])
def test_axe_finds_nothing(
    browser: Any, small: Payload, width: int, scheme: str, door: str
) -> None:
    """Of WCAG 2.2 A and AA, and axe-core's own best practices."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    server = StandInServer(page(small, api="api" if door == "serve" else None))
    with Visit(browser, width, scheme) as visit:
        visit.context.route("**/*", server)
        shown = visit.open(f"{server.address}?token=secret")
        shown.get_by_role("searchbox").first.fill("cat")
        shown.locator(".side ol button").first.click()
        if door == "serve":
            use_everything(shown)
        found = Axe().run(shown)
        assert found.violations_count == 0, found.generate_report()


def use_everything(shown: Any) -> None:
    """Fill every form of the server's page and send it."""
    for box in shown.locator("form input[type=text], textarea").all():
        box.fill("the dog sat on the mat")
    for button in shown.locator("form button[type=submit]").all():
        button.click()
    shown.wait_for_timeout(200)


@needs_browser
def test_a_served_page_decodes_what_is_clicked_and_sends_only_the_last_of_a_drag(
    browser: Any, small: Payload
) -> None:
    server = StandInServer(page(small, api="api"))
    with Visit(browser) as visit:
        visit.context.route("**/*", server)
        shown = visit.open(f"{server.address}?token=secret")
        canvas = shown.locator("canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        with shown.expect_response("**/decode_point"):
            canvas.click(position={"x": 90, "y": 80})
        shown.get_by_text("the cat sat on the mat").first.wait_for()
        assert [name for name, _ in server.calls] == ["decode_point"]
        shown.mouse.move(box["x"] + 60, box["y"] + 60)
        shown.mouse.down()
        # All within one task of the browser, so that no answer comes in between.
        canvas.evaluate(
            """(canvas, [x, y]) => {
              for (let i = 1; i <= 60; i += 1) {
                const at = { clientX: x + 4 * i, clientY: y + 2 * i, bubbles: true };
                canvas.dispatchEvent(new PointerEvent("pointermove", at));
              }
            }""",
            [box["x"] + 60, box["y"] + 60],
        )
        shown.mouse.up()
        shown.wait_for_timeout(150)
        moves = [asked for name, asked in server.calls[1:] if name == "decode_point"]
        assert 2 <= len(moves) <= 3, "the first, the last, and where it was let go"
        assert {"x", "y"} <= set(moves[-1])
        server.problem = "`x` must be on the map, but it is not instead. Click nearer."
        canvas.click(position={"x": 90, "y": 80})
        shown.get_by_text("Click nearer.").first.wait_for()
        assert all(url.startswith(server.address) for url in visit.requests)
        expected = [text for text in visit.complaints if "status of 400" not in text]
        assert expected == []


@needs_browser
@pytest.mark.slow
def test_every_form_of_a_served_page_asks_and_shows(browser: Any, small: Payload) -> None:
    server = StandInServer(page(small, api="api"))
    with Visit(browser) as visit:
        visit.context.route("**/*", server)
        shown = visit.open(f"{server.address}?token=secret")
        use_everything(shown)
        assert {name for name, _ in server.calls} == {
            "reconstruct", "interpolate", "arithmetic", "sample", "summarize",
        }  # fmt: skip
        assert visit.complaints == []


@needs_browser
@pytest.mark.slow
def test_fifty_thousand_points_move_smoothly(browser: Any, tmp_path: Path) -> None:
    """Promised are 30 frames a second; a loaded machine is allowed half."""
    import runpy

    from small import ROOT

    frames = runpy.run_path(str(ROOT / "scripts" / "dev" / "screenshots"))["FRAMES"]
    path = tmp_path / "large.html"
    path.write_text(page(payload(50_000)), encoding="utf-8")
    with Visit(browser) as visit:
        shown = visit.open(path.as_uri())
        shown.locator("canvas").scroll_into_view_if_needed()
        assert max(shown.evaluate(frames)[0] for _ in range(3)) >= 15
