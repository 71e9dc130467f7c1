"""What a person does in Prefect's pages, by the words on them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from playwright.sync_api import Locator, Page, expect

# From a click on Run to the end: an agent's poll, a container, Python's imports, three months; more on a busy machine.
RUN_MS = 180_000


class PrefectUI:
    """Prefect's UI in one page of a browser.

    Args:
        page: the browser's page.
        address: of the UI, without a slash at the end.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    # Login

    def log_in(self, user_and_password: str) -> None:
        """Open the UI and answer its question for `user:password`."""
        self.page.goto(f"{self.address}/")
        self.page.get_by_placeholder("admin:pass").fill(user_and_password)
        self._button("Login").click()

    # Blocks

    def create_container(self, name: str, fill: Callable[[Form], None]) -> None:
        """Blocks, +, Docker Container, the form, Save."""
        self.page.get_by_role("link", name="Blocks", exact=True).first.click()
        self.page.get_by_role("main").locator("a[href$='/blocks/catalog']").first.click()
        # The list of blocks, which may still be there, has a search as well.
        expect(self.page.locator("a[href$='/create']").first).to_be_visible()
        self.page.get_by_placeholder("Search blocks").fill("docker container")
        self.page.locator("a[href$='/catalog/docker-container/create']").click()
        self.page.get_by_label("Name", exact=True).fill(name)
        fill(Form(self.page))
        self._button("Save").click()
        expect(self.page).to_have_url(re.compile("/blocks/block/[0-9a-f-]+$"))

    def edit_block(self, name: str, fill: Callable[[Form], None]) -> None:
        """Blocks, the block's menu, Edit, the form, Save."""
        self.page.goto(f"{self.address}/v2/blocks")
        self._row(name).get_by_role("button", name="Open menu").click()
        self.page.get_by_role("menuitem", name="Edit").click()
        expect(self.page.get_by_label("Block Name")).to_have_value(name)
        fill(Form(self.page))
        self._button("Save").click()
        expect(self.page).to_have_url(re.compile("/blocks/block/[0-9a-f-]+$"))

    # Runs

    def open_deployment(self, flow: str, name: str = "docker") -> None:
        """Deployments, the one of that flow."""
        self.page.goto(f"{self.address}/v2/deployments")
        self._row(flow).get_by_role("link", name=name, exact=True).click()
        expect(self.page.get_by_role("main").get_by_role("link", name=flow, exact=True).first).to_be_visible()

    def quick_run(self) -> None:
        """Run, Quick run, View run."""
        self._run("Quick run")
        self.page.get_by_role("link", name="View run").click()

    def custom_run(self, fill: Callable[[Form], None]) -> None:
        """Run, Custom run, the form, Submit."""
        self._run("Custom run")
        expect(self._button("Submit")).to_be_enabled()
        fill(Form(self.page))
        self._button("Submit").click()
        self.page.get_by_role("link", name="View run").click()

    def watch(self, name: str) -> None:
        """Stay on a run's page until it is Completed under this name."""
        expect(self.page).to_have_url(re.compile("/runs/flow-run/[0-9a-f-]+"))
        main = self.page.get_by_role("main")
        # Until this is there, the page before it is, with the states of other runs.
        expect(main.get_by_role("tab", name="Job Variables")).to_be_visible()
        over = main.get_by_text(re.compile("^(Completed|Failed|Crashed|Cancelled)$"))
        expect(over.first).to_be_visible(timeout=RUN_MS)
        expect(over.first).to_have_text("Completed")
        expect(main.get_by_text(name).first).to_be_visible()

    @property
    def run_id(self) -> str:
        """The id of the run whose page is open."""
        [found] = re.findall("/flow-run/([0-9a-f-]+)", self.page.url)
        return found

    # Schedules

    def add_cron(self, cron: str) -> None:
        """On a deployment's page: + Schedule, Cron, Save."""
        self._button("Schedule").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("tab", name="Cron").click()
        dialog.get_by_label("Value").fill(cron)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_be_hidden()

    def switch(self, name: str) -> Locator:
        """A switch on a deployment's page: of one schedule, or of all."""
        return self.page.get_by_role("switch", name=name, exact=True)

    def switch_off(self, name: str) -> None:
        switch = self.switch(name)
        switch.click()
        expect(switch).not_to_be_checked()

    def _run(self, how: str) -> None:
        self._button("Run").click()
        self.page.get_by_role("menuitem", name=how).click()

    def _button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def _row(self, link: str) -> Locator:
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("link", name=link, exact=True))


class Form:
    """The form that Prefect makes of a schema: a block's fields, or a run's parameters."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def field(self, title: str) -> Locator:
        """The inputs of the field with this title, which `(Optional)` may follow."""
        labelled = (
            f"//label[.='{title}' or .='{title} (Optional)']/ancestor::div[.//fieldset or .//*[@contenteditable]][1]"
        )
        return self.page.locator(f"xpath={labelled}")

    def text(self, title: str, value: str) -> None:
        """Fill a line of text; where the field may also be none, choose text first."""
        field = self.field(title)
        text = field.get_by_role("tab", name="str")
        if text.count():
            text.click()
        field.get_by_role("textbox").fill(value)

    def number(self, title: str, value: int) -> None:
        self.field(title).get_by_role("spinbutton").fill(str(value))

    def choose(self, title: str, value: str) -> None:
        """Choose from a list."""
        self.field(title).get_by_role("button", name="Select").click()
        self.page.get_by_role("option", name=value, exact=True).click()

    def switch(self, title: str, *, on: bool) -> None:
        self.field(title).get_by_role("switch").set_checked(on)

    def json(self, title: str, value: Any) -> None:
        """Fill an editor of JSON."""
        self._write(self.editor(title), json.dumps(value))

    def replace(self, title: str, old: str, new: str) -> None:
        """Put a word in place of another in an editor of JSON."""
        editor = self.editor(title)
        expect(editor).to_contain_text(old)
        self._write(editor, editor.inner_text().replace(old, new))

    def editor(self, title: str) -> Locator:
        """The editor of a field that is JSON; it comes after the page."""
        return self.field(title).locator(".cm-content")

    def _write(self, editor: Locator, text: str) -> None:
        # Every JSON field has a value, which arrives after its editor and would mix with text typed before it.
        expect(editor).not_to_have_text("")
        # The editor's own command selects its whole text; `fill` selects in the page, which the editor may just redraw.
        editor.click()
        editor.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)
        expect(editor).to_have_text(text)

    def items(self, title: str, values: Iterable[Any], *, instead_of: int = 0) -> None:
        """Delete the items that a list has, so many, then add item after item."""
        field = self.field(title)
        shown = field.get_by_role("button", name="Drag to reorder")
        for left in range(instead_of, 0, -1):
            expect(shown).to_have_count(left)
            field.locator("fieldset").get_by_role("button", name="Open menu").last.click()
            self.page.get_by_role("menuitem", name="Delete").click()
        for count, value in enumerate(values):
            expect(shown).to_have_count(count)
            field.get_by_role("button", name="Add item").click()
            field.get_by_role("textbox").or_(field.get_by_role("spinbutton")).last.fill(str(value))
