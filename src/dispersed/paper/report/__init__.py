"""The report: one page of every result in a folder, beside the paper."""
