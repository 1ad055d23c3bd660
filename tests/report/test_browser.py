"""The page in a real browser: drawn, quiet, offline, narrow, dark, by keyboard."""

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from collapselab.records import Claim, RunFolder
from collapselab.report import (
    write_comparison,
    write_elasticity_report,
    write_measurements_report,
    write_report,
)
from collapselab.report.palette import PALETTE
from report.fakes import (
    AGAINST,
    BAND,
    DECLARATIONS,
    EPOCHS,
    LAYERS,
    PAIRED,
    RATIOS,
    SEEDED,
    changed,
    declaration,
    matrices,
    moved,
    permuted,
    simplex,
    snapshot,
    without,
    write_arms,
    write_depth,
    write_run,
)
from report.test_elasticity import record

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLOT = "return document.getElementById(arguments[0])"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    run = write_run(folder / "run")
    other = write_run(folder / "other", epochs=EPOCHS[:6], status="interrupted", verdict=None, classes=3)
    claim = write_arms(folder / "claim", RATIOS, epochs=(0, 5, 300), chart=AGAINST)
    changed(claim, lambda row: without(row, arm=RATIOS[0].name))
    rows = RunFolder(run).observations()
    single = rows[-1].result.model_copy(update={"declarations": DECLARATIONS})
    return {
        "run": write_report([run]),
        "three": write_report([other]),
        "two": write_report([run, other], folder / "two.html"),
        "comparison": write_comparison([run, other]),
        "single": write_measurements_report(single, folder / "single.html"),
        "arms": write_report([write_arms(folder / "arms", SEEDED[:3], layers=LAYERS, steps=True, chart=PAIRED)]),
        "claim": write_report([claim]),
        "null": write_report([permuted(write_run(folder / "null", snapshots=False, chart=BAND), (500.0, 900.0))]),
        "depth": write_report([write_depth(folder / "depth")]),
        "elasticity": write_elasticity_report(record(), folder / "elasticity.html"),
        "moving": write_report([moved(write_run(folder / "moving"))]),
        "empty": write_report([write_run(folder / "empty", epochs=(), status="failed", error="x", verdict=None)]),
    }


def opened(browser, page, **how):
    driver = browser.open(page, **how)
    waiting(driver, "return document.documentElement.dataset.drawn === 'yes'")
    return driver


def waiting(driver, script, *arguments):
    """Wait until a script says something true, and return it."""
    return WebDriverWait(driver, 30).until(lambda d: d.execute_script(script, *arguments))


def rgb(colour):
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (390, False), (390, True)])
@pytest.mark.parametrize(
    "kind",
    ["run", "three", "two", "comparison", "single", "arms", "claim", "null", "depth", "moving", "elasticity", "empty"],
)
def test_pages_are_quiet_offline_and_fit_the_window(browser, pages, kind, width, dark):
    driver = opened(browser, pages[kind], width=width, dark=dark)
    assert browser.errors() == []
    assert browser.requests() == []
    assert browser.overflow() == 0
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []
    drawn = "return [...document.querySelectorAll('[data-figure], [data-space]')].every((e) => e.querySelector('svg'))"
    assert waiting(driver, drawn)
    colours = PALETTE["dark" if dark else "light"]
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == rgb(colours["paper"])


def test_figures_follow_the_scheme_and_the_button(browser, pages):
    driver = opened(browser, pages["run"], dark=True)
    font = f"{PLOT}.layout.font.color"
    assert driver.execute_script(font, "run-1-nc1") == PALETTE["dark"]["ink"]
    button = driver.find_element(By.ID, "scheme")
    assert button.text == "Light colours"
    button.send_keys(Keys.ENTER)
    waiting(driver, f"{font} === arguments[1]", "run-1-nc1", PALETTE["light"]["ink"])
    waiting(driver, f"{font} === arguments[1]", "run-1-space", PALETTE["light"]["ink"])
    assert button.text == "Dark colours"
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == rgb(PALETTE["light"]["paper"])


def test_the_picture_of_a_claim_is_drawn_with_its_marks(browser, pages):
    """Three shapes of markers, a line to read against with its name, and a cross where a value is undefined."""
    driver = opened(browser, pages["claim"])
    plot = "document.getElementById('run-1-claim')"
    paths = driver.execute_script(
        f"return [...{plot}.querySelectorAll('.points path')].map((p) => p.getAttribute('d'))"
    )
    assert len(paths) == len(RATIOS) - 1
    assert len(set(paths)) == 3
    said = driver.execute_script(f"return [...{plot}.querySelectorAll('.annotation-text')].map((t) => t.textContent)")
    assert sorted(said) == ["1: where it began", "✕"]
    opened(browser, pages["null"])
    band = "return document.querySelectorAll('#run-1-claim .shapelayer path').length"
    assert driver.execute_script(band) >= 1


def test_print_is_light(browser, pages):
    driver = opened(browser, pages["run"], dark=True)
    driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    waiting(driver, f"{PLOT}.layout.font.color === arguments[1]", "run-1-nc1", PALETTE["light"]["ink"])


