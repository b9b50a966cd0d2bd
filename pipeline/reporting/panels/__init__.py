"""The charts of the report, one file each: a `PANEL` draws one of the results, or nothing where they allow none."""
