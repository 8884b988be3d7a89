"""From a folder of runs to a folder of results: figures, tables, a page that shows them, and how they were made."""