def test_the_slider_moves_all_figures_by_keyboard(browser, pages):
    driver = opened(browser, pages["run"])
    state = (
        "const z = document.getElementById('run-1-cosines').data[0].z[0][1];"
        "const x = document.getElementById('run-1-histogram').data[0].x[0];"
        "const p = document.getElementById('run-1-space').data[2].x[0];"
        "return [z, x, p];"
    )
    last = waiting(driver, state)
    slider = driver.find_element(By.ID, "run-1-slider")
    assert slider.get_attribute("aria-valuetext").startswith("epoch 300")
    slider.send_keys(Keys.HOME)
    said = driver.find_element(By.ID, "run-1-frames-said")
    assert said.text == slider.get_attribute("aria-valuetext") == "epoch 0: train error 0.8, NC1 8"
    WebDriverWait(driver, 30).until(
        lambda d: all(abs(a - b) > 1e-3 for a, b in zip(d.execute_script(state), last, strict=True))
    )
    slider.send_keys(Keys.ARROW_RIGHT)
    assert said.text.startswith("epoch 1:")
    slider.send_keys(Keys.END)
    WebDriverWait(driver, 30).until(lambda d: d.execute_script(state) == pytest.approx(last, abs=1e-3))
    assert browser.errors() == []


def test_play_goes_through_the_checkpoints_and_pauses(browser, pages):
    driver = opened(browser, pages["run"])
    button = driver.find_element(By.CSS_SELECTOR, "[data-play]")
    button.send_keys(Keys.ENTER)
    assert "Pause" in button.text
    waiting(driver, "const at = Number(document.getElementById('run-1-slider').value); return at > 0 && at < 14")
    button.send_keys(Keys.ENTER)
    assert "Play" in button.text


def test_means_sit_on_the_corners_at_collapse(browser, tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", epochs=(0,), snapshots=False))
    ideal = simplex(10)
    collapsed = {
        "centres": ideal,
        "coordinates": ideal.repeat(3, axis=0),
        "labels": [i for i in range(10) for _ in "abc"],
    }
    folder.write_snapshot(0, snapshot(0) | {name: _array(value) for name, value in collapsed.items()})
    driver = opened(browser, write_report([folder.path]))
    script = (
        "const traces = document.getElementById('run-1-space').data;"
        "return traces.filter((t) => t.name.endsWith('mean')).map((t) => [t.x[1], t.y[1], t.z[1]]);"
    )
    means = waiting(driver, script)
    # Unit corners of a simplex of ten are sqrt(20/9) apart, in the projection too.
    for i in range(4):
        for j in range(i):
            apart = sum((a - b) ** 2 for a, b in zip(means[i], means[j], strict=True)) ** 0.5
            assert apart == pytest.approx((20 / 9) ** 0.5, abs=1e-3)
    edges = driver.execute_script(
        "const e = document.getElementById('run-1-space').data[0]; return [e.x[0], e.y[0], e.z[0]]"
    )
    assert means[0] == pytest.approx(edges, abs=1e-3)


def _array(value):
    return np.asarray(value, dtype=np.int64 if isinstance(value, list) else np.float32)


def test_other_classes_can_be_chosen(browser, pages):
    driver = opened(browser, pages["run"])
    lists = [Select(e) for e in driver.find_elements(By.CSS_SELECTOR, "[data-corners] select")]
    assert [chosen.first_selected_option.text for chosen in lists] == ["0", "1", "2", "3"]
    lists[0].select_by_visible_text("7")
    names = "return document.getElementById('run-1-space').data.map((t) => t.name)"
    waiting(driver, f"{names}.includes('class 7, mean')")
    lists[1].select_by_visible_text("7")  # taken: the two change places
    assert [chosen.first_selected_option.text for chosen in lists] == ["1", "7", "2", "3"]
    assert browser.errors() == []


def test_the_plane_and_the_turn(browser, pages):
    driver = opened(browser, pages["run"])
    turn = driver.find_element(By.ID, "run-1-turn")
    before = driver.execute_script(f"{PLOT}.layout.scene.camera.eye.x", "run-1-space")
    turn.send_keys(Keys.ARROW_RIGHT)
    waiting(driver, f"{PLOT}.layout.scene.camera.eye.x !== arguments[1]", "run-1-space", before)
    driver.find_elements(By.CSS_SELECTOR, "[data-modes] input")[1].send_keys(Keys.SPACE)
    waiting(driver, f"{PLOT}.data[0].type === 'scatter'", "run-1-space")
    assert not turn.is_displayed()
    assert browser.errors() == []


def test_lists_of_figures_change_figure_and_words(browser, pages):
    driver = opened(browser, pages["run"])
    Select(driver.find_element(By.ID, "run-1-any-list")).select_by_value("run-1-any-effective_rank")
    waiting(driver, f"{PLOT}.layout.yaxis.title.text === 'effective rank'", "run-1-any")
    assert driver.find_element(By.ID, "run-1-any-caption").text == "What effective_rank says."
    assert "effective rank" in driver.find_element(By.ID, "run-1-any").get_attribute("aria-label")


def test_without_webgl_the_page_says_so_and_the_rest_works(browser, pages):
    none = (
        "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext ="
        " function (kind, ...rest) { return kind.startsWith('webgl') ? null : get.call(this, kind, ...rest); };"
    )
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": none})
    try:
        driver = opened(browser, pages["run"])
        note = driver.find_element(By.ID, "run-1-space-no-webgl")
        assert note.is_displayed()
        assert "no WebGL" in note.text
        waiting(driver, f"{PLOT}.data[0].type === 'scatter'", "run-1-space")
        assert browser.errors() == []
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_the_first_tab_leads_past_the_navigation(browser, pages):
    driver = opened(browser, pages["run"])
    driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert driver.switch_to.active_element.get_attribute("class") == "skip"


@pytest.mark.parametrize("width", [1200, 800, 390])
def test_the_navigation_takes_the_lines_that_it_needs(browser, pages, width):
    """Nothing of it is scrolled, nothing is hidden behind it, and on small windows it does not stay."""
    driver = opened(browser, pages["arms"], width=width)
    bar = "const bar = document.querySelector('nav'), list = bar.firstElementChild;"
    assert driver.execute_script(f"{bar} return list.scrollWidth - list.clientWidth") == 0
    stays, height = driver.execute_script(f"{bar} return [getComputedStyle(bar).position, bar.offsetHeight]")
    kept = "return getComputedStyle(document.documentElement).getPropertyValue('--bar')"
    assert stays == ("sticky" if width == 1200 else "static")
    assert waiting(driver, kept) == (f"{height}px" if width == 1200 else "0px")


def test_the_table_of_arms_is_not_cut_on_a_small_screen(browser, pages):
    driver = opened(browser, pages["claim"], width=1200)
    beyond = "const frame = document.querySelector('.arms .scroll'); return frame.scrollWidth - frame.clientWidth"
    assert driver.execute_script(beyond) == 0


def test_hostile_text_runs_nothing(browser, tmp_path):
    hostile = '</script><script>window.caught = 1</script><img src=x onerror="window.caught = 2">'
    page = write_report(
        [
            write_run(
                tmp_path / "run",
                title=hostile,
                claim=Claim(sentence=hostile, source=hostile),
                config={hostile: hostile},
                conditions={"warnings": (hostile,)},
                declarations=DECLARATIONS | {"nc1_pinv": declaration("nc1_pinv", label=hostile, symbol=hostile)},
            )
        ]
    )
    driver = opened(browser, page)
    assert driver.execute_script("return window.caught") is None
    assert browser.errors() == []
    # And were something to slip through, the page's policy would stop it.
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.caught = 3'; document.body.append(s);"
    )
    assert driver.execute_script("return window.caught") is None


