"""The stages of the workflow: one module per rule of the same name."""
