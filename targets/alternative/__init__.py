"""A second implementation of automation, on another stack: aiormq, asyncpg, aiohttp, pydantic; tables of its own.

It keeps the contracts of docs/contract.md and shares no line of code with the reference CRM, nor with the gauntlet:
whatever judges it, judges what it does. Its crm and its pipeline are the reference's.
"""

VERSION = "0.1.0"
