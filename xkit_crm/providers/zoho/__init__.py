"""Zoho CRM: the adapter, and how it spells values."""
