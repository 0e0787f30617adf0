"""The log: invocations and their attempts, failures by cause, and repair."""

from xkit_crm.admin.invocations import attempts, listing

__all__ = ["attempts", "listing"]
