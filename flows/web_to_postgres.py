"""Web -> Postgres: a month's file, typed and cleaned, as one partition of the service's table."""

from __future__ import annotations

from prefect import State, flow
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector
from sqlalchemy import make_url

from flows.due import months_from_web
from flows.month_load import fetcher, load_months
from flows.parameters import Limit, MonthNumber, Service, Year, command, run_name
from flows.stores.postgres import PostgresStore
from infra.settings import settings

DEFAULTS = settings()


@flow(name="etl_web_to_postgres", flow_run_name=run_name, persist_result=False)
async def etl_web_to_postgres(
    service: Service = Service.GREEN,
    year: Year | None = None,
    month: MonthNumber | None = None,
    source_url: str = DEFAULTS.source_url,
    postgres_block: str = DEFAULTS.postgres_block,
    limit: Limit = 3,
    force: bool = False,
) -> State:
    """Load a month from the web into Postgres, in place of what was there; skip it if its source is unchanged.

    Without a month: those of the year (without a year, of the last twelve months) that are published and not loaded.

    Args:
        service: Whose trips.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: those that are due.
        source_url: Where from: a URL template with {service}, {year}, {month:02}; https, http or file.
        postgres_block: The SqlAlchemyConnector block to load into.
        limit: Without a month: how many of those that are due, the oldest first.
        force: Load even where the ledger says that the source has not changed.
    """
    store = PostgresStore(libpq_uri(await SqlAlchemyConnector.aload(postgres_block)))
    months = months_from_web(store.entries, source_url, service, year, month, limit)
    return await load_months("postgres", store, months, fetcher(source_url), force=force)


def libpq_uri(connector: SqlAlchemyConnector) -> str:
    """The block's address without SQLAlchemy's driver name, password included: what a COPY connects to."""
    info = connector.connection_info
    url = info.create_url() if isinstance(info, ConnectionComponents) else make_url(info)
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


if __name__ == "__main__":
    command(etl_web_to_postgres)
