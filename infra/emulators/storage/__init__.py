"""Cloud Storage's JSON API on the package gcp-storage-emulator, with what it lacks.

The package keeps buckets and lists objects. Added here: preconditions, atomic writes, paged listings, uploads and
downloads that are streamed, and a refusal (501, saying why) of whatever would else be ignored.
"""
