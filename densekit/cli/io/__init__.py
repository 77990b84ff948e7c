"""Readers and writers of files of rows."""
