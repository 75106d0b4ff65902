"""The report in a real browser, at a desk and on a phone."""

import pytest

from dispersed.paper.report.page import write_page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_asks_for_nothing(results, browser, width):
    complaints, asked = [], []
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = write_page(results).resolve().as_uri()
    page.goto(address)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("td", has_text="diffusion_sde").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    images = page.evaluate("[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt.length])")
    assert len(images) == 2
    assert all(shown and alternative > 5 for shown, alternative in images)
    page.locator("nav a", has_text="Slips in print").click()
    assert page.locator("#slips-heading").bounding_box()["y"] == pytest.approx(0, abs=60)
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    page.close()
