"""Dynamics 365 (Dataverse): the adapter, what it knows of tables, and OData."""
