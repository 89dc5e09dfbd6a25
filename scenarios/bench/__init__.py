"""The bench: how fast the reference CRM is, always as a ratio to what its servers do without it.

Absolute figures say more of the machine than of the system, so each one stands beside a baseline that was measured
in the same run, on the same servers, in turns. The services are connected to their servers directly, without the
proxies of the gate, and run with their production profile. Everything shares the machine, the load generator too.
"""
