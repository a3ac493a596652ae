"""Prompts, search, and tasks in which looking decides."""
