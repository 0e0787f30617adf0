"""Odoo: the adapter, and how it holds values."""
