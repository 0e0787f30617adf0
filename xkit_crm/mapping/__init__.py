"""What a customer decided, applied: plain data in, plain data out. No model, no query, no HTTP."""
