"""Paying from outside the chat: links, the page behind them, and what providers report."""
