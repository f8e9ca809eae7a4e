"""The rows of the table of reasons, a file a family; `validator.reasons` joins them."""
