"""Real CRMs that run on your own machine, for our tests and for yours."""
