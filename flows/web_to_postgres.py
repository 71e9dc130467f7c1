"""Web -> Postgres: a month's file, typed and cleaned, as one partition of the service's table."""

from __future__ import annotations

from prefect import State, flow
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

from flows.datasets.version import contract_version
from flows.errors import StoreFailed
from flows.pipeline.due import asked_for, due_on_the_web
from flows.pipeline.load_partition import fetcher
from flows.pipeline.load_partitions import load_months
from flows.pipeline.parameters import (
    Limit,
    MonthNumber,
    Service,
    SourceUrl,
    Year,
    command,
    failing_in_one_line,
    run_name,
    template,
)
from flows.pipeline.stores_of_blocks import load_block
from flows.stores.postgres import PostgresStore
from infra.postgres_url import connect_options, parts_of, postgres_url
from infra.settings import settings

DEFAULTS = settings()


@flow(name="etl_web_to_postgres", flow_run_name=run_name, persist_result=False)
@failing_in_one_line
async def etl_web_to_postgres(
    service: Service = Service.GREEN,
    year: Year | None = None,
    month: MonthNumber | None = None,
    source_url: SourceUrl | None = None,
    postgres_block: str = DEFAULTS.postgres_block,
    limit: Limit = 3,
    force: bool = False,
    dry_run: bool = False,
) -> State:
    """Load a month from the web into Postgres, in place of what was there; skip it if its source is unchanged.

    Without a month: those of the year (without a year, of the last twelve months) that are published and not loaded,
    and, after a change of columns, rules or checks, those that were loaded before it.

    Args:
        service: Whose trips.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: those that are due.
        source_url: Where from: a URL template with {service}, {year}, {month:02}; https, http or file. None: the
            setting TAXIWAY_SOURCE_URL, which may hold a password.
        postgres_block: The SqlAlchemyConnector block to load into.
        limit: Without a month: how many of those that are due, new ones first.
        force: Load even where the ledger says that the source has not changed.
        dry_run: Only list which months are due, and why.
    """
    store = PostgresStore(libpq_uri(await load_block(SqlAlchemyConnector, postgres_block)))
    source, contract = template(source_url), contract_version(service, "postgres")
    found = (
        due_on_the_web(store.entries, source, service, year, contract)
        if month is None
        else asked_for(service, year, month)
    )
    return await load_months("postgres", store, found, fetcher(source), limit=limit, force=force, dry_run=dry_run)


def libpq_uri(connector: SqlAlchemyConnector) -> str:
    """The block's address as libpq takes it, password included: with its query options and its connect_args.

    Raises:
        StoreFailed: the block is not of a PostgreSQL database, or has an option that libpq does not know.
    """
    info = connector.connection_info
    try:
        if not isinstance(info, ConnectionComponents):
            given = parts_of(str(info))
        elif info.create_url().get_backend_name() == "postgresql":
            given = {
                "user": info.username,
                "password": info.password and info.password.get_secret_value(),
                "host": info.host,
                "port": info.port,
                "dbname": info.database,
            } | (info.query or {})
        else:
            raise ValueError("the driver is not of PostgreSQL")
        return postgres_url(**connect_options(given | (connector.connect_args or {})))
    except ValueError as wrong:
        raise StoreFailed("the SqlAlchemyConnector block", str(wrong)) from None


if __name__ == "__main__":
    command(etl_web_to_postgres)
