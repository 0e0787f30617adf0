"""Salesforce: the adapter, its query language, its fields and its errors."""
