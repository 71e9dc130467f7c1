"""BigQuery's REST API v2 on DuckDB, for what Taxiway and its tests use; anything else is refused with 501 and a reason.

Tables live in one DuckDB file, a schema per dataset; the resources of datasets, tables and jobs live beside them in
the same file, so that a job's data, the table's new schema and the job's own end are one transaction.
"""
