"""The explorer in a real browser: what hands and keys do, and what the page then shows."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dispersed
from dispersed.datasets import load_digits


def settle(page):
    """Wait until the plane has drawn its last change, recalled and found its attractors."""
    page.wait_for_selector('#plane[data-state="still"]')


def change(page, act):
    """Do something to the landscape and wait for its consequences."""
    before = page.locator("#plane").get_attribute("data-changes")
    act()
    page.wait_for_selector(f'#plane:not([data-changes="{before}"])')
    settle(page)


def settle_digit(page, act=None):
    """Do something to the digit, and wait until it has been recalled."""
    before = page.locator("#verdict").get_attribute("data-changes")
    if act is not None:
        act()
        page.wait_for_selector(f'#verdict:not([data-changes="{before}"])')
    page.wait_for_selector('#verdict[data-state="still"]')


def pixel(page, x, y):
    """How bright the surface is at a state."""
    return page.evaluate(
        """([x, y]) => {
            const canvas = document.getElementById('surface');
            const at = [(x + 2) / 4 * canvas.width, (2 - y) / 4 * canvas.height].map(Math.round);
            return canvas.getContext('2d').getImageData(...at, 1, 1).data.slice(0, 3).reduce((a, b) => a + b, 0);
        }""",
        [x, y],
    )


def screen(page, x, y):
    """Where a state is on the screen."""
    box = page.locator("#plane").bounding_box()
    return box["x"] + (x + 2) / 4 * box["width"], box["y"] + (2 - y) / 4 * box["height"]


def patterns(page):
    """Where the handles of patterns say they are."""
    labels = page.locator(".handle.pattern").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    return np.array([[float(number) for number in label.split(" at ")[1].split(",")] for label in labels])


def probabilities(page, rows="#bars"):
    return np.array([float(text.lstrip("<")) for text in page.locator(f"{rows} .bar-row b").all_inner_texts()])


def copied(page, tab):
    """Run what "Copy as Python" shows."""
    page.click(f"button.copy[data-tab={tab}]")
    page.wait_for_selector("dialog[open]")
    scope = {}
    exec(compile(page.text_content("#code"), "copied.py", "exec"), scope)
    page.click("#close")
    return scope


def saved(page, tab, folder):
    """The picture that "Save PNG" downloads, in grey."""
    with page.expect_download() as download:
        page.click(f"button.save[data-tab={tab}][data-as=png]")
    assert download.value.suggested_filename == f"{tab}.png"
    download.value.save_as(folder / f"{tab}.png")
    return np.asarray(Image.open(folder / f"{tab}.png").convert("L"))


def test_the_landscape_by_hand(open_page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = open_page()
    settle(page)
    before = patterns(page)
    assert len(before) == 5
    assert page.text_content("#splits").startswith("Now 5 attractors")
    memory = dispersed.PatternMemory(before)
    stated = np.asarray(memory.responsibilities(np.array([-0.25, -0.45]), 0.4))
    np.testing.assert_allclose(probabilities(page), stated, atol=1.5e-3)

    # A pattern is dragged: it is where it was let go, and the energy is low there and no longer where it was.
    low, high = pixel(page, 0.9, -1.05), pixel(page, 1.6, -1.9)
    page.mouse.move(*screen(page, *before[2]))
    page.mouse.down()
    page.mouse.move(*screen(page, 1.2, -1.3))
    change(page, lambda: page.mouse.move(*screen(page, 1.6, -1.85), steps=3))
    page.mouse.up()
    settle(page)
    after = patterns(page)
    np.testing.assert_allclose(after[2], [1.6, -1.85], atol=0.02)
    np.testing.assert_array_equal(after[[0, 1, 3, 4]], before[[0, 1, 3, 4]])
    assert pixel(page, 1.6, -1.9) < high - 100
    assert pixel(page, 0.9, -1.05) > low + 100

    # The picture that is saved is dark where energy is low, and holds the strip of attractors below.
    drawn = saved(page, "landscape", tmp_path)
    plot, plane = (page.locator(name).bounding_box() for name in (".plot", "#plane"))
    left, top, size = plane["x"] - plot["x"], 18 + plane["y"] - plot["y"], plane["width"]
    states = [(top + (2 - y) / 4 * size, left + (x + 2) / 4 * size) for x, y in ((1.63, -1.95), (0.9, -0.9))]
    dark, pale = (drawn[int(i), int(j)] for i, j in states)
    assert dark < pale
    assert np.ptp(drawn[int(18 + plot["height"]) :]) > 100
    assert np.ptp(drawn[:, : int(left) - 1]) > 50, "the axis has numbers"

    # So does the SVG file, whose texts are texts.
    with page.expect_download() as download:
        page.click("button.save[data-tab=landscape][data-as=svg]")
    drawing = ElementTree.parse(download.value.path()).getroot()
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"−2", "x₁, in z = x/s(t)", "energy above its minimum, nats × σ²", "5"} <= set(texts)
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}circle"))) == 6
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}image"))) == 4

    # A click drops a cue, and recall ends at a minimum.
    change(page, lambda: page.mouse.click(*screen(page, -1.0, 0.3)))
    assert "Cue at -1.00, 0.30" in page.locator(".handle.cue").get_attribute("aria-label")
    assert probabilities(page).argmax() == 0
    end = json.loads(page.locator('[data-run="iteration"]').get_attribute("data-end"))[0]
    scope = copied(page, "landscape")
    np.testing.assert_allclose(scope["recalled"]["iteration"].x, end, atol=1e-3)
    np.testing.assert_allclose(scope["memory"].patterns, after, atol=0.006)

    # A slider is moved: σ falls, its other names follow, and the cue says more.
    entropy = float(page.locator("#doubt").get_attribute("data-entropy"))
    change(page, lambda: page.locator("#sigma").press("PageDown"))
    sigma = float(page.locator("#plane").get_attribute("data-sigma"))
    assert sigma < 0.35
    assert float(page.text_content('output[for="beta"]')) == pytest.approx(1 / sigma**2, rel=0.01)
    assert float(page.text_content('output[for="alpha"]')) == pytest.approx(1 / np.hypot(1, sigma), rel=0.01)
    assert float(page.text_content('output[for="time"]')) == pytest.approx(np.log1p(sigma**2), rel=0.01)
    assert float(page.locator("#doubt").get_attribute("data-entropy")) < entropy
    change(page, lambda: page.select_option("#process", "ve"))
    assert float(page.text_content('output[for="time"]')) == pytest.approx(sigma**2, rel=0.01)

    # A double click adds a pattern and leaves the cue where it is.
    change(page, lambda: page.mouse.dblclick(*screen(page, 0.4, -0.4)))
    np.testing.assert_allclose(patterns(page)[-1], [0.4, -0.4], atol=0.02)
    assert "Cue at -1.00, 0.30" in page.locator(".handle.cue").get_attribute("aria-label")
    assert "Now 6 attractors" in page.text_content("#splits")


def test_the_landscape_by_keys(open_page):
    page = open_page()
    settle(page)
    page.locator("#plane").focus()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    change(page, lambda: page.keyboard.press("c"))
    assert "Cue at 0.80, 0.05" in page.locator(".handle.cue").get_attribute("aria-label")
    change(page, lambda: page.keyboard.press("n"))
    assert len(patterns(page)) == 6
    np.testing.assert_allclose(patterns(page)[-1], [0.8, 0.05])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Pattern 1 at -1.20, 0.90")
    change(page, lambda: page.keyboard.press("ArrowLeft"))
    np.testing.assert_allclose(patterns(page)[0], [-1.25, 0.9])
    change(page, lambda: page.keyboard.press("Delete"))
    assert len(patterns(page)) == 5
    page.locator("#tab-landscape").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-digits").get_attribute("aria-selected") == "true"
    assert page.locator("#landscape").is_hidden()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("extended", marks=pytest.mark.slow),
        pytest.param("smoothed", marks=pytest.mark.slow),
        pytest.param("reconstructive", marks=pytest.mark.slow),
    ],
)
def test_other_kinds_of_memory(open_page, kind):
    page = open_page()
    settle(page)
    change(page, lambda: page.select_option("#kind", kind))
    equation = {"extended": "Eq. 23", "smoothed": "Eq. 24", "reconstructive": "Eq. 25"}[kind]
    assert equation in page.text_content("#caption")
    expected = {"extended": 4, "smoothed": 12, "reconstructive": 2}[kind]
    shown = probabilities(page)
    assert len(shown) == expected
    assert shown.sum() == pytest.approx(1, abs=0.01)
    # Along a shape, and where nothing is stored, energies differ.
    on = {"extended": (-0.9, -0.9), "smoothed": (1, 0.9), "reconstructive": (-0.8, 0.8)}[kind]
    assert pixel(page, *on) < pixel(page, 0, 1.9) - 50


def test_digits(open_page, tmp_path):
    page = open_page(path="#digits")
    settle_digit(page)
    _, labels = load_digits()
    settle_digit(page, lambda: page.get_by_role("radio", name="Digit 7").click())
    index = int(page.locator("#gallery [aria-checked=true]").get_attribute("aria-label").split()[-1])
    assert labels[index] == 7
    settle_digit(page, lambda: page.locator("#digit-alpha").fill("0.95"))
    assert page.text_content("#verdict").startswith(f"Image {index}, a 7")
    scope = copied(page, "digits")
    assert int(scope["result"].index) == int(page.locator("#verdict").get_attribute("data-nearest")) == index

    drawn = saved(page, "digits", tmp_path)
    stored = 1 - (load_digits()[0][index].reshape(8, 8) + 1) / 2
    np.testing.assert_allclose(drawn[16:256:32, 16:256:32], 255 * np.asarray(stored), atol=1)

    # A mask is painted by mouse, and by keys.
    page.locator("#cue").scroll_into_view_if_needed()
    box = page.locator("#cue").bounding_box()
    cell = box["width"] / 8
    page.mouse.move(box["x"] + cell / 2, box["y"] + cell / 2)
    page.mouse.down()
    settle_digit(page, lambda: page.mouse.move(box["x"] + 7.5 * cell, box["y"] + cell / 2, steps=16))
    page.mouse.up()
    settle_digit(page)
    assert "8 of 64 pixels hidden" in page.locator("#cue").get_attribute("aria-label")
    page.locator("#cue").focus()
    page.keyboard.press("ArrowDown")
    settle_digit(page, lambda: page.keyboard.press("Space"))
    assert "9 of 64 pixels hidden" in page.locator("#cue").get_attribute("aria-label")
    scope = copied(page, "digits")
    assert np.flatnonzero(~np.asarray(scope["known"])).tolist() == list(range(9))
    assert int(scope["result"].index) == int(page.locator("#verdict").get_attribute("data-nearest"))
    assert probabilities(page, "#by-digit").sum() == pytest.approx(1, abs=0.02)

    # What says next to nothing is not claimed to be known.
    settle_digit(page, lambda: page.locator("#digit-alpha").fill("0.1"))
    assert page.text_content("#verdict").startswith("I don't know")
    assert float(page.locator("#verdict").get_attribute("data-entropy")) > 4


def test_a_phone_needs_no_sideways_scrolling(open_page):
    page = open_page(width=390, height=844)
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#plane").bounding_box()["width"] > 240
    page.click("#tab-digits")
    settle_digit(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_for_the_docs(open_page, pytestconfig):
    """With `--screenshots FOLDER`, look at what it writes."""
    folder = pytestconfig.getoption("--screenshots", default=None)
    if folder is None:
        pytest.skip("pictures are written with --screenshots FOLDER")
    into = Path(folder)
    page = open_page(width=1200, height=1000)
    settle(page)
    page.screenshot(path=into / "explorer_landscape.png", full_page=True)
    page.click("#tab-digits")
    settle_digit(page, lambda: page.locator("#digit-alpha").fill("0.85"))
    settle_digit(page, lambda: page.click("#half"))
    page.screenshot(path=into / "explorer_digits.png", full_page=True)
    phone = open_page(width=390, height=844)
    settle(phone)
    phone.screenshot(path=into / "explorer_phone.png", full_page=True)
    for name in ("landscape", "digits", "phone"):
        assert (into / f"explorer_{name}.png").stat().st_size > 20_000
