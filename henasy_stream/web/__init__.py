"""The live page: a server in a thread of its own, and what the browser shows.  docs/page.md describes it."""
