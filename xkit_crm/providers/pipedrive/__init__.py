"""Pipedrive: the adapter, and the objects that its API has."""
