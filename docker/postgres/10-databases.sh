#!/bin/sh
# Runs once, on an empty volume: a database and a role of its own for the trips and for Prefect. Neither role can connect
# to the other's database.
set -eu
psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv trips_password TRIPS_PASSWORD
\getenv prefect_password PREFECT_DATABASE_PASSWORD

CREATE ROLE trips LOGIN PASSWORD :'trips_password';
CREATE DATABASE trips OWNER trips;
REVOKE CONNECT ON DATABASE trips FROM PUBLIC;

CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE prefect OWNER prefect;
REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;

REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
