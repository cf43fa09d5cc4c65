"""Looks at the console in headless Chromium: console.py PART FACTS

PART is `look`, `work` or `attack`; FACTS is a JSON object with the bridge's `url`, where `screenshots` go or null, and
the `study` that the part works with. Everything that is wrong is printed, and makes it end with 1.
"""

import json
import socket
import sys
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# Longest a page takes to show something, in milliseconds.
PATIENCE = 60_000
# A page of another site is to be stopped by the console, not by a browser that asks first whether it may look at this machine.
OPEN_NETWORK = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets"
# The pictures in the documentation, and how large one may be, in bytes.
SHOWN = {
    "archives-1280-light.png",
    "archives-390-dark.png",
    "search-1280-light.png",
    "search-390-light.png",
    "transfers-1280-dark.png",
    "transfers-390-light.png",
}
MAX_PICTURE = 150_000

expect.set_options(timeout=PATIENCE)

wrong = []
# Clients that do not read, as long as the browser looks.
readers = []


def check(holds, what):
    if not holds:
        wrong.append(what)


@contextmanager
def page_of(browser, url, **options):
    """A page in a browser of its own, whose complaints are gathered."""
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(f"a script failed: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"a dialog opened: {dialog.message}"), dialog.dismiss()))
    page.on(
        "console",
        lambda message: wrong.append(f"the browser complains: {message.text}")
        if message.type == "error" and "status of 4" not in message.text and "status of 5" not in message.text
        else None,
    )
    yield page
    context.close()


def wait_until(page, holds):
    """Waits until a JavaScript expression holds; Playwright's own way to wait is one that the console's policy forbids."""
    for _ in range(PATIENCE // 100):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    wrong.append(f"never: {holds}")


def search(page: Page, **fields):
    page.goto("/console/search")
    for name, value in fields.items():
        page.fill(f"[name={name}]", value)
    page.click("form.search button")
    page.wait_for_selector("#found, [role=alert]")


def look(browser, url, facts):
    """Every page at two widths in both colour schemes."""
    with page_of(browser, url) as page:
        # Something to see: an archive that answers, one that does not, something sent.
        for name in ("radiology", "cardiology"):
            page.goto("/console/")
            page.click(f"#{name} button")
            page.wait_for_selector(f"#{name} .echo")
        page.goto("/console/archives/radiology/studies/2.25.77")
        page.click("form.send button")
        expect(page.locator(".state.well").first).to_be_visible()
        search(page, accession="A000100")
        other = page.locator("table.rows tbody th a").get_attribute("href").rsplit("/", 1)[1]
        pages = {
            "archives": lambda p: p.goto("/console/"),
            "search": lambda p: search(p, name="*", **{"from": "2026-11-01"}),
            "study": lambda p: p.goto("/console/archives/radiology/studies/2.25.77"),
            "series": lambda p: p.goto("/console/archives/radiology/studies/2.25.77/series/2.25.77.1"),
            "long-study": lambda p: p.goto(f"/console/archives/radiology/studies/{facts['study']}"),
            "transfers": lambda p: at_work(p, url, facts["study"], other),
            "failures": lambda p: p.goto("/console/failures"),
            "problem": lambda p: p.goto("/console/archives/nowhere/studies/1.2"),
            "welcome": lambda p: p.goto("/"),
        }
    for width, size in (("1280", WIDE), ("390", NARROW)):
        for scheme in ("light", "dark"):
            options = {"viewport": size, "color_scheme": scheme, "reduced_motion": "reduce"}
            with page_of(browser, url, **options) as page:
                for name, go in pages.items():
                    go(page)
                    page.wait_for_load_state()
                    wait_until(page, "[...document.images].every((one) => one.complete || one.loading == 'lazy')")
                    # First the picture: what is on its way arrives meanwhile.
                    picture(page, facts["screenshots"], f"{name}-{width}-{scheme}.png")
                    examine(page, f"{name} at {width}, {scheme}", width)
    with page_of(browser, url, java_script_enabled=False) as page:
        page.goto("/console/")
        page.click("#radiology button")
        check("C-ECHO answered" in page.inner_text("#radiology"), "without scripts the Echo button does nothing")
    keyboard(browser, url)


def at_work(page, url, study, other):
    """The transfers, with a study and a client's retrieval of another one on their way."""
    page.goto("/console/transfers")
    if not page.locator("[id^=send-] .state.running").count():
        page.goto(f"/console/archives/radiology/studies/{study}")
        page.click("form.send button")
    readers.append(slow_reader(url, other))
    expect(page.locator("[id^=retrieval-]").first).to_be_visible()
    wait_until(page, "document.querySelector('[id^=send-] progress').value > 3")


def examine(page, what, width):
    check(page.locator("html[lang=en]").count() == 1, f"{what}: no language")
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(overflow <= 0, f"{what}: {overflow} pixels wider than the screen")
    if width == "390":
        small = page.evaluate(
            """[...document.querySelectorAll("button, .button, input, select, nav a")]
               .map((one) => [one.textContent.trim().slice(0, 20), one.getBoundingClientRect().height])
               .filter(([, height]) => height > 0 && height < 24)"""
        )
        check(not small, f"{what}: too small for a finger: {small}")
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            places = [node["html"][:160] for node in violation["nodes"][:3]]
            wrong.append(f"{what}: axe-core: {violation['id']}: {violation['help']}: {places}")


def picture(page, folder, name):
    if not folder or (Path(folder).name == "console" and name not in SHOWN):
        return
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.startswith("transfers"):
        page.evaluate("scrollTo(0, 0)")
        # A bar takes a moment to where it is to stand.
        page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=name.startswith("transfers-1280"))
    check(path.stat().st_size < MAX_PICTURE, f"{name} has {path.stat().st_size} bytes")


def keyboard(browser, url):
    with page_of(browser, url) as page:
        page.goto("/console/")
        page.keyboard.press("Tab")
        check(page.evaluate("document.activeElement.className") == "skip", "the first stop is not the skip link")
        page.keyboard.press("Enter")
        check(page.evaluate("document.activeElement.id") == "content", "the skip link does not skip")
        for _ in range(page.locator("main a, main button").count()):
            page.keyboard.press("Tab")
            seen = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            check(seen != "none", f"no focus to be seen on {page.evaluate('document.activeElement.outerHTML')[:80]}")
        # What is renewed under the focus keeps it.
        page.focus("#radiology button")
        with page.expect_response(lambda answer: answer.url.endswith("/console/")):
            pass
        page.wait_for_timeout(100)
        check(page.evaluate("document.activeElement.tagName") == "BUTTON", "the focus is lost when the page is renewed")


def slow_reader(url, study):
    """A client that has asked for a study and does not read it."""
    host = urllib.parse.urlsplit(url).netloc
    name, port = host.split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((name, int(port)))
    reader.sendall(
        f"GET /dicom-web/studies/{study} HTTP/1.1\r\nHost: {host}\r\n"
        'Accept: multipart/related; type="application/dicom"; transfer-syntax=*\r\n\r\n'.encode()
    )
    return reader


def work(browser, url, facts):
    """What an operator does in a day."""
    with page_of(browser, url) as page:
        page.goto("/console/")
        page.click("#radiology button")
        expect(page.locator("#radiology .echo")).to_contain_text("C-ECHO answered")
        page.click("#cardiology button")
        expect(page.locator("#cardiology .state.down")).to_be_visible()
        expect(page.locator("#cardiology .remedy")).to_contain_text("127.0.0.1:9")

        search(page, name="mül", **{"from": "2026-11-01", "to": "2026-11-30"})
        names = page.locator("table.rows tbody th a").all_inner_texts()
        check(names and set(names) == {"Müller, Jürgen"}, f"a search by name finds {names}")
        search(page, accession="A000777")
        check(page.inner_text("#found") == "One study", "a search by accession number")
        search(page, id="NOBODY")
        check(page.inner_text("#found") == "Nothing matches", "a search that finds nothing")
        search(page, modality="US", description="Echo")
        page.click(f"a[href$='/studies/2.25.77']")
        image = page.locator("img.preview")
        expect(image).to_be_visible()
        wait_until(page, "document.querySelector('img.preview').complete")
        check(image.evaluate("one => one.naturalWidth") == 192, "no preview of a JPEG")
        page.click(".tiles a")
        expect(page.locator("table.rows tbody tr")).to_have_count(1)
        page.go_back()

        titles = page.locator("select[name=to] option").all_inner_texts()
        check(titles == ["WORKSTATION"], f"destinations: {titles}")
        page.click("form.send button")
        card = page.locator("#send-1")
        expect(card.locator(".state.well")).to_be_visible()
        expect(card.locator(".counts")).to_contain_text("1 of 1 objects")

        page.goto(f"/console/archives/radiology/studies/{facts['study']}")
        page.click("form.send button")
        card = page.locator("#send-2")
        bar = card.locator("progress")
        expect(bar).to_have_attribute("max", "40")
        seen = {int(float(bar.get_attribute("value")))}
        for _ in range(PATIENCE // 50):
            seen.add(int(float(bar.get_attribute("value"))))
            if card.locator(".state.well").count():
                break
            page.wait_for_timeout(100)
        expect(card.locator(".state.well")).to_be_visible()
        # The page may have changed between the look at the bar and the look at what it says.
        seen.add(int(float(bar.get_attribute("value"))))
        check(len(seen) > 2 and max(seen) == 40, f"the progress bar stood at {sorted(seen)}")
        expect(card.locator(".counts")).to_contain_text("40 of 40 objects")

        page.goto(f"/console/archives/radiology/studies/{facts['study']}")
        page.click("form.send button")
        card = page.locator("#send-3")
        card.locator("button").click()
        expect(card.locator(".state.unknown")).to_have_text("Cancelled")
        check(card.locator("button").count() == 0, "what has ended can be cancelled")

        reader = slow_reader(url, facts["study"])
        card = page.locator("[id^=retrieval-]")
        expect(card).to_have_count(1)
        expect(card).to_contain_text("for 127.0.0.1")
        card.locator("button").click()
        expect(card).to_have_count(0)
        reader.settimeout(20)
        try:
            while reader.recv(1 << 16):
                pass
            wrong.append("a retrieval that was cancelled ended well")
        except ConnectionResetError:
            pass
        page.goto("/console/failures")
        expect(page.locator(".card").first).to_contain_text("cardiology")


def attack(browser, url, facts):
    """What is stored tries to become a script, and another site's page to use the operator's browser."""
    with page_of(browser, url) as page:
        search(page, id="HOSTILE*")
        text = page.inner_text("main")
        check("</title></h1><script>hacked=4</script>" in text, f"what is stored is not shown as it is: {text}")
        for path in ("", "/series/2.25.66.1", "/series/2.25.66.1/instances/2.25.66.1.1/preview"):
            page.goto(f"/console/archives/radiology/studies/{facts['study']}{path}")
            page.wait_for_load_state()
            page.wait_for_timeout(200)
            check(page.evaluate("typeof hacked") == "undefined", f"what was stored ran as a script: {path}")
            check(page.locator("script:not([src]), svg[onload], [onerror]").count() == 0, f"it is in the page: {path}")
        page.goto("/console/search?archive=radiology&ask=no&name=%22%20autofocus%20onfocus%3Dhacked%3D8%20x%3D%22")
        page.wait_for_timeout(200)
        check(page.evaluate("typeof hacked") == "undefined", "what was asked ran as a script")
        inline = page.evaluate(
            """() => { const one = document.createElement("script"); one.textContent = "hacked = 9";
                       document.body.append(one); return typeof hacked }"""
        )
        check(inline == "undefined", "the policy lets scripts run that stand in the page")
        wrong[:] = [one for one in wrong if "Content Security Policy" not in one]

    target = f"{url}/console/archives/radiology/studies/{facts['study']}/send"
    site = "http://evil.example/"
    form = f'<form method=post action="{target}"><input name=to value=WORKSTATION></form>'
    with page_of(browser, url) as page:
        page.route("http://evil.example/**", lambda route: route.fulfill(body=form, content_type="text/html"))
        page.goto(site)
        with page.expect_navigation():
            page.evaluate("document.forms[0].submit()")
        check("not asked from one of the console" in page.inner_text("main"), "a foreign form was served")

        page.goto(site)
        read = page.evaluate(
            """async (url) => { try { const answer = await fetch(url, { credentials: "include", signal: AbortSignal.timeout(3000) });
                                      return await answer.text() } catch { return null } }""",
            f"{url}/console/",
        )
        check(read is None, "a foreign page reads the console")
        status = page.evaluate(
            """async (url) => { try { await fetch(url, { method: "POST", mode: "no-cors", credentials: "include", signal: AbortSignal.timeout(3000),
                                      body: new URLSearchParams({ to: "WORKSTATION" }) }); } catch {} }""",
            target,
        )
        framed = page.evaluate(
            """(url) => new Promise((done) => { const frame = document.createElement("iframe"); frame.src = url;
                 frame.onload = () => { try { done(frame.contentDocument?.title ?? "hidden") } catch { done("hidden") } };
                 document.body.append(frame); setTimeout(() => done("hidden"), 3000) })""",
            f"{url}/console/",
        )
        check("Gantry" not in str(framed), f"the console is framed: {framed} {status}")
        wrong[:] = [one for one in wrong if "browser complains" not in one]
        page.goto("/console/transfers")
        check(page.locator("[id^=send-]").count() == 0, "another site has sent a study")


def main():
    part, facts = sys.argv[1], json.loads(sys.argv[2])
    with sync_playwright() as playwright:
        # In a container there is no sandbox to be had; nothing is loaded that is not the test's own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", OPEN_NETWORK])
        try:
            {"look": look, "work": work, "attack": attack}[part](browser, facts["url"], facts)
        finally:
            browser.close()
    for one in wrong:
        print(one)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
