"""What people write instead: aiohttp, 64 requests at once, a SQLite row and a commit for each reply."""

import asyncio
import csv
import sqlite3
import sys

import aiohttp

CONCURRENCY = 64


async def main(url, path, journal):
    db = sqlite3.connect(journal)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE done (ticket_id INTEGER PRIMARY KEY, status TEXT)")
    with open(path, newline="") as rows:
        rows = iter(csv.DictReader(rows))
        connector = aiohttp.TCPConnector(limit=CONCURRENCY)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def worker():
                for row in rows:
                    ticket = int(row["ticket_id"])
                    body = {
                        "account_email": "bench@example.com",
                        "token": "sandbox-token",
                        "ticket_id": ticket,
                        "subject": row["subject"],
                        "staff": row["staff"],
                    }
                    async with session.post(url, json=body) as reply:
                        said = await reply.json()
                    db.execute("INSERT INTO done VALUES (?, ?)", (ticket, said["status"]))
                    db.commit()

            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


asyncio.run(main(*sys.argv[1:]))
