"""Bytes and receipts on their way out: tickets, downloads, and the use history."""
