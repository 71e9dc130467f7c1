"""What a person does in pgAdmin's pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from playwright.sync_api import Error, FrameLocator, Locator, Page, expect

# The way to a table of the trips, by what stands in the tree.
TABLES = ("Servers", "Taxiway", "Databases", "trips", "Schemas", "public", "Tables")
ATTEMPTS = 3


class PgAdmin:
    """pgAdmin in one page of a browser.

    Args:
        page: the browser's page.
        address: of pgAdmin, without a slash at the end.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def log_in(self, email: str, password: str) -> None:
        self.page.goto(f"{self.address}/login")
        self.page.locator("input[name=email]").fill(email)
        self.page.locator("input[name=password]").fill(password)
        self.page.get_by_role("button", name="Login").click()
        expect(self.page.get_by_role("tab", name="Object Explorer").first).to_be_visible(timeout=30_000)

    def select(self, path: Sequence[str]) -> None:
        """Open the tree from node to node, and click the last one.

        pgAdmin at times opens a server before it is connected, and shows nothing under it; loaded anew it does.
        """
        for attempt in range(ATTEMPTS):
            try:
                for parent, child in pairwise(path):
                    self._open(parent, child, open_by_itself=attempt > 0)
                break
            except Error:
                if attempt == ATTEMPTS - 1:
                    raise
                self.page.reload(wait_until="commit")  # each step waits for what it clicks
        self._node(path[-1]).click()

    def view_data(self, table: str) -> FrameLocator:
        """All rows of the table that is selected, in a tab of its own; the tab."""
        self.page.get_by_role("button", name="All Rows").click()
        expect(self.page.get_by_role("tab", name=f"public.{table}/").first).to_be_visible()
        return self.page.frame_locator("iframe").last

    def _open(self, parent: str, child: str, *, open_by_itself: bool) -> None:
        # Loaded anew, the tree opens what was open before.
        if open_by_itself:
            with suppress(Error):
                return self._node(child).wait_for(timeout=3_000)
        self._node(parent).locator(".directory-toggle:not(.open)").click()
        self._node(child).wait_for(timeout=8_000)

    def _node(self, name: str) -> Locator:
        named = self.page.locator(".file-name", has_text=re.compile(rf"^\s*{re.escape(name)}\s*$"))
        return self.page.locator(".file-entry").filter(has=named).first
