"""Web -> Postgres: a month's file, typed and cleaned, as one partition of the service's table."""

from __future__ import annotations

from prefect import State, flow
from prefect_sqlalchemy import SqlAlchemyConnector

from flows.month_load import fetch_month, load_month
from flows.parameters import Force, MonthNumber, Service, SourceUrl, Year, command
from flows.stores.postgres import PostgresStore
from flows.trips.month import Month
from infra.settings import settings

DEFAULTS = settings()


@flow(flow_run_name="{service} {year}-{month}", persist_result=False)
async def etl_web_to_postgres(
    service: Service = Service.GREEN,
    year: Year = 2021,
    month: MonthNumber = 1,
    source_url: SourceUrl = DEFAULTS.source_url,
    postgres_block: str = DEFAULTS.postgres_block,
    force: Force = False,
) -> State:
    """Load one month from the web into Postgres, in place of what was there; skip it if its source is unchanged."""
    what = Month(service, year, month)
    connector = await SqlAlchemyConnector.aload(postgres_block)
    return await load_month(
        "postgres",
        PostgresStore(libpq_uri(connector)),
        what,
        lambda directory: fetch_month(what, source_url, directory),
        force=force,
    )


def libpq_uri(connector: SqlAlchemyConnector) -> str:
    """The block's address without SQLAlchemy's driver name, password included: what a COPY connects to."""
    return connector.get_engine().url.set(drivername="postgresql").render_as_string(hide_password=False)


if __name__ == "__main__":
    command(etl_web_to_postgres)
