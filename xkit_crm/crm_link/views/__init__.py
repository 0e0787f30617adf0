"""The pages of CRM Link, by what a person does there. Each reads who asks, calls the layer below,
and shows what came of it; what all of them share is in `pages.py`."""
