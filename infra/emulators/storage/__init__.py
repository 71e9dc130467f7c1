"""The part of Cloud Storage's JSON API that Taxiway and its tests call. Every other call is answered with 501."""
