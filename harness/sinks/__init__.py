"""The ends outside of the system: a real receiver of webhooks and a real mail server that write down what they got.

One process for each stack (`python -m harness.sinks`). They answer as a scenario tells them to, and what they
received is a witness that shares nothing with the system's own account.
"""
