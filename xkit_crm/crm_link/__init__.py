"""CRM Link: the embedded page where a customer connects their CRM and decides what events do.

`tokens.py` says who may come in, `views/` are the pages and `pages.py` what they share. `steps.py`,
`rows.py`, `changes.py` and `previews.py` prepare what they show, `wording.py` says what things are
called, `answers.py` reads what people filled in. What is decided is kept by `xkit_crm/mappings.py`.
"""
