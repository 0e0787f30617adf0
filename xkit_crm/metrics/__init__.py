"""Prometheus metrics: `collector.py` reads them when they are scraped, `urls.py` serves them.

Needs the extra `prometheus`; nothing else in the package imports `prometheus_client`.
"""
