"""The adapters to CRM vendors: the contract in `base`, the ones there are in `registry`."""
