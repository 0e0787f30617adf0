"""CRM Link: the embedded page where a customer connects their CRM and decides what events do.

`tokens.py` says who may come in, `views.py` shows the steps, `screens.py` prepares what they show,
`answers.py` reads what people filled in. What is decided is kept by `xkit_crm/mappings.py`.
"""
