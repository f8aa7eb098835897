"""Archival packages (归档信息包): export, package checks, and later filing and transfer."""