def test_each_arm_has_a_slider_of_its_own(browser, pages):
    driver = opened(browser, pages["arms"])
    first, second = (driver.find_element(By.ID, f"run-1-arm-{arm}-slider") for arm in (1, 2))
    first.send_keys(Keys.HOME)
    assert driver.find_element(By.ID, "run-1-arm-1-frames-said").text.startswith("epoch 0: train error")
    assert driver.find_element(By.ID, "run-1-arm-2-frames-said").text.startswith("epoch 300: train error")
    second.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert driver.find_element(By.ID, "run-1-arm-2-frames-said").text.startswith("epoch 0, step 1: train error")
    assert browser.errors() == []


def test_the_slider_of_matrices_moves_all_of_them_and_nothing_else(browser, pages):
    """Colours and numbers of the kept matrices; the slider of the features stands where it stood."""
    driver = opened(browser, pages["moving"])
    slider = driver.find_element(By.ID, "run-1-matrices-slider")
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert driver.find_element(By.ID, "run-1-matrices-said").text == "epoch 1"
    assert driver.find_element(By.ID, "run-1-frames-said").text.startswith("epoch 300")
    for name, matrix in matrices(1).items():
        shown = driver.execute_script(f"{PLOT}.data[0].z", f"run-1-matrix-{name}")
        assert np.abs(np.array(shown) - matrix).max() < 1e-3
    Select(driver.find_element(By.ID, "run-1-moving-gradient-noise-list")).select_by_visible_text("signal")
    waiting(driver, f"{PLOT}.layout.yaxis.title.text === 'signal'", "run-1-moving-gradient-noise")
    assert browser.errors() == []


def test_any_metric_by_depth_can_be_chosen(browser, pages):
    driver = opened(browser, pages["depth"])
    Select(driver.find_element(By.ID, "run-1-stages-list")).select_by_value("run-1-stages-effective_rank")
    title = "return document.getElementById('run-1-stages').layout.yaxis.title.text === 'effective rank'"
    assert waiting(driver, title)
    chips = "return [...document.querySelectorAll('.chip')].every((e) => e.style.color || getComputedStyle(e).color)"
    assert driver.execute_script(chips)
