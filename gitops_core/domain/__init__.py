"""Everything that decides: values in, values out. No await, no clock, no logger, no files."""
