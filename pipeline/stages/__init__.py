"""The stages: one module per rule, by the name of the rule."""
