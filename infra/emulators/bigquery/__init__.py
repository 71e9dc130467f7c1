"""The part of BigQuery's REST API v2 that Taxiway and its tests call, on DuckDB. Every other call is answered with 501.

Tables are stored in one DuckDB file, a schema per dataset. The resources of datasets, tables and jobs are stored in the
same file, so that a job's data, the table's new schema and the job's final state are written in one transaction.
"""
